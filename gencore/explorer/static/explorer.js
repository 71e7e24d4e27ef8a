"use strict";

// "Copy as command": the clipboard where the browser gives it (on the loopback address it does), else by a selection.
async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

// The value of a slider beside it.
document.addEventListener("input", (event) => {
  const shown = event.target.id && document.querySelector(`output[for="${CSS.escape(event.target.id)}"]`);
  if (shown) shown.textContent = event.target.value;
});

// A lasso over a map. Its corners are in parts of the picture; the form beside it sends them.
let corners = null;

function place(event, area) {
  const box = area.getBoundingClientRect();
  const part = (at, from, size) => Math.min(1, Math.max(0, (at - from) / size)).toFixed(4);
  return `${part(event.clientX, box.left, box.width)},${part(event.clientY, box.top, box.height)}`;
}

function drawLasso(points) {
  document.querySelector("[data-pick] polygon")?.setAttribute("points", points);
  const hidden = document.querySelector("#pick [name=lasso]");
  if (hidden) hidden.value = points;
}

document.addEventListener("pointerdown", (event) => {
  const area = event.target.closest("[data-pick]");
  if (!area || event.button !== 0) return;
  event.preventDefault();
  area.setPointerCapture(event.pointerId);
  corners = [place(event, area)];
});

document.addEventListener("pointermove", (event) => {
  const area = corners && event.target.closest("[data-pick]");
  if (!area) return;
  corners.push(place(event, area));
  drawLasso(corners.join(" "));
});

document.addEventListener("pointerup", () => {
  if (corners && corners.length > 2) document.querySelector("#pick")?.requestSubmit();
  corners = null;
});

document.addEventListener("input", (event) => {
  if (event.target.closest("#pick") && event.target.type === "number") drawLasso("");
});
