"use strict";
// Search, choose by fate and sort the rows that are already in the page.
(() => {
  const list = document.getElementById("rows");
  if (!list) return;
  const rows = Array.from(list.children);
  const search = document.getElementById("search");
  const order = document.getElementById("order");
  const buttons = Array.from(document.querySelectorAll(".tools button"));
  const found = document.getElementById("found");
  const place = new Map(rows.map((row, i) => [row, i]));
  const confidence = (row) => (row.dataset.confidence ? Number(row.dataset.confidence) : Infinity);
  const texts = new Map();
  const textOf = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const off = new Set(buttons.filter((b) => b.getAttribute("aria-pressed") === "false").map((b) => b.value));
    let count = 0;
    for (const row of rows) {
      const fits = !off.has(row.dataset.fate) && words.every((word) => textOf(row).includes(word));
      row.hidden = !fits;
      if (fits) count += 1;
    }
    found.textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} listed rows`;
  };
  const sort = () => {
    const sign = order.value === "high" ? -1 : 1;
    const finite = (row) => Number.isFinite(confidence(row));
    const compare = (a, b) => {
      if (order.value !== "input" && finite(a) !== finite(b)) return finite(a) ? -1 : 1;
      if (order.value !== "input" && finite(a) && confidence(a) !== confidence(b)) {
        return sign * (confidence(a) - confidence(b));
      }
      return place.get(a) - place.get(b);
    };
    list.append(...rows.slice().sort(compare));
  };
  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 120);
  });
  order.addEventListener("change", sort);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      show();
    });
  }
  document.querySelector(".tools").hidden = false;
  show();
})();
