// The arithmetic of one number: its value from the operands alone, by the rule `how` of the protocol.

const sum_of = (array) => array.reduce((sum, value) => sum + value, 0);
const logistic = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const soft_plus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** Return erf(x), to about 1e-12: the series near zero, the continued fraction further out. */
function error_function(x) {
  const size = Math.abs(x);
  if (size < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 200 && Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -(x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = size;
  for (let n = 60; n > 0; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-size * size) / fraction / Math.sqrt(Math.PI));
}

function clamped(x, { minimum, maximum }) {
  const least = minimum === null || minimum === undefined ? x : Math.max(x, minimum);
  return maximum === null || maximum === undefined ? least : Math.min(least, maximum);
}

/** The functions of one number, by their names in the protocol (arithmetic/functions.py has the same ones). */
export const NUMBER_FUNCTIONS = {
  relu: (x) => Math.max(x, 0),
  clamp: clamped,
  leaky_relu: (x, p) => (x > 0 ? x : p.slope * x),
  prelu: (x, p) => (x > 0 ? x : p.slope * x),
  silu: (x) => x * logistic(x),
  gelu: (x, p) =>
    p.approximate === "tanh"
      ? (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
      : (x / 2) * (1 + error_function(x / Math.SQRT2)),
  elu: (x, p) => p.scale * (x > 0 ? x : p.alpha * Math.expm1(x * p.input_scale)),
  celu: (x, p) => (x > 0 ? x : p.alpha * Math.expm1(x / p.alpha)),
  mish: (x) => x * Math.tanh(soft_plus(x)),
  tanh: (x) => Math.tanh(x),
  sigmoid: logistic,
  log_sigmoid: (x) => -soft_plus(-x),
  hardswish: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
  hardsigmoid: (x) => Math.min(Math.max(x + 3, 0), 6) / 6,
  softplus: (x, p) => (x * p.beta > p.threshold ? x : soft_plus(x * p.beta) / p.beta),
  threshold: (x, p) => (x > p.threshold ? x : p.value),
  power: (x, p) => x ** p.exponent,
  exp: (x) => Math.exp(x),
  log: (x) => Math.log(x),
  absolute: (x) => Math.abs(x),
  sine: (x) => Math.sin(x),
  cosine: (x) => Math.cos(x),
};

/** Return the entries of an operand that padding did not add. */
function inside_values({ array, mask }) {
  return Array.from(array).filter((_, i) => !mask || mask[i]);
}

const RULES = {
  weighted_sum({ operands: [patch, kernel], bias }) {
    return patch.array.reduce((sum, value, i) => sum + value * kernel.array[i], 0) + (bias || 0);
  },
  affine: ({ x, mean, var: variance, eps, weight, bias }) => ((x - mean) / Math.sqrt(variance + eps)) * weight + bias,
  activation: ({ x, function: name, parameters }) => NUMBER_FUNCTIONS[name](x, parameters || {}),
  maximum: ({ operands }) => operands.flatMap(inside_values).reduce((most, value) => Math.max(most, value), -Infinity),
  average: ({ operands: [patch], divisor }) => sum_of(inside_values(patch)) / divisor,
  sum: ({ operands }) => operands.reduce((sum, { array, factor }) => sum + (factor ?? 1) * sum_of(array), 0),
  multiply: ({ operands }) =>
    operands.reduce((product, { array, power }) => product * array.reduce((p, value) => p * value ** (power ?? 1), 1), 1),
  choice: ({ operands: [source] }) => source.array[0],
  softmax({ operands: [logits], index, log }) {
    const most = logits.array.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = logits.array.reduce((sum, value) => sum + Math.exp(value - most), 0);
    const share = logits.array[index] - most - Math.log(total);
    return log ? share : Math.exp(share);
  },
};

/** Return the value of a number from the operands of its reply alone; null where no arithmetic is known. */
export function recompute(reply) {
  return RULES[reply.how] ? RULES[reply.how](reply) * (reply.factor ?? 1) : null; // factor: of a changed channel
}

/** Say whether a recomputed value agrees with torch's, to 1e-4 (of the number where that is larger than 1). */
export function agrees(value, torch) {
  if (!Number.isFinite(value) || !Number.isFinite(torch)) return Object.is(value, torch);
  return Math.abs(value - torch) <= 1e-4 * Math.max(1, Math.abs(torch));
}
