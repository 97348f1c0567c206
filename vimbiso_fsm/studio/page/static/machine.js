"use strict";

// Draws the flow, and marks in the drawing what the tables say: each row with `data-draws` stands for a shape. The
// tables are the whole of the page; the drawing is a view of them for those who see it.

let graphviz = null;
let drawn = "";

function shape(id) {
  return document.querySelector(`#drawing svg [id="${CSS.escape(id)}"]`);
}

async function draw() {
  const text = document.getElementById("marks")?.dataset.dot;
  if (text !== undefined && text !== drawn) {
    graphviz ??= Viz.instance();
    const svg = (await graphviz).renderSVGElement(text);
    svg.removeAttribute("aria-label");
    for (const title of svg.querySelectorAll("title")) title.remove(); // a hint that repeats the name
    document.getElementById("drawing").replaceChildren(svg);
    drawn = text;
    mark();
    show(svg.querySelector(".node.here") ?? svg.querySelector(".node"));
  } else mark();
}

// Scrolls a drawing that is wider than its frame to the place of the conversation, or to the beginning.
function show(node) {
  const frame = document.getElementById("drawing").getBoundingClientRect();
  const found = node.getBoundingClientRect();
  document.getElementById("drawing").scrollBy(
    found.left + found.width / 2 - frame.left - frame.width / 2,
    Math.max(0, found.bottom - frame.bottom + 40),
  );
}

function mark() {
  const chosen = document.querySelector("[data-chosen]")?.dataset.chosen;
  for (const row of document.querySelectorAll("[data-draws]")) {
    const found = shape(row.dataset.draws);
    if (found === null) continue;
    for (const name of ["here", "suspended", "last", "never", "press", "linked"]) found.classList.remove(name);
    for (const name of (row.dataset.marks ?? "").split(" ")) if (name) found.classList.add(name);
    const link = row.querySelector("a");
    found.classList.toggle("linked", link !== null);
    found.classList.toggle("chosen", row.dataset.draws === chosen);
    if (row.dataset.draws === chosen) link?.setAttribute("aria-current", "true");
    else link?.removeAttribute("aria-current");
  }
}

// A click on a shape is a click on the link of its row. A chosen edge that is clicked again is pressed.
document.addEventListener("click", (event) => {
  const found = event.target.closest?.("#drawing .edge, #drawing .node");
  if (!found) return;
  const press = document.querySelector("#edge [data-press]");
  if (found.classList.contains("chosen") && press !== null) press.requestSubmit();
  else document.querySelector(`[data-draws="${CSS.escape(found.id)}"] a`)?.click();
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "edge") event.target.scrollIntoView({ block: "nearest" });
  draw();
});
document.addEventListener("DOMContentLoaded", draw);
