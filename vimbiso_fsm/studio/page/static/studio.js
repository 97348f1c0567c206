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
