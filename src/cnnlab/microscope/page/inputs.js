// Requests for nodes, of which the image is one: its replies are made here, from the image as the network gets it.

import { graph_of, loader } from "./store.js";
import { range_of } from "./colours.js";
import { shaped } from "./transport.js";

const SHEET_SIDE = 64; // as in sheets.py

/** Ask `layer`, `channel` or `number` of a node; the answer for the image is made from its `input`. */
export function ask_node(store, body) {
  if (body.node !== graph_of(store).input) return store.ask(body);
  return store.ask({ do: "image", image: body.scene.image }).then(({ input }) => {
    if (body.do === "layer") return input_layer(input);
    if (body.do === "channel") return input_channel(input, body.channel);
    return input_number(input, body.at);
  });
}

/** Return a loader of replies about nodes: `load(body, f)` as in store.js. */
export function node_loader(store) {
  return loader(store, (body) => ask_node(store, body));
}

/** Return channel c of an array (C, H, W) as an array (H, W). */
export function channel_map(array, c) {
  const [, height, width] = array.shape;
  return shaped(array.subarray(c * height * width, (c + 1) * height * width), [height, width]);
}

function input_layer(input) {
  const [channels, height, width] = input.shape;
  const h = Math.min(height, SHEET_SIDE);
  const w = Math.min(width, SHEET_SIDE);
  const numbers = { low: [], high: [], strength: [], mean: [], zeros: [] };
  const sheet = new Uint8Array(channels * h * w);
  for (let c = 0; c < channels; c++) {
    const map = channel_map(input, c);
    const [low, high] = range_of(map);
    const share = (f) => map.reduce((sum, value) => sum + f(value), 0) / map.length;
    numbers.low.push(low);
    numbers.high.push(high);
    numbers.strength.push(share(Math.abs));
    numbers.mean.push(share((value) => value));
    numbers.zeros.push(share((value) => (value === 0 ? 1 : 0)));
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        const value = map[Math.floor((y * height) / h) * width + Math.floor((x * width) / w)];
        sheet[(c * h + y) * w + x] = Math.round((255 * (value - low)) / (high - low || 1));
      }
    }
  }
  return { shape: input.shape, sheet: shaped(sheet, [channels, h, w]), ...numbers };
}

function input_channel(input, c) {
  const map = channel_map(input, c);
  const [low, high] = range_of(map);
  const bins = Math.min(24, map.length);
  const counts = new Int32Array(bins);
  let sum = 0;
  let squares = 0;
  let zeros = 0;
  for (const value of map) {
    counts[Math.min(bins - 1, Math.floor((bins * (value - low)) / (high - low || 1)))]++;
    sum += value;
    squares += value * value;
    zeros += value === 0 ? 1 : 0;
  }
  const mean = sum / map.length;
  const edges = Float32Array.from({ length: bins + 1 }, (_, i) => low + ((high - low) * i) / bins);
  return {
    map, histogram: { counts, edges }, kernel: null, bias: null, field: { size: [1, 1], stride: [1, 1], start: [0, 0] },
    mean, std: Math.sqrt(Math.max(0, squares / map.length - mean * mean)), low, high, zeros: zeros / map.length,
  };
}

function input_number(input, [c, y, x]) {
  const value = channel_map(input, c)[y * input.shape[2] + x];
  return {
    value, torch: value, how: "opaque", formula: "", operands: [], steps: [],
    sentence: "This number is a pixel of the image, with the mean of all images taken away and divided by their standard deviation.",
  };
}
