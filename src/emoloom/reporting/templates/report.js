
"use strict";
/* Draws the figures and the rows of the report. Text from the run only ever becomes text nodes and attributes' values. */
(function () {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (selector) => document.querySelector(selector);
  root.classList.add("scripted");

  /* Theme: as the system, light or dark; the choice is kept where the browser lets a file keep it. */
  const themes = ["auto", "light", "dark"];
  const signs = { auto: "\u25d0", light: "\u2600", dark: "\u263e" };
  const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
  let theme = new URLSearchParams(location.search).get("theme") || recall();
  let printing = false;

  function recall() {
    try { return localStorage.getItem("emoloom-theme") || "auto"; } catch (error) { return "auto"; }
  }
  function applyTheme() {
    if (!themes.includes(theme)) theme = "auto";
    const chosen = printing ? "light" : theme;
    if (chosen === "auto") delete root.dataset.theme; else root.dataset.theme = chosen;
    const button = find("#theme");
    button.textContent = signs[theme];
    button.setAttribute("aria-label", "Colours: " + (theme === "auto" ? "as the system" : theme));
    button.title = button.getAttribute("aria-label");
    drawAll();
  }
  find("#theme").addEventListener("click", function () {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("emoloom-theme", theme); } catch (error) { /* a file may not be allowed to keep it */ }
    applyTheme();
  });
  darkSystem.addEventListener("change", applyTheme);
  window.addEventListener("beforeprint", function () { printing = true; applyTheme(); });
  window.addEventListener("afterprint", function () { printing = false; applyTheme(); });

  /* Figures: `@name` under a key that ends in `color` is a colour of the theme. */
  const chosenVariant = {};
  function coloured(value, styles, key) {
    if (Array.isArray(value)) return value.map((part) => coloured(part, styles, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, coloured(part, styles, name)]));
    }
    const isColour = typeof value === "string" && value[0] === "@" && /color$/.test(key || "");
    return isColour ? styles.getPropertyValue("--" + value.slice(1)).trim() : value;
  }
  function drawAll() {
    document.querySelectorAll("[data-plot]").forEach(draw);
  }
  function draw(place) {
    const variants = data.figures[place.dataset.plot];
    const variant = variants[chosenVariant[place.dataset.plot] || Object.keys(variants)[0]];
    const styles = getComputedStyle(root);
    const panels = variant.panels || [variant];
    place.classList.toggle("panels", panels.length > 1);
    place.classList.add("drawn");
    while (place.children.length < panels.length) place.append(document.createElement("div"));
    panels.forEach(function (panel, index) {
      const ready = coloured(panel, styles);
      const named = ready.data.filter((trace) => trace.name && trace.showlegend !== false).length;
      ready.layout.autosize = true;
      /* Paper is narrower than most screens. */
      if (printing) ready.layout.width = panels.length > 1 ? 215 : 660;
      /* On a phone the legend is one entry a line, and must not eat the drawing. */
      if (panels.length === 1 && place.clientWidth < 640) ready.layout.height += 19 * named;
      Plotly.react(place.children[index], ready.data, ready.layout, { displayModeBar: false, responsive: true });
    });
  }
  document.querySelectorAll("select[data-figure]").forEach(function (select) {
    select.addEventListener("change", function () {
      chosenVariant[select.dataset.figure] = select.value;
      draw(find('[data-plot="' + select.dataset.figure + '"]'));
    });
  });
  applyTheme();

  /* Rows. */
  if (!find("#list")) return;
  const PAGE = 20;
  let shown = PAGE;
  const outcomes = { exact: "all right", partly: "partly right", missed: "none right", unlabelled: "", "no-answer": "no answer" };

  function make(tag, name, ...children) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...children.filter((child) => child !== null && child !== ""));
    return element;
  }
  const chip = (text, name) => make("span", "label " + (name || ""), text);
  const vadText = (vad) => (vad ? "V " + vad[0].toFixed(2) + "  A " + vad[1].toFixed(2) + "  D " + vad[2].toFixed(2) : "");

  function fill(select, names) {
    names.forEach((name) => select.append(new Option(name, name)));
  }
  const unique = (values) => [...new Set(values)];
  fill(find("#label"), unique(data.rows.flatMap((row) => row.labels)).sort());
  fill(find("#system"), unique(data.rows.flatMap((row) => row.answers.map((answer) => answer.system))));
  const haystacks = data.rows.map(function (row) {
    return [row.id, row.text, ...row.tags, ...row.answers.map((answer) => answer.output)].join("\n").toLowerCase();
  });

  function smallestMargin(row, system) {
    const margins = row.answers.filter((a) => (!system || a.system === system) && a.min_margin !== null).map((a) => a.min_margin);
    return margins.length ? Math.min(...margins) : Infinity;
  }
  function matches(row, index, wanted) {
    if (wanted.corpus && row.corpus !== wanted.corpus) return false;
    if (wanted.label && !row.labels.includes(wanted.label)) return false;
    if (wanted.search && !haystacks[index].includes(wanted.search)) return false;
    const answers = row.answers.filter((answer) => !wanted.system || answer.system === wanted.system);
    if (wanted.outcome === "disagree") {
      return unique(answers.map((a) => [...a.hits, ...a.wrong].sort().join(","))).length > 1;
    }
    return !wanted.outcome || answers.some((answer) => answer.outcome === wanted.outcome);
  }
  function answerRow(answer) {
    const name = make("th", "", make("bdi", "", answer.system));
    name.scope = "row";
    const labels = make("td", "",
      ...answer.hits.map((label) => chip(label, "hit")),
      ...answer.wrong.map((label) => chip(label, answer.outcome === "unlabelled" ? "" : "wrong")),
      ...answer.missed.map((label) => chip(label, "missed")));
    const state = answer.outcome === "failed" ? make("span", "code", answer.strict) : outcomes[answer.outcome];
    const raw = make("td", "");
    if (answer.output) raw.append(make("details", "", make("summary", "", "raw"), make("pre", "", answer.output)));
    const margin = make("td", "nums margin", answer.min_margin === null ? "" : answer.min_margin.toPrecision(3));
    return make("tr", "", name, make("td", "", state), labels, make("td", "nums", vadText(answer.vad)), margin, raw);
  }
  function card(row) {
    const text = make("p", "text", row.text);
    text.dir = "auto";
    const meta = make("p", "meta",
      make("span", "", ...row.labels.map((label) => chip(label))),
      row.vad ? make("span", "nums", vadText(row.vad) + " (" + row.vad_kind + ")") : null,
      row.tags.length ? make("span", "", row.tags.join(", ")) : null,
      make("span", "", row.corpus + " / " + row.id));
    const head = make("thead", "", make("tr", "", ...["System", "Answer", "Labels", "VAD", "Margin", "Output"].map(function (title) {
      const cell = make("th", "", title);
      cell.scope = "col";
      return cell;
    })));
    const system = find("#system").value;
    const answers = row.answers.filter((answer) => !system || answer.system === system);
    const table = make("table", "", make("caption", "", "Answers to " + row.id), head, make("tbody", "", ...answers.map(answerRow)));
    const scroll = make("div", "scroll", table);
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Answers to " + row.id);
    return make("article", "row", text, meta, scroll);
  }
  function list() {
    const wanted = Object.fromEntries(["corpus", "label", "system", "outcome", "order"].map((id) => [id, find("#" + id).value]));
    wanted.search = find("#search").value.trim().toLowerCase();
    let found = data.rows.filter((row, index) => matches(row, index, wanted));
    if (wanted.order === "margin") {
      const keys = new Map(found.map((row) => [row, smallestMargin(row, wanted.system)]));
      found = found.sort((a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0));
    }
    find("#list").replaceChildren(...found.slice(0, shown).map(card));
    find("#count").textContent = found.length + " of " + data.rows.length + " rows" + (found.length > shown ? ", first " + shown + " shown" : "");
    find("#more").hidden = found.length <= shown;
  }
  ["search", "corpus", "label", "system", "outcome", "order"].forEach(function (id) {
    find("#" + id).addEventListener("input", function () { shown = PAGE; list(); });
  });
  find("form.filters").addEventListener("submit", (event) => event.preventDefault());
  find("#more").addEventListener("click", function () { shown += PAGE; list(); });
  list();
})();
