// The passes of a small network in a saved page: steps with their weights (cnnlab.microscope.program), run in order.
// Values are Float32Arrays in the view (C, H, W); sums are computed in double precision.

import { NUMBER_FUNCTIONS } from "./number_sum.js";

/** Return the outputs of all steps for an input (C, S, S), by id, with the channels scaled that are changed. */
export function run_steps(program, input, changes) {
  const { size, channels } = program;
  const values = new Map([["input", { data: input, shape: [channels, size, size] }]]);
  for (const step of program.steps) {
    const output = { data: new Float32Array(step.shape[0] * step.shape[1] * step.shape[2]), shape: step.shape };
    STEP_RULES[step.op](step, (id) => values.get(id), output);
    const area = step.shape[1] * step.shape[2];
    const factors = new Map(changes.filter((one) => one.node === step.id).map((one) => [one.channel, one.factor]));
    for (const [channel, factor] of factors) {
      for (let i = channel * area; i < (channel + 1) * area; i++) output.data[i] *= factor;
    }
    values.set(step.id, output);
  }
  return values;
}

const STEP_RULES = {
  convolution: run_convolution,
  dense(step, value, output) {
    const { data } = value(step.input);
    const weight = step.weight.array;
    for (let k = 0; k < output.data.length; k++) {
      let sum = step.bias ? step.bias.array[k] : 0;
      for (let i = 0; i < data.length; i++) sum += data[i] * weight[k * data.length + i];
      output.data[k] = sum;
    }
  },
  norm(step, value, output) {
    const { data } = value(step.input);
    const area = output.shape[1] * output.shape[2];
    for (let i = 0; i < data.length; i++) {
      const { mean, deviation, weight, bias } = norm_numbers(step, Math.floor(i / area));
      output.data[i] = ((data[i] - mean) / deviation) * weight + bias;
    }
  },
  activation(step, value, output) {
    const apply = NUMBER_FUNCTIONS[step.function];
    const { data } = value(step.input);
    for (let i = 0; i < data.length; i++) output.data[i] = apply(data[i], step.parameters);
  },
  maximum(step, value, output) {
    each_window(step, value(step.input), output, (numbers) => numbers.reduce((a, b) => Math.max(a, b), -Infinity));
  },
  average(step, value, output) {
    each_window(step, value(step.input), output, (numbers, count) => {
      return numbers.reduce((a, b) => a + b, 0) / average_divisor(step, numbers.length, count);
    });
  },
  sum(step, value, output) {
    const terms = step.terms.map((term) => [term_reader(term, value, output.shape), term.factor]);
    for (let i = 0; i < output.data.length; i++) output.data[i] = terms.reduce((sum, [read, f]) => sum + f * read(i), 0);
  },
  multiply(step, value, output) {
    const terms = step.terms.map((term) => [term_reader(term, value, output.shape), term.factor]);
    for (let i = 0; i < output.data.length; i++) output.data[i] = terms.reduce((all, [read, p]) => all * read(i) ** p, 1);
  },
  concat(step, value, output) {
    let offset = 0;
    for (const id of step.inputs) {
      output.data.set(value(id).data, offset);
      offset += value(id).data.length;
    }
  },
  softmax(step, value, output) {
    output.data.set(softmax_of(value(step.input).data, step.log));
  },
  move(step, value, output) {
    const { data } = value(step.input);
    for (let i = 0; i < output.data.length; i++) output.data[i] = step.index[i] < 0 ? 0 : data[step.index[i]];
  },
};

function run_convolution(step, value, output) {
  const { data, shape } = value(step.input);
  const [channels, height, width] = shape;
  const [outs, rows, columns] = output.shape;
  const { array: weight } = step.weight;
  const [, per_group, kernel_rows, kernel_columns] = weight.shape;
  const sum = new Float64Array(rows * columns);
  for (let out = 0; out < outs; out++) {
    sum.fill(step.bias ? step.bias.array[out] : 0);
    const first = Math.floor(out / (outs / step.groups)) * (channels / step.groups);
    for (let i = 0; i < per_group; i++) {
      const map = (first + i) * height * width;
      for (let ky = 0; ky < kernel_rows; ky++) {
        for (let kx = 0; kx < kernel_columns; kx++) {
          const w = weight[((out * per_group + i) * kernel_rows + ky) * kernel_columns + kx];
          const dy = ky * step.dilation[0] - step.padding[0];
          const dx = kx * step.dilation[1] - step.padding[1];
          for (let y = 0; y < rows; y++) {
            const row = y * step.stride[0] + dy;
            if (row < 0 || row >= height) continue;
            for (let x = 0; x < columns; x++) {
              const column = x * step.stride[1] + dx;
              if (column >= 0 && column < width) sum[y * columns + x] += w * data[map + row * width + column];
            }
          }
        }
      }
    }
    output.data.set(sum, out * rows * columns);
  }
}

/** Return the numbers of a normalisation for a channel. */
export function norm_numbers(step, channel) {
  const read = (parameter, other) => (parameter ? parameter.array[channel] : other);
  const numbers = { mean: read(step.mean), var: read(step.var), weight: read(step.weight, 1), bias: read(step.bias, 0) };
  return { ...numbers, eps: step.eps, deviation: Math.sqrt(numbers.var + step.eps) };
}

/** Return the positions [first, first + distance, ...] of a window along one axis. */
export function window_line([first, count, distance]) {
  return Array.from({ length: Math.max(count, 0) }, (_, i) => first + i * distance);
}

/** Return what a mean is divided by: of `inside` numbers on the map, of `count` with padding. */
export function average_divisor(step, inside, count) {
  return step.divisor || (step.count_padding ? count : inside);
}

function each_window(step, { data, shape }, output, reduce) {
  const [, height, width] = shape;
  const rows = step.rows.map(window_line);
  const columns = step.columns.map(window_line);
  let at = 0;
  for (let channel = 0; channel < output.shape[0]; channel++) {
    for (const ys of rows) {
      for (const xs of columns) {
        const numbers = [];
        for (const y of ys) {
          if (y < 0 || y >= height) continue;
          for (const x of xs) if (x >= 0 && x < width) numbers.push(data[(channel * height + y) * width + x]);
        }
        output.data[at++] = reduce(numbers, ys.length * xs.length);
      }
    }
  }
}

/** Return the position in a term of shape (C or 1, H or 1, W or 1) that is brought to position i of an output. */
export function broadcast_place(shape, output_shape, i) {
  const [, height, width] = output_shape;
  const place = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
  return place.map((n, axis) => (shape[axis] === 1 ? 0 : n));
}

function term_reader(term, value, output_shape) {
  if (term.input === undefined) return () => term.constant;
  const { data } = value(term.input);
  const shape = term.shape;
  if (shape.every((side, axis) => side === output_shape[axis])) return (i) => data[i];
  return (i) => {
    const [c, y, x] = broadcast_place(shape, output_shape, i);
    return data[(c * shape[1] + y) * shape[2] + x];
  };
}

/** Return softmax of numbers, or its logarithm. */
export function softmax_of(numbers, log = false) {
  const largest = numbers.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = numbers.reduce((sum, x) => sum + Math.exp(x - largest), 0);
  return Array.from(numbers, (x) => (log ? x - largest - Math.log(total) : Math.exp(x - largest) / total));
}
