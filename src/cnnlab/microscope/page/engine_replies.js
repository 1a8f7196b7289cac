// The replies of a saved page that runs its network itself: as session.py and sheets.py give them.

import { run_steps, softmax_of } from "./engine.js";
import { engine_number } from "./engine_number.js";
import { AskError, shaped } from "./transport.js";
import { engine_input, engine_pixels } from "./engine_images.js";

const MOST_PASSES = 12; // passes that are kept
const MOST_ADDED = 32; // images of people that are kept
const sheet_side = (channels) => (channels > 80 ? 48 : 64); // pixels of a channel on a sheet, at most
const THUMBNAIL = 32;
const LARGE_IMAGE = 64; // pixels from which on people see an image larger than the network does, as in classifier.py
const BINS = 24;

/**
 * Return {replies, knows, offers}: functions that answer requests, whether there is an image, whether a request can be
 * answered. It takes programs by `[model, epoch]` as JSON, a function from the id of an image to what `image` replies (or
 * null), and the reply to open.
 */
export function engine_replies({ programs, image: stored_image, opened }) {
  const passes = new Map();
  const added = new Map();

  function image_of(id) {
    const image = added.get(id) || opened_image(id);
    if (!image) throw new AskError("not_found", "This image is not kept any more: the oldest are dropped. Take it again.");
    return image;
  }

  const from_file = new Map();

  function opened_image(id) {
    if (!from_file.has(id)) from_file.set(id, stored_image(id));
    return from_file.get(id);
  }

  function program_of(scene) {
    const program = programs[program_name(scene)];
    if (!program) throw new AskError("not_saved", "The weights of this epoch are not in the saved file.");
    return program;
  }

  function pass(scene) {
    const name = JSON.stringify(scene);
    const values = passes.get(name) || run_steps(program_of(scene), image_of(scene.image).input, scene.changes);
    passes.delete(name);
    passes.set(name, values);
    if (passes.size > MOST_PASSES) passes.delete(passes.keys().next().value);
    return values;
  }

  function step_of(scene, id) {
    const step = program_of(scene).steps.find((one) => one.id === id);
    if (!step) throw new AskError("not_found", `There is no layer or operation "${id}".`);
    return step;
  }

  function logits_of(scene) {
    const id = program_of(scene).output, outputs = pass(scene).get(id).data;
    let last = step_of(scene, id);
    while (last.op === "move" && last.input !== "input") last = step_of(scene, last.input);
    if (last.op !== "softmax" || last.log) return outputs;
    return outputs.map((share) => Math.log(Math.max(share, 2 ** -126))); // the softmax of these are the outputs
  }

  const answer = (scene) => answer_of(logits_of(scene), opened.classes);

  const replies = {
    image: ({ image }) => image_of(image),
    async add_image(request) {
      const program = Object.values(programs)[0];
      const pixels = await engine_pixels(request, program);
      // A board is painted on again, and has as many pixels as the image that people see.
      const board = request.cropped && program.size >= LARGE_IMAGE && request.pixels;
      const id = `added-${await digest_of(pixels)}`;
      added.delete(id);
      added.set(id, { pixels: board || pixels, input: engine_input(pixels, program) });
      if (added.size > MOST_ADDED) added.delete(added.keys().next().value);
      return { image: { id, name: request.name, label: null } };
    },
    answer: ({ scene }) => answer(scene),
    overview({ scene }) {
      const values = pass(scene);
      const steps = program_of(scene).steps;
      const small = steps.map((step) => thumbnail(values.get(step.id)));
      const thumbnails = new Uint8Array(steps.length * THUMBNAIL ** 2);
      small.forEach(({ bytes }, i) => thumbnails.set(bytes, i * THUMBNAIL ** 2));
      return {
        answer: answer(scene),
        nodes: steps.map((step) => step.id),
        thumbnails: shaped(thumbnails, [steps.length, THUMBNAIL, THUMBNAIL]),
        low: Float32Array.from(small, (one) => one.low),
        high: Float32Array.from(small, (one) => one.high),
        size: shaped(Int32Array.from(steps.flatMap((step) => step.shape.slice(1))), [steps.length, 2]),
      };
    },
    layer({ scene, node }) {
      step_of(scene, node);
      return sheet_of(pass(scene).get(node));
    },
    channel({ scene, node, channel }) {
      const step = step_of(scene, node);
      check_place(step, [channel, 0, 0]);
      const { data, shape } = pass(scene).get(node);
      const area = shape[1] * shape[2];
      const map = shaped(data.slice(channel * area, (channel + 1) * area), shape.slice(1));
      return { map, ...statistics(map), ...kernel_of(step, channel), field: step.field };
    },
    number({ scene, node, at }) {
      const step = step_of(scene, node);
      check_place(step, at);
      return engine_number(step, (id) => pass(scene).get(id), at, scene.changes);
    },
  };
  const knows = (id) => added.has(id) || opened_image(id) !== null;
  const offers = ({ do: what, scene }) =>
    Object.hasOwn(replies, what) && (!scene || (Object.hasOwn(programs, program_name(scene)) && knows(scene.image)));
  return { replies, knows, offers };
}

function program_name({ model, epoch }) {
  return JSON.stringify([model, epoch]);
}

function check_place(step, at) {
  ["channel", "row", "column"].forEach((name, axis) => {
    if (at[axis] >= 0 && at[axis] < step.shape[axis]) return;
    throw new AskError("bad_request", `${step.id} has the ${name}s 0 to ${step.shape[axis] - 1}, not ${at[axis]}.`);
  });
}

function answer_of(logits, classes) {
  const probabilities = logits.length === 1 ? [1 / (1 + Math.exp(-logits[0]))] : softmax_of(logits);
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 5);
  return {
    logits,
    probabilities: Float32Array.from(probabilities),
    top: order.map((index) => ({ index, name: classes[index], probability: probabilities[index] })),
  };
}

async function digest_of(pixels) {
  // Pages of files have no crypto.subtle in every browser: FNV-1a, https://www.rfc-editor.org/rfc/rfc9923
  let hash = 0xcbf29ce484222325n;
  for (const byte of [...pixels.shape, ...pixels]) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16);
}

// Small pictures -----------------------------------------------------------------------------------------------------

/** Return a map with fewer rows and columns, each the mean of those that fall on it (adaptive average pooling). */
function averaged(map, height, width, rows, columns) {
  if (rows === height && columns === width) return map;
  const small = new Float32Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      let count = 0;
      for (let i = Math.floor((y * height) / rows); i < Math.ceil(((y + 1) * height) / rows); i++) {
        for (let j = Math.floor((x * width) / columns); j < Math.ceil(((x + 1) * width) / columns); j++, count++) {
          sum += map[i * width + j];
        }
      }
      small[y * columns + x] = sum / count;
    }
  }
  return small;
}

function quantised(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return { bytes: Uint8Array.from(values, (value) => Math.round(((value - low) / (high - low || 1)) * 255)), low, high };
}

function thumbnail({ data, shape }) {
  const [channels, height, width] = shape;
  let [rows, columns] = [height, width];
  let picture;
  if (height === 1 && width === 1) {
    columns = Math.ceil(Math.sqrt(channels));
    rows = Math.ceil(channels / columns);
    picture = new Float32Array(rows * columns);
    picture.set(data);
  } else {
    const sum = new Float64Array(height * width);
    for (let i = 0; i < data.length; i++) sum[i % sum.length] += data[i];
    picture = Float32Array.from(sum, (value) => value / channels);
  }
  const least = [Math.min(rows, THUMBNAIL), Math.min(columns, THUMBNAIL)];
  if (rows > THUMBNAIL || columns > THUMBNAIL) picture = averaged(picture, rows, columns, ...least);
  else least.splice(0, 2, rows, columns);
  const large = Float32Array.from({ length: THUMBNAIL ** 2 }, (_, i) => {
    const [y, x] = [Math.floor(i / THUMBNAIL), i % THUMBNAIL];
    const near = (n, side) => Math.floor(((n + 0.5) * side) / THUMBNAIL);
    return picture[near(y, least[0]) * least[1] + near(x, least[1])];
  });
  return quantised(large);
}

function sheet_of({ data, shape }) {
  const [channels, height, width] = shape;
  const [h, w] = [Math.min(height, sheet_side(channels)), Math.min(width, sheet_side(channels))];
  const sheet = shaped(new Uint8Array(channels * h * w), [channels, h, w]);
  const columns = { low: [], high: [], strength: [], mean: [], zeros: [] };
  for (let c = 0; c < channels; c++) {
    const map = data.subarray(c * height * width, (c + 1) * height * width);
    const { bytes, low, high } = quantised(averaged(map, height, width, h, w));
    sheet.set(bytes, c * h * w);
    const share = (f) => map.reduce((sum, value) => sum + f(value), 0) / map.length;
    columns.low.push(low);
    columns.high.push(high);
    columns.strength.push(share(Math.abs));
    columns.mean.push(share((value) => value));
    columns.zeros.push(share((value) => (value === 0 ? 1 : 0)));
  }
  const arrays = Object.entries(columns).map(([name, values]) => [name, Float32Array.from(values)]);
  return { shape, sheet, ...Object.fromEntries(arrays) };
}

/** Return histogram and numbers of a channel, as NumPy's `histogram` counts. */
function statistics(map) {
  let { low, high } = quantised(map);
  const mean = map.reduce((sum, value) => sum + value, 0) / map.length;
  const numbers = {
    mean,
    std: Math.sqrt(map.reduce((sum, value) => sum + (value - mean) ** 2, 0) / map.length),
    low,
    high,
    zeros: map.reduce((sum, value) => sum + (value === 0 ? 1 : 0), 0) / map.length,
  };
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const bins = Math.min(BINS, map.length);
  const counts = new Int32Array(bins);
  for (const value of map) counts[Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))]++;
  const edges = Float32Array.from({ length: bins + 1 }, (_, i) => low + ((high - low) * i) / bins);
  return { histogram: { counts, edges }, ...numbers };
}

function kernel_of(step, channel) {
  if (!step.weight || (step.op !== "convolution" && step.op !== "dense")) return { kernel: null, bias: null };
  const [, ...shape] = step.weight.array.shape;
  const size = shape.reduce((product, side) => product * side, 1);
  const kernel = step.weight.array.slice(channel * size, (channel + 1) * size);
  const sides = step.op === "dense" ? [size, 1, 1] : shape;
  return { kernel: shaped(kernel, sides), bias: step.bias ? step.bias.array[channel] : null };
}
