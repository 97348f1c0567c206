"use strict";

// A request that fails is told, where nothing on the page changes.
document.addEventListener("htmx:responseError", (event) => {
  const status = document.getElementById("status");
  status.textContent = `The request was refused (${event.detail.xhr.status}): ${event.detail.xhr.responseText.slice(0, 200)}`;
});
document.addEventListener("htmx:sendError", () => {
  document.getElementById("status").textContent = "The studio does not answer. Is its command still running?";
});
document.addEventListener("htmx:beforeRequest", () => {
  document.getElementById("status").textContent = "";
});

// What is half typed in other forms than the one that was sent stays where it is when a part of the page is replaced.
const half = new Map();

function phoneOf(form) {
  const phone = form && form.elements.namedItem("phone");
  return phone ? phone.value : "";
}

function nameOf(field) {
  return JSON.stringify([field.form.getAttribute("action"), phoneOf(field.form), field.name]);
}

function fieldsOf(part) {
  return [...part.querySelectorAll("input:not([type=hidden]), select")].filter((field) => field.form && field.name);
}

document.addEventListener("htmx:beforeSwap", (event) => {
  half.clear();
  const sent = event.detail.requestConfig.elt.closest("form");
  for (const field of fieldsOf(event.detail.target)) {
    const used = field.form === sent || (field.tagName === "SELECT" && phoneOf(field.form) === phoneOf(sent));
    if (!used) half.set(nameOf(field), field.value);
  }
});
document.addEventListener("htmx:afterSettle", () => {
  for (const field of fieldsOf(document)) {
    if (half.has(nameOf(field))) field.value = half.get(nameOf(field));
  }
  half.clear();
});
