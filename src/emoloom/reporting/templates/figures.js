"use strict";
/* Draws a figure when it comes near the window; redraws what is drawn when the theme changes. */
Report.figures = function (figures) {
  const { find } = Report;
  const chosen = {};
  const places = [...document.querySelectorAll("[data-plot]")];
  const drawn = new Set();

  /* `@name` under a key that ends in `color` or `colorscale` is a colour of the theme. */
  function coloured(value, styles, key) {
    if (Array.isArray(value)) return value.map((part) => coloured(part, styles, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, coloured(part, styles, name)]));
    }
    const isColour = typeof value === "string" && value[0] === "@" && /color(scale)?$/.test(key || "");
    return isColour ? styles.getPropertyValue("--" + value.slice(1)).trim() : value;
  }

  function draw(place) {
    const variants = figures[place.dataset.plot];
    const variant = variants[chosen[place.dataset.plot] || Object.keys(variants)[0]];
    const styles = getComputedStyle(document.documentElement);
    const panels = variant.panels || [variant];
    const printing = Report.isPrinting();
    drawn.add(place);
    place.classList.toggle("panels", panels.length > 1);
    place.classList.toggle("two", panels.length === 2);
    place.classList.add("drawn");
    while (place.children.length < panels.length) place.append(document.createElement("div"));
    [...place.children].slice(panels.length).forEach(function (left) { Plotly.purge(left); left.remove(); });
    panels.forEach(function (panel, index) {
      const ready = coloured(panel, styles);
      const named = ready.data.filter((trace) => trace.name && trace.showlegend !== false).length;
      ready.layout.autosize = true;
      /* Paper is narrower than most screens. */
      if (printing) ready.layout.width = panels.length > 1 ? 645 / Math.min(panels.length, 3) : 660;
      /* On a phone the legend is one entry a line, and must not eat the drawing. */
      if (panels.length === 1 && place.clientWidth < 640) ready.layout.height += 19 * named;
      Plotly.react(place.children[index], ready.data, ready.layout, { displayModeBar: false, responsive: true });
    });
  }

  function save(button) {
    const place = find('[data-plot="' + button.dataset.saves + '"]');
    if (!drawn.has(place)) draw(place);
    const panels = [...place.children].filter((panel) => panel.data);
    panels.forEach(function (panel, index) {
      const filename = button.dataset.saves + (panels.length > 1 ? "-" + (index + 1) : "");
      const { clientWidth: width, clientHeight: height } = panel;
      Plotly.downloadImage(panel, { format: button.dataset.format, filename, width, height, scale: 2 });
    });
  }

  document.querySelectorAll("select[data-figure]").forEach(function (select) {
    select.addEventListener("change", function () {
      chosen[select.dataset.figure] = select.value;
      draw(find('[data-plot="' + select.dataset.figure + '"]'));
    });
  });
  document.querySelectorAll("button[data-saves]").forEach((button) => button.addEventListener("click", () => save(button)));
  Report.onTheme(() => places.filter((place) => drawn.has(place) || Report.isPrinting()).forEach(draw));
  const near = new IntersectionObserver(function (entries) {
    entries.filter((entry) => entry.isIntersecting).forEach(function (entry) {
      near.unobserve(entry.target);
      if (!drawn.has(entry.target)) draw(entry.target);
    });
  }, { rootMargin: "400px" });
  places.forEach((place) => near.observe(place));
};
