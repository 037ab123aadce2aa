// Sorts, filters and switches the tables that are in the page; without this script they can still be read.
"use strict";
(() => {
  const value = (row, column) => row.cells[column].dataset.sort ?? "";

  function sort(table, head, column) {
    const numeric = head.querySelector(".sort").dataset.type === "number";
    const before = head.getAttribute("aria-sort");
    // The first click puts the largest figure first, or the words in alphabetical order.
    const direction = before === "none" ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      if (x === "" || y === "") return (x === "") - (y === "");  // empty cells come last in both directions
      return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true }));
    });
    table.tBodies[0].append(...rows);
    for (const other of head.parentElement.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", direction);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const button of table.querySelectorAll(".sort")) {
      const head = button.closest("th");
      button.addEventListener("click", () => sort(table, head, head.cellIndex));
    }
  }

  function filter(id) {
    const words = document.querySelector(`[data-filter="${id}"]`).value.trim().toLocaleLowerCase();
    const box = document.querySelector(`[data-published="${id}"]`);
    const rows = [...document.getElementById(id).tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const found = row.cells[0].textContent.toLocaleLowerCase().includes(words);
      row.hidden = !found || (box !== null && !box.checked && row.classList.contains("published"));
      shown += !row.hidden;
    }
    document.querySelector(`[data-count="${id}"]`).textContent = `${shown} of ${rows.length} rows`;
  }

  for (const field of document.querySelectorAll("[data-filter]")) {
    const id = field.dataset.filter;
    field.addEventListener("input", () => filter(id));
    document.querySelector(`[data-published="${id}"]`)?.addEventListener("change", () => filter(id));
    filter(id);
  }

  function choose(metric) {
    for (const matrix of document.querySelectorAll("[data-matrix]")) matrix.hidden = matrix.dataset.matrix !== metric;
  }
  for (const radio of document.querySelectorAll('input[name="matrix"]')) {
    radio.addEventListener("change", () => choose(radio.value));
    if (radio.checked) choose(radio.value);
  }
})();
