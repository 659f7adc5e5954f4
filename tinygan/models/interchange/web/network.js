// A network on one sample. An array is {shape, data}, channels last; weights lie end to end in one Float32Array, and an
// operation names where its own begin. Equations are those of the layers of the same name in tinygan.layers.
"use strict";

const CURVES = {
  relu: (x) => Math.max(x, 0),
  leaky: (x, a) => (x > 0 ? x : a * x),
  elu: (x, a) => (x > 0 ? x : a * Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

const channelsOf = (shape) => shape[shape.length - 1];
const size = (shape) => shape.reduce((a, b) => a * b, 1);

const OPERATIONS = {
  // y = x W + b
  dense({ data: x }, { inputs, outputs, W, b }, weights) {
    const y = begin(outputs, outputs, b, weights);
    for (let i = 0; i < inputs; i++) {
      const v = x[i], row = W + i * outputs;
      if (v !== 0) for (let o = 0; o < outputs; o++) y[o] += v * weights[row + o];
    }
    return { shape: [outputs], data: y };
  },

  // y[p, o] = Σ_k,c x[s p + k - pad, c] W[k, c, o] + b[o]
  conv({ shape: [h, w, c], data: x }, { kernel, stride, pads, shape, W, b }, weights) {
    const [height, width, o] = shape, y = begin(size(shape), o, b, weights);
    for (let p = 0; p < height; p++) for (let q = 0; q < width; q++)
      for (let k = 0; k < kernel[0]; k++) for (let l = 0; l < kernel[1]; l++) {
        const i = p * stride[0] + k - pads[0], j = q * stride[1] + l - pads[1];
        if (i < 0 || j < 0 || i >= h || j >= w) continue;
        const from = (i * w + j) * c, to = (p * width + q) * o, block = W + (k * kernel[1] + l) * c * o;
        for (let a = 0; a < c; a++) {
          const v = x[from + a], row = block + a * o;
          if (v !== 0) for (let z = 0; z < o; z++) y[to + z] += v * weights[row + z];
        }
      }
    return { shape, data: y };
  },

  // y[s p + k - pad, o] += Σ_c x[p, c] W[k, o, c]
  convTranspose({ shape: [h, w, c], data: x }, { kernel, stride, pads, shape, W, b }, weights) {
    const [height, width, o] = shape, y = begin(size(shape), o, b, weights);
    for (let p = 0; p < h; p++) for (let q = 0; q < w; q++)
      for (let k = 0; k < kernel[0]; k++) for (let l = 0; l < kernel[1]; l++) {
        const i = p * stride[0] + k - pads[0], j = q * stride[1] + l - pads[1];
        if (i < 0 || j < 0 || i >= height || j >= width) continue;
        const from = (p * w + q) * c, to = (i * width + j) * o, block = W + (k * kernel[1] + l) * o * c;
        for (let z = 0; z < o; z++) {
          let sum = 0;
          for (let a = 0, row = block + z * c; a < c; a++) sum += x[from + a] * weights[row + a];
          y[to + z] += sum;
        }
      }
    return { shape, data: y };
  },

  // Each channel by itself; of a class the row of the label
  scale({ shape, data }, { gamma, beta, classes }, weights, label) {
    const c = channelsOf(shape), row = classes ? label * c : 0;
    return { shape, data: data.map((x, i) => x * weights[gamma + row + (i % c)] + weights[beta + row + (i % c)]) };
  },

  curve({ shape, data }, { kind, a }) {
    const f = CURVES[kind];
    return { shape, data: data.map((x) => f(x, a)) };
  },

  shape({ data }, { shape }) {
    return { shape, data };
  },

  // The label one-hot, behind the channels of every pixel
  labels({ shape, data }, { classes }, weights, label) {
    const c = channelsOf(shape), pixels = data.length / c, y = new Float32Array(pixels * (c + classes));
    for (let p = 0; p < pixels; p++) {
      y.set(data.subarray(p * c, (p + 1) * c), p * (c + classes));
      y[p * (c + classes) + c + label] = 1;
    }
    return { shape: [...shape.slice(0, -1), c + classes], data: y };
  },

  upsample({ shape: [h, w, c], data }, { scale, mode }) {
    const down = places(h, scale, mode), across = places(w, scale, mode);
    const y = new Float32Array(h * w * scale * scale * c);
    let n = 0;
    for (const [i, i2, t] of down) for (const [j, j2, u] of across) for (let z = 0; z < c; z++) {
      const at = (a, b) => data[(a * w + b) * c + z];
      y[n++] = (1 - t) * ((1 - u) * at(i, j) + u * at(i, j2)) + t * ((1 - u) * at(i2, j) + u * at(i2, j2));
    }
    return { shape: [h * scale, w * scale, c], data: y };
  },

  // y[r p + i, r q + j, z] = x[p, q, z r² + i r + j]
  pixelShuffle({ shape: [h, w, c], data }, { scale: r }) {
    const o = c / (r * r), y = new Float32Array(data.length);
    for (let p = 0; p < h; p++) for (let q = 0; q < w; q++) for (let i = 0; i < r; i++) for (let j = 0; j < r; j++)
      for (let z = 0; z < o; z++)
        y[((r * p + i) * w * r + r * q + j) * o + z] = data[(p * w + q) * c + z * r * r + i * r + j];
    return { shape: [h * r, w * r, o], data: y };
  },

  branches(x, { join, branches }, weights, label) {
    const made = branches.map((operations) => compute(operations, weights, x, label));
    if (join !== "concat") {
      const parts = join === "residual" ? [x, ...made] : made;
      return { shape: parts[0].shape, data: parts[0].data.map((_, i) => parts.reduce((sum, y) => sum + y.data[i], 0)) };
    }
    const channels = made.map((y) => channelsOf(y.shape)), all = channels.reduce((a, b) => a + b);
    const pixels = made[0].data.length / channels[0], y = new Float32Array(pixels * all);
    for (let p = 0; p < pixels; p++) {
      let to = p * all;
      made.forEach(({ data }, k) => {
        y.set(data.subarray(p * channels[k], (p + 1) * channels[k]), to);
        to += channels[k];
      });
    }
    return { shape: [...made[0].shape.slice(0, -1), all], data: y };
  },
};

// n numbers, the bias of o channels again and again, or 0
function begin(n, o, b, weights) {
  const y = new Float32Array(n);
  if (b >= 0) for (let i = 0; i < n; i++) y[i] = weights[b + (i % o)];
  return y;
}

// For each of n · scale pixels: the pixel it comes from, the neighbour, and the neighbour's part
function places(n, scale, mode) {
  return Array.from({ length: n * scale }, (_, i) => {
    const h = Math.floor(i / scale), t = ((i % scale) + 0.5) / scale - 0.5;
    return mode === "nearest" ? [h, h, 0] : [h, Math.min(Math.max(h + Math.sign(t), 0), n - 1), Math.abs(t)];
  });
}

function compute(operations, weights, x, label) {
  for (const operation of operations) x = OPERATIONS[operation.op](x, operation, weights, label);
  return x;
}
