"use strict";
// Sorts tables by a click on a heading, and hides what a word does not match. Without it the page is complete.
(() => {
  const valueOf = (cell) => {
    if (!cell) return null;
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    return cell.tagName === "TH" ? cell.textContent.trim().toLowerCase() : null;
  };

  const compare = (one, other, down) => {
    if (one === null || other === null) return (one === null) - (other === null); // what has no value stays last
    const order = one < other ? -1 : one > other ? 1 : 0;
    return down ? -order : order;
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    if (rows.length < 3) return;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      if (!rows.some((row) => valueOf(row.cells[place]) !== null)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.textContent = "sort";
      button.setAttribute("aria-label", `sort by ${head.textContent.trim().replace(/\s+/g, " ")}`);
      (head.firstElementChild || head).append(button);
      button.addEventListener("click", () => {
        const next = { none: "descending", descending: "ascending", ascending: "none" };
        const order = next[head.getAttribute("aria-sort") || "none"];
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const down = order === "descending";
        const key = (row) => valueOf(row.cells[place]);
        body.append(...(order === "none" ? rows : [...rows].sort((a, b) => compare(key(a), key(b), down))));
      });
    });
  };

  const filtered = (list) => {
    const items = [...list.children];
    if (items.length < 4) return;
    const words = items.map((item) => (item.querySelector("summary") || item).textContent.toLowerCase());
    const label = document.createElement("label");
    const field = document.createElement("input");
    const count = document.createElement("output");
    label.className = "filter";
    field.type = "search";
    label.append("Show only what has these words: ", field, " ", count);
    list.before(label);
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const hits = items.map((item, place) => wanted.every((word) => words[place].includes(word)));
      items.forEach((item, place) => { item.hidden = !hits[place]; });
      count.textContent = wanted.length ? `${hits.filter(Boolean).length} of ${items.length}` : "";
    });
  };

  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll(".filtered").forEach(filtered);
})();
