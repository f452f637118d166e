"use strict";
/* What the page's other scripts share: elements, the compressed data, the theme. Text from the run only ever becomes
   text nodes and values of attributes. */
const Report = (function () {
  const root = document.documentElement;
  const find = (selector) => document.querySelector(selector);
  root.classList.add("scripted");

  function make(tag, name, ...children) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...children.filter((child) => child !== null && child !== ""));
    return element;
  }

  /* The data block is base64 of gzip of JSON; nothing of it is ever read as markup. */
  async function unpack() {
    const packed = atob(find("#payload").textContent);
    const bytes = new Uint8Array(packed.length);
    for (let place = 0; place < packed.length; place += 1) bytes[place] = packed.charCodeAt(place);
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(plain).text());
  }

  /* Theme: as the system, light or dark; the choice is kept where the browser lets a file keep it. */
  const themes = ["auto", "light", "dark"];
  const signs = { auto: "\u25d0", light: "\u2600", dark: "\u263e" };
  const listeners = [];
  const state = { theme: new URLSearchParams(location.search).get("theme") || recall(), printing: false };

  function recall() {
    try { return localStorage.getItem("emoloom-theme") || "auto"; } catch (error) { return "auto"; }
  }
  function applyTheme() {
    if (!themes.includes(state.theme)) state.theme = "auto";
    const chosen = state.printing ? "light" : state.theme;
    if (chosen === "auto") delete root.dataset.theme; else root.dataset.theme = chosen;
    const button = find("#theme");
    button.textContent = signs[state.theme];
    button.setAttribute("aria-label", "Colours: " + (state.theme === "auto" ? "as the system" : state.theme));
    button.title = button.getAttribute("aria-label");
    listeners.forEach((listener) => listener());
  }
  find("#theme").addEventListener("click", function () {
    state.theme = themes[(themes.indexOf(state.theme) + 1) % themes.length];
    try { localStorage.setItem("emoloom-theme", state.theme); } catch (error) { /* a file may not be allowed to */ }
    applyTheme();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
  window.addEventListener("beforeprint", function () { state.printing = true; applyTheme(); });
  window.addEventListener("afterprint", function () { state.printing = false; applyTheme(); });
  applyTheme();

  return { find, make, unpack, isPrinting: () => state.printing, onTheme: (listener) => listeners.push(listener) };
})();
