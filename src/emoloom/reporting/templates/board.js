"use strict";
/* Sorting of the leaderboards. Systems and what they are measured against stay apart, each sorted by itself. */
(function () {
  const { createTable, getCoreRowModel, getSortedRowModel } = TableCore;

  function sortable(body, width) {
    const data = [...body.rows].map((line) => ({
      line,
      values: [...line.cells].map((cell) => (cell.dataset.value === undefined ? undefined : Number(cell.dataset.value))),
    }));
    const columns = Array.from({ length: width }, (_, place) => ({
      id: String(place), accessorFn: (row) => row.values[place], sortUndefined: "last", sortingFn: "basic",
    }));
    let state = {};
    const table = createTable({
      data, columns, state, renderFallbackValue: null, getCoreRowModel: getCoreRowModel(),
      getSortedRowModel: getSortedRowModel(), onStateChange: function () {},
    });
    return function (sorting) {
      state = { ...table.initialState, sorting };
      table.setOptions((options) => ({ ...options, state }));
      body.append(...table.getRowModel().rows.map((row) => row.original.line));
    };
  }

  document.querySelectorAll("table.board").forEach(function (board) {
    const heads = [...board.tHead.rows[0].cells];
    const sorters = [...board.tBodies].map((body) => sortable(body, heads.length));
    heads.forEach(function (head, place) {
      const button = head.querySelector("button.sort");
      if (!button) return;
      button.addEventListener("click", function () {
        const next = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort")];
        heads.filter((other) => other.hasAttribute("aria-sort")).forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", next);
        const sorting = next === "none" ? [] : [{ id: String(place), desc: next === "descending" }];
        sorters.forEach((sort) => sort(sorting));
      });
    });
  });
})();
