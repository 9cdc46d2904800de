"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const [viewer, stage, canvas] = ["viewer", "stage", "canvas"].map(element);
const [slider, level, opacity] = ["slice", "level", "opacity"].map(element);
const width = element("window");  // "window" itself is the browser's.
const boxes = [...viewer.querySelectorAll("[data-layer]")];

// Outlines are drawn on a canvas finer than the pictures, so that they stay crisp.
const LONGEST_SIDE = 1024;
const LINE = 4;
const DASHES = [14, 8];
// With the slider in its middle, as opaque as in the overlay pictures.
const FILL = 0.7;
const PIXELS_PER_STEP_OF_WHEEL = 100;
canvas.width = Math.round(LONGEST_SIDE * Math.min(1, data.aspect));
canvas.height = Math.round(LONGEST_SIDE * Math.min(1, 1 / data.aspect));
const context = canvas.getContext("2d");

let shown = data.first;
let latest = 0;

// The values of an 8-bit grey picture, and its size; each is decoded once.
const decoded = new Map();
async function decode(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const scratch = document.createElement("canvas");
  [scratch.width, scratch.height] = [image.width, image.height];
  const pen = scratch.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0);
  const { data: rgba } = pen.getImageData(0, 0, image.width, image.height);
  return { width: image.width, height: image.height, values: rgba.filter((_, i) => i % 4 === 0) };
}
function picture(uri) {
  if (!decoded.has(uri)) decoded.set(uri, decode(uri));
  return decoded.get(uri);
}

// Four bytes as the number that memory holds them as.
const colour = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// Draw values over the whole canvas; `colours` says which colour each of the 256 has.
function paint({ width: columns, height: rows, values }, colours) {
  const pixels = new ImageData(columns, rows);
  const words = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = colours[values[i]];
  const scratch = document.createElement("canvas");
  [scratch.width, scratch.height] = [columns, rows];
  scratch.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
}

// From black to white between the ends of the window.
function greys() {
  const [span, low] = [Number(width.value), Number(level.value) - Number(width.value) / 2];
  return Array.from({ length: 256 }, (_, value) => {
    const grey = Math.round(255 * Math.min(1, Math.max(0, (value - low) / span)));
    return colour(grey, grey, grey, 255);
  });
}

// The lower a value of a map, the more of the picture is seen through it.
const HEAT = data.heat.map((rgb, value) => colour(...rgb, value));

function trace(layer, outline, strength, filled) {
  const toCanvas = new DOMMatrix().scale(canvas.width / data.pixels[0], canvas.height / data.pixels[1]);
  const path = new Path2D();
  path.addPath(new Path2D(outline.paths[shown]), toCanvas);
  context.fillStyle = context.strokeStyle = `rgb(${outline.colour})`;
  if (filled) {
    context.globalAlpha = FILL * strength;
    context.fill(path, "evenodd");
  }
  context.globalAlpha = Math.min(1, 2 * strength);
  context.lineWidth = LINE;
  context.lineJoin = "round";
  context.setLineDash(layer.kind === "line" ? DASHES : []);
  context.stroke(path);
}

async function draw() {
  const turn = ++latest;
  const on = boxes.filter((box) => box.checked).map((box) => data.layers[box.dataset.layer]);
  const ground = on.find((layer) => layer.kind === "picture") || data;
  const maps = on.filter((layer) => layer.kind === "map");
  const pictures = await Promise.all([ground, ...maps].map((layer) => picture(layer.pictures[shown])));
  if (turn !== latest) return;  // Another slice was asked for meanwhile.
  const strength = Number(opacity.value) / 100;
  context.globalAlpha = 1;
  paint(pictures[0], greys());
  context.globalAlpha = strength;
  for (const map of pictures.slice(1)) paint(map, HEAT);
  for (const layer of on.reverse()) {
    // Under a map an outline says as much, and leaves the map its colours.
    const filled = layer.kind === "fill" && !maps.length;
    for (const outline of layer.outlines) trace(layer, outline, strength, filled);
  }
  canvas.dataset.drawn = turn;
}

function tell(control, text) {
  control.setAttribute("aria-valuetext", text);
  element(control.id + "-text").textContent = text.replace(/^slice /, "");
}

function show(index) {
  shown = Math.max(0, Math.min(data.numbers.length - 1, index));
  const number = data.numbers[shown];
  const position = `slice ${number} of ${data.slices}`;
  canvas.setAttribute("aria-label", `${data.name}, ${position}, ${data.marked[shown] ? "tumour marked" : "no tumour marked"}`);
  if (slider) {
    slider.value = shown;
    tell(slider, position);
  }
  for (const row of document.querySelectorAll("tr[data-slice]")) {
    if (Number(row.dataset.slice) === number) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  draw();
}

// Sliders count in 256 steps; people read the scan's own units.
function look() {
  const [low, high] = data.range;
  const own = (steps) => (Number(steps) / 255) * (high - low);
  const short = (value) => String(Number(value.toPrecision(3)));
  tell(width, short(own(width.value)));
  tell(level, short(low + own(level.value)));
  tell(opacity, opacity.value + " %");
  draw();
}

function reset() {
  width.value = Math.round(255 * (data.white - data.black));
  level.value = Math.round((255 * (data.white + data.black)) / 2);
  look();
}

for (const control of [width, level, opacity]) control.addEventListener("input", look);
for (const box of boxes) box.addEventListener("change", draw);
element("reset").addEventListener("click", reset);

viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  const box = boxes.find((box) => data.layers[box.dataset.layer].key === key);
  if (box) box.click();
  if (key === "r") reset();
});

if (slider) {
  slider.addEventListener("input", () => show(Number(slider.value)));
  stage.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    show(shown + steps[event.key]);
  });
  let turned = 0;
  stage.addEventListener("wheel", (event) => {
    if (event.ctrlKey) return;  // That zooms the page.
    event.preventDefault();
    turned += event.deltaMode ? PIXELS_PER_STEP_OF_WHEEL * Math.sign(event.deltaY) : event.deltaY;
    const steps = Math.trunc(turned / PIXELS_PER_STEP_OF_WHEEL);
    turned -= PIXELS_PER_STEP_OF_WHEEL * steps;
    if (steps) show(shown + steps);
  }, { passive: false });
  document.addEventListener("click", (event) => {
    if (!event.target.matches("button.slice")) return;
    const distances = data.numbers.map((number) => Math.abs(number - Number(event.target.textContent)));
    show(distances.indexOf(Math.min(...distances)));
  });
}

let drag = null;
stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  drag = { x: event.clientX, y: event.clientY, width: Number(width.value), level: Number(level.value) };
});
stage.addEventListener("pointermove", (event) => {
  if (!stage.hasPointerCapture(event.pointerId)) return;
  const steps = 256 / stage.clientWidth;
  width.value = drag.width + steps * (event.clientX - drag.x);
  level.value = drag.level - steps * (event.clientY - drag.y);
  look();
});

viewer.hidden = false;
show(data.first);
reset();
