// One number of a saved page that runs its network itself, worked out: as cnnlab.microscope.arithmetic does.

import { average_divisor, broadcast_place, norm_numbers, window_line } from "./engine.js";
import { recompute } from "./number_sum.js";
import { shaped } from "./transport.js";

const SHOWN = 4; // so many input channels have a step of their own

/** Return the reply `number` for a place [channel, y, x] of a step's output. */
export function engine_number(step, value, at, changes) {
  const reply = NUMBER_RULES[step.op](step, value, at);
  reply.value = recompute(reply);
  reply.steps = [...(reply.steps || []), ["= the number", reply.value]].map(([text, number]) => ({ text, value: number }));
  reply.sentence = reply.sentence.replace("{value}", engine_text(reply.value));
  const [, height, width] = step.shape;
  reply.by_page = true; // the number beside the sum is that of the page's own pass, not torch's
  reply.torch = value(step.id).data[(at[0] * height + at[1]) * width + at[2]];
  const factor = changes.filter((one) => one.node === step.id && one.channel === at[0]).map((one) => one.factor).pop();
  if (factor !== undefined) {
    reply.factor = factor;
    reply.value *= factor;
    reply.steps.push({ text: `times ${engine_text(factor)}, as this channel is changed`, value: reply.value });
  }
  return reply;
}

/** Return a number as sentences show it, with four digits, as Python's format "g" does. */
export function engine_text(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const [digits, exponent] = value.toExponential(3).split("e");
  const power = Number(exponent);
  const short = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < 4) return short(value.toFixed(3 - power));
  return `${short(digits)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

const count_of = (count, noun) => `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;

/** Return an operand: the numbers of a node at all channels, rows and columns of a grid, 0 outside of its map. */
function grid_operand(name, from, { data, shape }, channels, rows, columns) {
  const array = shaped(new Float32Array(channels.length * rows.length * columns.length), [channels.length, rows.length, columns.length]);
  const mask = shaped(new Uint8Array(array.length), array.shape);
  let i = 0;
  for (const c of channels) {
    for (const y of rows) {
      for (const x of columns) {
        mask[i] = y >= 0 && y < shape[1] && x >= 0 && x < shape[2] ? 1 : 0;
        array[i] = mask[i] ? data[(c * shape[1] + y) * shape[2] + x] : 0;
        i++;
      }
    }
  }
  const axes = [channels, rows, columns];
  const operand = { name, from, array, at: [axes.map((axis) => axis[0]), axes.map((axis) => axis[axis.length - 1])] };
  const has_gaps = axes.some((axis) => axis.some((n, k) => k && n !== axis[k - 1] + 1));
  if (has_gaps) Object.assign(operand, { channels, rows, columns });
  return mask.includes(0) ? { ...operand, mask } : operand;
}

function one_operand(name, from, node, [c, y, x], more = {}) {
  return { ...grid_operand(name, from, node, [c], [y], [x]), ...more };
}

function parameter_operand(name, parameter, start, shape) {
  const size = shape.reduce((product, side) => product * side, 1);
  return { name, from: parameter.name, array: shaped(Float32Array.from(parameter.array.subarray(start, start + size)), shape), at: null };
}

const line_of = (start, count, distance = 1) => Array.from({ length: count }, (_, i) => start + i * distance);

const NUMBER_RULES = {
  convolution(step, value, [channel, y, x]) {
    const [, per_group, height, width] = step.weight.array.shape;
    const group = Math.floor(channel / (step.shape[0] / step.groups));
    const taps = (axis, place, side) => line_of(place * step.stride[axis] - step.padding[axis], side, step.dilation[axis]);
    const patch = grid_operand("patch", step.input, value(step.input), line_of(group * per_group, per_group), taps(0, y, height), taps(1, x, width));
    const kernel = parameter_operand("kernel", step.weight, channel * patch.array.length, patch.array.shape);
    return weighted(step, patch, kernel, channel);
  },
  dense(step, value, [channel]) {
    const { data } = value(step.input);
    const patch = grid_operand("patch", step.input, value(step.input), line_of(0, data.length), [0], [0]);
    return weighted(step, patch, parameter_operand("kernel", step.weight, channel * data.length, patch.array.shape), channel);
  },
  norm(step, value, at) {
    const operand = one_operand("x", step.input, value(step.input), at);
    const { deviation, ...numbers } = norm_numbers(step, at[0]);
    const x = operand.array[0];
    const parameters = ["weight", "bias", "mean", "var"].filter((name) => step[name]);
    const order = ["mean", "var", "weight", "bias"].filter((name) => parameters.includes(name));
    const text = Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, engine_text(number)]));
    const normalised = (x - numbers.mean) / deviation;
    return {
      how: "affine", formula: "(x - mean) / sqrt(var + eps) * weight + bias", x, ...numbers,
      operands: [operand, ...order.map((name) => parameter_operand(name, step[name], at[0], [1, 1, 1]))],
      sentence: `This number is ${engine_text(x)} normalised with the mean ${text.mean} and the standard deviation ${engine_text(deviation)}, times ${text.weight}, plus ${text.bias}: {value}.`,
      steps: [["x - mean", x - numbers.mean], ["/ sqrt(var + eps)", normalised], ["* weight", normalised * numbers.weight], ["+ bias", numbers.bias]],
    };
  },
  activation(step, value, at) {
    const operand = one_operand("x", step.input, value(step.input), at);
    const x = operand.array[0];
    return {
      how: "activation", function: step.function, parameters: step.parameters, formula: step.formula, x, operands: [operand],
      sentence: activation_sentence(step, x),
      steps: [["x", x]],
    };
  },
  maximum(step, value, at) {
    const patch = window_operand(step, value, at);
    const count = patch.mask ? patch.mask.filter(Boolean).length : patch.array.length;
    return { how: "maximum", formula: "max(patch)", operands: [patch], sentence: `This number is the largest of ${count_of(count, "number")}: {value}.` };
  },
  average(step, value, at) {
    const patch = window_operand(step, value, at);
    const count = patch.mask ? patch.mask.filter(Boolean).length : patch.array.length;
    const divisor = average_divisor(step, count, patch.array.length);
    const by = divisor === count ? "" : `, divided by ${engine_text(divisor)}`;
    const total = patch.array.reduce((sum, number) => sum + number, 0);
    return {
      how: "average", formula: "sum(patch) / divisor", operands: [patch], divisor,
      sentence: `This number is the ${by ? "sum" : "mean"} of ${count_of(count, "number")}${by}: {value}.`,
      steps: [[`sum of ${count_of(count, "number")}`, total], ["/ divisor", divisor]],
    };
  },
  sum(step, value, at) {
    const terms = step.terms.map((term) => term_operand("term", step, term, value, at, "factor"));
    const text = terms.map(({ array, factor }) => {
      if (Math.abs(factor) === 1) return engine_text(array[0] * factor);
      return `${engine_text(factor)} * ${engine_text(array[0])}`;
    });
    const what = step.terms.some((term) => term.factor < 0) ? "difference" : "sum";
    const note = (factor) => (factor === 1 ? "" : ` * ${engine_text(factor)}`);
    return {
      how: "sum", formula: "sum of factor * term", operands: terms,
      sentence: `This number is the ${what} of two: ${text.join(" + ").replace("+ -", "- ")} = {value}.`,
      steps: terms.map(({ from, factor, array }) => [`term from ${from}${note(factor)}`, array[0]]),
    };
  },
  multiply(step, value, at) {
    const terms = step.terms.map((term) => term_operand("factor", step, term, value, at, "power"));
    const [what, sign] = terms[1].power < 0 ? ["quotient", "/"] : ["product", "*"];
    return {
      how: "multiply", formula: `a ${sign} b`, operands: terms,
      sentence: `This number is the ${what} of two: ${engine_text(terms[0].array[0])} ${sign} ${engine_text(terms[1].array[0])} = {value}.`,
      steps: terms.map(({ from, array }) => [`factor from ${from}`, array[0]]),
    };
  },
  concat(step, value, [channel, y, x]) {
    let first = 0;
    for (const id of step.inputs) {
      const { shape } = value(id);
      if (channel < first + shape[0]) return copied(id, value(id), [channel - first, y, x]);
      first += shape[0];
    }
    return null;
  },
  softmax(step, value, [channel]) {
    const { data } = value(step.input);
    const logits = grid_operand("logits", step.input, value(step.input), line_of(0, data.length), [0], [0]);
    const largest = data.reduce((a, b) => Math.max(a, b), -Infinity);
    const own = data[channel];
    const total = data.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
    const share = step.log ? "the logarithm of the share" : "the share";
    return {
      how: "softmax", formula: step.log ? "x - log(sum(exp(logits)))" : "exp(x) / sum(exp(logits))", operands: [logits], index: channel, log: step.log,
      sentence: `This number is ${share} of exp(${engine_text(own)}) in the sum of the exponentials of ${count_of(data.length, "logit")}: {value}.`,
      steps: [["x: its own logit", own], ["the largest logit, which all are reduced by", largest], ["exp(x - largest)", Math.exp(own - largest)], ["sum of all exp(logit - largest)", total]],
    };
  },
  move(step, value, at) {
    const place = step.index[(at[0] * step.shape[1] + at[1]) * step.shape[2] + at[2]];
    const node = value(step.input);
    if (place < 0) {
      const zero = { name: "constant", from: "constant", array: shaped(new Float32Array(1), [1, 1, 1]), at: null };
      return { how: "choice", formula: "constant", operands: [zero], sentence: "No number of a node is here: the operation fills in 0." };
    }
    const [, height, width] = node.shape;
    return copied(step.input, node, [Math.floor(place / (height * width)), Math.floor(place / width) % height, place % width]);
  },
};

function activation_sentence({ function: name, parameters, title }, x) {
  const text = engine_text(x);
  if (name === "relu") return x > 0 ? `ReLU passes ${text} on, as it is positive.` : `ReLU makes 0 of ${text}.`;
  if (name === "power") return `This number is ${text} to the power of ${engine_text(parameters.exponent)}: {value}.`;
  if (name !== "clamp") return `This number is ${title} of ${text}: {value}.`;
  const ends = [["at least", parameters.minimum], ["at most", parameters.maximum]].filter(([, limit]) => limit !== null);
  return `This number is ${text}, made ${ends.map(([words, limit]) => `${words} ${engine_text(limit)}`).join(" and ")}: {value}.`;
}

function copied(id, node, place) {
  const operands = [one_operand("number", id, node, place)];
  return { how: "choice", formula: "x", operands, sentence: `This number is copied from ${id}, unchanged: {value}.` };
}

function window_operand(step, value, [channel, y, x]) {
  return grid_operand("patch", step.input, value(step.input), [channel], window_line(step.rows[y]), window_line(step.columns[x]));
}

function term_operand(name, step, term, value, at, kind) {
  if (term.input === undefined) {
    return { name, from: "constant", array: shaped(Float32Array.of(term.constant), [1, 1, 1]), at: null, [kind]: term.factor };
  }
  const [, height, width] = step.shape;
  const place = broadcast_place(term.shape, step.shape, (at[0] * height + at[1]) * width + at[2]);
  return one_operand(name, term.input, value(term.input), place, { [kind]: term.factor });
}

function weighted(step, patch, kernel, channel) {
  const products = Float64Array.from(patch.array, (number, i) => number * kernel.array[i]);
  const total = products.reduce((sum, product) => sum + product, 0);
  const bias = step.bias ? step.bias.array[channel] : null;
  const padded = patch.mask ? patch.mask.filter((inside) => !inside).length : 0;
  const noun = count_of(products.length, "product");
  const sum_text = bias === null ? engine_text(total) : `${engine_text(total)} ${bias < 0 ? "-" : "+"} ${engine_text(Math.abs(bias))} = {value}`;
  const steps = [...channel_steps(products, patch.array.shape[0]), [`sum of ${noun}`, total]];
  if (bias !== null) steps.push(["+ bias", bias]);
  const operands = bias === null ? [patch, kernel] : [patch, kernel, parameter_operand("bias", step.bias, channel, [1, 1, 1])];
  const zeros = padded ? `, ${padded.toLocaleString("en-US")} of them with zeros of the padding` : "";
  return {
    how: "weighted_sum", formula: `sum(patch * kernel)${bias === null ? "" : " + bias"}`, operands, bias: bias || 0, steps,
    sentence: `This number is the sum of ${noun}${bias === null ? "" : " and a bias"}${zeros}: ${sum_text}.`,
  };
}

/** Return the sums per input channel, the largest in size first, and the rest together. */
function channel_steps(products, channels) {
  const size = products.length / channels;
  if (channels < 2 || size < 2) return [];
  const sums = line_of(0, channels).map((c) => [c, products.subarray(c * size, (c + 1) * size).reduce((a, b) => a + b, 0)]);
  sums.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const shown = sums.length <= SHOWN + 1 ? sums.length : SHOWN;
  const steps = sums.slice(0, shown).map(([c, sum]) => [`products of input channel ${c}`, sum]);
  const rest = sums.slice(shown);
  if (rest.length) {
    steps.push([`products of the other ${count_of(rest.length, "input channel")}`, rest.reduce((all, [, sum]) => all + sum, 0)]);
  }
  return steps;
}
