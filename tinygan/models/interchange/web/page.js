// What is on the page: one image that moves, and the rows that are compared.
const contents = JSON.parse(document.getElementById("contents").textContent);
const { operations, shape, noise, low, high, classes, z: given, labels: told, rows } = contents;
const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const weights = floats(contents.weights), [height, width, channels] = shape;

function make(z, label) {
  return compute(operations, weights, { shape: [z.length], data: z }, label).data;
}

// n images beside each other
function draw(canvas, images) {
  canvas.width = width * images.length;
  canvas.height = height;
  const picture = canvas.getContext("2d").createImageData(canvas.width, height);
  images.forEach((image, n) => {
    for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) for (let k = 0; k < 4; k++) {
      const x = image[(i * width + j) * channels + (channels === 3 ? k : 0)];
      picture.data[(i * canvas.width + n * width + j) * 4 + k] = k === 3 ? 255 : (255 * (x - low)) / (high - low);
    }
  });
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

// ---- one image, and the way through latent space: on the sphere through z, along two directions across it ----
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
const draws = () => Float32Array.from({ length: noise }, normal);
let here = floats(given).slice(0, noise), ways = [draws(), draws()], label = told.length ? told[0] : 0, walking = 0;

function step(amounts) {
  const length = Math.hypot(...here);
  here = here.map((x, i) => x + amounts[0] * ways[0][i] + amounts[1] * ways[1][i]);
  const now = Math.hypot(...here);
  here = here.map((x) => (x * length) / now);
  show();
}

function show() {
  const began = performance.now();
  draw(document.getElementById("image"), [make(here, label)]);
  document.getElementById("speed").textContent = `${(performance.now() - began).toFixed(1)} ms for this image`;
}

const image = document.getElementById("image"), walk = document.getElementById("walk");
let last = null;
image.addEventListener("pointerdown", (event) => { last = [event.clientX, event.clientY]; image.setPointerCapture(event.pointerId); });
image.addEventListener("pointermove", (event) => {
  if (!last) return;
  step([(event.clientX - last[0]) / 150, (event.clientY - last[1]) / 150]);
  last = [event.clientX, event.clientY];
});
for (const end of ["pointerup", "pointercancel"]) image.addEventListener(end, () => { last = null; });
image.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;  // the browser's own
  const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
  if (by) step(by);
  else if (event.key === " ") renew();
  else return;
  event.preventDefault();
});

function renew() {
  here = draws();
  ways = [draws(), draws()];
  show();
}

function stride(before) {
  walking = requestAnimationFrame((now) => {
    step([(now - before) / 1500, 0]);
    if (Math.random() < (now - before) / 4000) ways[0] = draws();
    stride(now);
  });
}

document.getElementById("new").addEventListener("click", renew);
walk.addEventListener("click", () => {
  if (walking) {
    cancelAnimationFrame(walking);
    walking = 0;
  } else stride(performance.now());
  walk.setAttribute("aria-pressed", walking > 0);
});
classes.forEach((name, k) => {
  const button = document.createElement("button");
  button.textContent = name;
  button.setAttribute("aria-pressed", k === label);
  button.addEventListener("click", () => {
    label = k;
    document.querySelectorAll("#labels button").forEach((other, i) => other.setAttribute("aria-pressed", i === k));
    show();
  });
  document.getElementById("labels").append(button);
});

// ---- the same noise here and elsewhere ----
function compare() {
  const z = floats(given), n = z.length / noise, numbers = size(shape);
  const own = Array.from({ length: n }, (_, i) => make(z.slice(i * noise, (i + 1) * noise), told[i] ?? 0));
  const all = [...Object.entries(rows).map(([name, text]) => {
    const a = floats(text);
    return [name, Array.from({ length: n }, (_, i) => a.slice(i * numbers, (i + 1) * numbers))];
  }), ["This page", own]];
  for (const [name, images] of all) {
    const title = document.createElement("div"), canvas = document.createElement("canvas");
    title.className = "row soft";
    title.textContent = name;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${n} images: ${name}`);
    draw(canvas, images);
    canvas.style.width = `${Math.max(2 * canvas.width, 64 * n)}px`;
    document.getElementById("rows").append(title, canvas);
  }
  const worst = Math.max(...all.map(([, images]) => Math.max(...images.map((image, i) => image.reduce(
    (most, x, k) => Math.max(most, Math.abs(x - own[i][k])), 0)))));
  const verdict = document.getElementById("verdict");
  verdict.dataset.worst = worst;
  verdict.textContent = `The largest difference of any pixel is ${worst.toExponential(1)}, where black to white is ${high - low}.`;
}

show();
setTimeout(compare);  // the first image is seen before
