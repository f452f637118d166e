"use strict";
/* The rows: filters, order, one card a row with every answer side by side, a link to each row. */
Report.rows = function (data) {
  const { find, make } = Report;
  if (!find("#list")) return;
  const { createTable, getCoreRowModel, getFilteredRowModel, getSortedRowModel, getPaginationRowModel } = TableCore;
  const PAGE = 20;
  const FILTERS = ["search", "corpus", "label", "slice", "system", "outcome", "order"];
  const said = {
    exact: "all right", partly: "partly right", missed: "none right", failed: "", unlabelled: "", "no-answer": "no answer",
  };
  const names = (places) => places.map((place) => data.names[place]);
  const unique = (values) => [...new Set(values)];
  const kinds = new Map(data.systems.map((system) => [system.name, system.kind]));
  const competing = ["candidate", "encoder", "external"];
  const records = data.corpora.flatMap((corpus) => corpus.id.map((id, place) => ({ corpus, place, id })));
  const total = data.corpora.reduce((sum, corpus) => sum + corpus.total, 0);

  /* One system's answer to one row. Numbers and cue words of a line that follows the contract are read from it. */
  function answer(record, column) {
    const place = record.place;
    const strict = data.names[column.strict[place]];
    const found = {
      system: column.system, strict, outcome: data.names[column.outcome[place]], output: column.output[place],
      hits: names(column.hits[place]), wrong: names(column.wrong[place]), missed: names(column.missed[place]),
      finish: data.names[column.finish[place]], margin: column.margin[place], fragile: column.fragile[place] === 1,
      tokens: column.tokens[place], ids: column.ids[place] || "left out of this report, they are in the run's files",
      forwards: column.forwards[place], rung: column.rung[place], vad: null, cues: "",
    };
    const told = column.told[place];
    if (told) {
      [found.vad, found.cues] = told;
    } else if (strict === "ok") {
      const line = JSON.parse(found.output);
      found.vad = [line.vad.v, line.vad.a, line.vad.d];
      found.cues = line.rationale;
    }
    return found;
  }
  const columnsOf = (record, system) => record.corpus.answers.filter((column) => !system || column.system === system);
  const answers = (record, system) => columnsOf(record, system).map((column) => answer(record, column));

  /* What the reader asks for. */
  const wanted = {};
  let linked = null;
  function readFilters() {
    FILTERS.forEach((id) => { wanted[id] = find("#" + id).value; });
    wanted.search = wanted.search.trim().toLowerCase();
  }
  const haystacks = new Map();
  function haystack(record) {
    if (!haystacks.has(record)) {
      const outputs = record.corpus.answers.map((column) => column.output[record.place]);
      haystacks.set(record, [record.id, record.corpus.text[record.place], ...outputs].join("\n").toLowerCase());
    }
    return haystacks.get(record);
  }
  function judged(record, outcome) {
    const place = record.place;
    const columns = columnsOf(record, wanted.system);
    if (outcome === "disagree") {
      return unique(columns.map((c) => [...c.hits[place], ...c.wrong[place]].sort().join(","))).length > 1;
    }
    if (outcome === "fragile") return columns.some((column) => column.fragile[place] === 1);
    if (outcome === "unfaithful") return answers(record, wanted.system).some((a) => strange(a.cues, wordsOf(record)).length);
    const [kind, code] = outcome.split("=");
    if (kind === "code") return columns.some((column) => data.names[column.strict[place]] === code);
    return columns.some((column) => data.names[column.outcome[place]] === outcome);
  }
  const tests = {
    linked: (record, link) => record.corpus.name === link.corpus && record.id === link.id,
    corpus: (record, name) => record.corpus.name === name,
    label: (record, name) => names(record.corpus.labels[record.place]).includes(name),
    slice: (record, name) => names(record.corpus.tags[record.place]).includes(name),
    outcome: judged,
    search: (record, words) => haystack(record).includes(words),
  };
  const orders = {
    margin: function (record) {
      const margins = columnsOf(record, wanted.system).map((c) => c.margin[record.place]).filter((m) => m !== null);
      return margins.length ? Math.min(...margins) : Infinity;
    },
    hard: (record) => columnsOf(record, wanted.system).filter((c) => data.names[c.outcome[record.place]] === "exact").length,
  };

  const table = createTable({
    data: records,
    columns: [
      ...Object.entries(tests).map(([id, test]) => ({
        id, accessorFn: (record) => record, filterFn: (row, _, value) => test(row.original, value),
      })),
      ...Object.entries(orders).map(([id, key]) => ({
        id, accessorFn: key, sortDescFirst: false,
        sortingFn: (a, b) => Math.sign(key(a.original) - key(b.original)) || 0,
      })),
    ],
    state: {}, renderFallbackValue: null, onStateChange: function () {},
    getCoreRowModel: getCoreRowModel(), getFilteredRowModel: getFilteredRowModel(),
    getSortedRowModel: getSortedRowModel(), getPaginationRowModel: getPaginationRowModel(),
  });
  let pageSize = PAGE;
  function list() {
    readFilters();
    const filters = linked ? { linked } : wanted;
    const state = {
      ...table.initialState,
      columnFilters: Object.keys(tests).filter((id) => filters[id]).map((id) => ({ id, value: filters[id] })),
      sorting: wanted.order ? [{ id: wanted.order, desc: false }] : [],
      pagination: { pageIndex: 0, pageSize },
    };
    table.setOptions((options) => ({ ...options, state }));
    const found = table.getFilteredRowModel().rows.length;
    find("#list").replaceChildren(...table.getRowModel().rows.map((row) => card(row.original)));
    find("#count").textContent = countText(found);
    find("#more").hidden = found <= pageSize;
    find("#all").hidden = !linked;
  }
  function countText(found) {
    if (linked && !found) return "The row " + linked.corpus + " / " + linked.id + " is not in this report.";
    const left = total > records.length ? " (a fixed sample of " + total.toLocaleString("en") + ")" : "";
    const first = found > pageSize ? ", first " + pageSize + " shown" : "";
    return found.toLocaleString("en") + " of " + records.length.toLocaleString("en") + " rows" + left + first;
  }

  /* Words as the parser (`unfaithful_cues`) splits and folds them when it looks for the cue words of a rationale. Marks
     stay in a word here, for the text is shown as it is; `fold` takes them away. */
  const WORD = /(?:[\p{L}\p{N}]\p{M}*)+(?:['\u2019-]\p{M}*(?:[\p{L}\p{N}]\p{M}*)+)*/gu;
  const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
  /* Full case folding, which JavaScript lacks: there and back, or a sharp s would have two forms. One letter at a time,
     or a sigma would have another form at a word's end; the dotless i has no other case of its own. */
  const folded = (letter) => (letter === "\u0131" ? letter : letter.toLowerCase().toUpperCase().toLowerCase());
  const fold = (word) => Array.from(word.normalize("NFD").replace(/\p{M}/gu, ""), folded).join("");
  function partsOf(word) {
    const whole = fold(word);
    return whole.includes("-") ? [whole, ...whole.split("-")] : [whole];
  }
  function wordsOf(record) {
    return new Set((record.corpus.text[record.place].match(WORD) || []).flatMap(partsOf));
  }
  const split = (cues) => cues.split(SPACE).filter(Boolean);
  const strange = (cues, words) => split(cues).filter((cue) => fold(cue) && !words.has(fold(cue)));
  function marked(text, cues) {
    const parts = [];
    let end = 0;
    for (const match of text.matchAll(WORD)) {
      const whose = unique(partsOf(match[0]).flatMap((part) => cues.get(part) || []));
      if (!whose.length) continue;
      const mark = make("mark", "", match[0]);
      mark.title = "cue word of " + whose.join(", ");
      parts.push(text.slice(end, match.index), mark);
      end = match.index + match[0].length;
    }
    return [...parts, text.slice(end)];
  }

  /* Cards. */
  const chip = (text, name) => make("span", "label " + (name || ""), text);
  const vadText = (vad) => (vad ? "V " + vad[0].toFixed(2) + "  A " + vad[1].toFixed(2) + "  D " + vad[2].toFixed(2) : "");
  function state(found) {
    if (!found.strict || found.strict === "ok") return said[found.outcome];
    const code = make("span", "code", found.strict);
    code.title = data.codes[found.strict] || "";
    return code;
  }
  function cueCell(found, words) {
    const unknown = strange(found.cues, words);
    const cell = make("td", "cues", ...split(found.cues).map((cue) => make("span", unknown.includes(cue) ? "strange" : "", cue)));
    if (unknown.length) cell.title = "Struck through: not in the text";
    return cell;
  }
  function rawCell(found) {
    const cell = make("td", "");
    if (!found.output) return cell;
    const lines = [make("pre", "", found.output)];
    if (found.margin !== null) {
      const facts = [
        ["smallest margin", found.margin], ["fragile", found.fragile ? "yes" : "no"], ["tokens", found.tokens],
        ["ended by", found.finish === "eos" ? "end of sequence" : "token limit"],
        ["verifying forwards", found.forwards], ["pinned length", found.rung],
        ["token ids", found.ids],
      ];
      lines.push(make("dl", "certificate", ...facts.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", String(value))])));
    }
    cell.append(make("details", "", make("summary", "", found.margin === null ? "raw" : "raw, certificate"), ...lines));
    return cell;
  }
  function answerRow(found, words) {
    const name = make("th", "", make("bdi", "", found.system));
    name.scope = "row";
    const labels = make("td", "",
      ...found.hits.map((label) => chip(label, "hit")),
      ...found.wrong.map((label) => chip(label, found.outcome === "unlabelled" ? "" : "wrong")),
      ...found.missed.map((label) => chip(label, "missed")));
    const margin = make("td", "nums margin", found.margin === null ? "" : found.margin.toPrecision(3));
    if (found.fragile) margin.append(" ", make("span", "code", "fragile"));
    return make("tr", "", name, make("td", "", state(found)), labels, make("td", "nums", vadText(found.vad)),
      cueCell(found, words), margin, rawCell(found));
  }
  function card(record) {
    const { corpus, place, id } = record;
    const shown = answers(record, wanted.system);
    const cues = new Map();
    shown.filter((found) => wanted.system || competing.includes(kinds.get(found.system))).forEach(function (found) {
      split(found.cues).map(fold).forEach((cue) => cues.set(cue, [...(cues.get(cue) || []), found.system]));
    });
    const text = make("p", "text", ...marked(corpus.text[place], cues));
    text.dir = "auto";
    const link = make("a", "", corpus.name + " / " + id);
    link.href = linkTo(corpus.name, id);
    link.title = "Link to this row";
    const tags = names(corpus.tags[place]);
    const meta = make("p", "meta",
      make("span", "", ...names(corpus.labels[place]).map((label) => chip(label))),
      corpus.vad[place] ? make("span", "nums", vadText(corpus.vad[place]) + " (" + data.names[corpus.vadKind[place]] + ")") : null,
      tags.length ? make("span", "", tags.join(", ")) : null, link);
    const heads = ["System", "Answer", "Labels", "VAD", "Cue words", "Margin", "Output"].map(function (title) {
      const cell = make("th", "", title);
      cell.scope = "col";
      return cell;
    });
    const words = wordsOf(record);
    const grid = make("table", "", make("caption", "", "Answers to " + id), make("thead", "", make("tr", "", ...heads)),
      make("tbody", "", ...shown.map((found) => answerRow(found, words))));
    const scroll = make("div", "scroll", grid);
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Answers to " + corpus.name + " / " + id);
    return make("article", "row", text, meta, scroll);
  }

  /* Links: #row/CORPUS/ID shows that row alone. */
  const linkTo = (corpus, id) => "#row/" + encodeURIComponent(corpus) + "/" + encodeURIComponent(id);
  function followLink() {
    const parts = location.hash.split("/");
    let next = null;
    if (parts[0] === "#row" && parts.length === 3) {
      try { next = { corpus: decodeURIComponent(parts[1]), id: decodeURIComponent(parts[2]) }; } catch (error) { next = null; }
    }
    if (!next && !linked) return;
    linked = next;
    list();
    if (linked) find("#rows").scrollIntoView();
  }

  function fill(select, values) {
    select.append(...values.map((value) => new Option(value, value)));
  }
  const present = (key) => unique(data.corpora.flatMap((corpus) => corpus[key].flatMap(names))).sort();
  fill(find("#label"), present("labels"));
  fill(find("#slice"), present("tags"));
  fill(find("#system"), unique(data.corpora.flatMap((corpus) => corpus.answers.map((column) => column.system))));
  const codes = unique(data.corpora.flatMap((c) => c.answers.flatMap((column) => unique(column.strict)))).map((n) => data.names[n]);
  codes.filter((code) => code && code !== "ok").sort().forEach(function (code) {
    find("#codes").append(new Option(code + (data.codes[code] ? ": " + data.codes[code] : ""), "code=" + code));
  });
  find("#codes").hidden = !find("#codes").children.length;

  FILTERS.forEach(function (id) {
    find("#" + id).addEventListener("input", function () {
      pageSize = PAGE;
      linked = null;
      list();
    });
  });
  find("form.filters").addEventListener("submit", (event) => event.preventDefault());
  find("#more").addEventListener("click", function () { pageSize += PAGE; list(); });
  find("#all").addEventListener("click", function () {
    linked = null;
    history.replaceState(null, "", location.pathname + location.search + "#rows");
    list();
  });
  window.addEventListener("hashchange", followLink);
  list();
  followLink();
};
