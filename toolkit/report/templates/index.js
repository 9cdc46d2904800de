"use strict";

const table = document.getElementById("cases");
const headings = [...table.querySelectorAll("thead th")];

// By number where there is one, else by name; what is not known is last in either order.
function sort(column, order) {
  const value = (row) => row.cells[column].dataset.value;
  const sign = order === "ascending" ? 1 : -1;
  const byName = headings[column].dataset.first === "ascending";
  const compare = (a, b) => {
    if (byName) return sign * a.localeCompare(b, undefined, { numeric: true });
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (Number(a) - Number(b));
  };
  const rows = [...table.tBodies[0].rows].sort((one, other) => compare(value(one), value(other)));
  table.tBodies[0].append(...rows);
}

headings.forEach((heading, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const other = { ascending: "descending", descending: "ascending" };
    const order = other[heading.getAttribute("aria-sort")] || heading.dataset.first;
    for (const each of headings) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    sort(column, order);
  });
});
