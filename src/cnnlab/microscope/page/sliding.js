// Convolution and pooling of one channel, as torch computes them: windows, output sizes, and one number worked out.
// A picture here is {height, width, data}: data holds height * width numbers, row by row.

/** The kernels that every course begins with: those of cnnlab.explain.KERNELS, as [title, weights]. */
export const NAMED_KERNELS = {
  identity: ["Identity", [[0, 0, 0], [0, 1, 0], [0, 0, 0]]],
  sobel_x: ["Sobel x (upright edges)", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]],
  sobel_y: ["Sobel y (level edges)", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]],
  laplacian: ["Laplacian (edges of every direction)", [[0, 1, 0], [1, -4, 1], [0, 1, 0]]],
  blur: ["Blur (mean)", [[1 / 9, 1 / 9, 1 / 9], [1 / 9, 1 / 9, 1 / 9], [1 / 9, 1 / 9, 1 / 9]]],
  gaussian: ["Gaussian blur", [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]]],
  emboss: ["Emboss", [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]],
  sharpen: ["Sharpen", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]],
};

/** The size of the output along one side; below 1 where the window does not fit. */
export function output_size(size, window, { stride, padding, dilation }) {
  return Math.floor((size + 2 * padding - dilation * (window - 1) - 1) / stride) + 1;
}

/** The formula of the output size with the numbers put in. */
export function size_formula(size, window, { stride, padding, dilation }) {
  const result = output_size(size, window, { stride, padding, dilation });
  return `⌊(${size} + 2·${padding} − ${dilation}·(${window} − 1) − 1) / ${stride}⌋ + 1 = ${result}`;
}

/** A kernel of size x size: the old one cut or surrounded with zeros, about its centre. */
export function resized_kernel(kernel, size) {
  const shift = (kernel.length - size) / 2;
  return Array.from({ length: size }, (_, y) =>
    Array.from({ length: size }, (_, x) => (kernel[y + shift] || [])[x + shift] || 0));
}

/** The rows (or columns) of the picture under the window at an output position; outside the picture is padding. */
export function window_places(position, window, { stride, padding, dilation }) {
  return Array.from({ length: window }, (_, i) => position * stride - padding + i * dilation);
}

/** The window at output position (y, x): its rows and columns, its values (0 where padded), and which are padding. */
export function window_at(picture, window, settings, y, x) {
  const rows = window_places(y, window, settings);
  const columns = window_places(x, window, settings);
  const inside = (row, column) => row >= 0 && row < picture.height && column >= 0 && column < picture.width;
  return {
    rows,
    columns,
    values: rows.map((r) => columns.map((c) => (inside(r, c) ? picture.data[r * picture.width + c] : 0))),
    padded: rows.map((r) => columns.map((c) => !inside(r, c))),
  };
}

/** One number of a convolution: the products of window and kernel, their sum, and the sum plus the bias. */
export function convolution_at(picture, kernel, bias, settings, y, x) {
  const window = window_at(picture, kernel.length, settings, y, x);
  const products = window.values.map((row, i) => row.map((value, j) => value * kernel[i][j]));
  const sum = products.flat().reduce((total, value) => total + value, 0);
  return { ...window, products, sum, value: sum + bias };
}

/** One number of a pooling, "max" or "average"; padding is never the largest, and counts as 0 in an average. */
export function pooling_at(picture, kind, size, settings, y, x) {
  const window = window_at(picture, size, settings, y, x);
  const real = window.values.flat().filter((_, i) => !window.padded.flat()[i]);
  const sum = real.reduce((total, value) => total + value, 0);
  const value = kind === "max" ? Math.max(...real) : sum / (size * size);
  return { ...window, sum, value };
}

function over_positions(picture, window, settings, value_at) {
  const height = output_size(picture.height, window, settings);
  const width = output_size(picture.width, window, settings);
  if (height < 1 || width < 1) return null;
  const data = new Float64Array(height * width);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) data[y * width + x] = value_at(y, x);
  return { height, width, data };
}

/** The whole output of a convolution, or null where the kernel does not fit. */
export function convolve(picture, kernel, bias, settings) {
  return over_positions(picture, kernel.length, settings, (y, x) =>
    convolution_at(picture, kernel, bias, settings, y, x).value);
}

/** The whole output of a pooling, or null where the window does not fit. */
export function pool(picture, kind, size, settings) {
  return over_positions(picture, size, settings, (y, x) => pooling_at(picture, kind, size, settings, y, x).value);
}

/** A picture made smaller so that its longer side has at most `most` pixels: each the mean of those that it covers. */
export function shrunk(picture, most) {
  const scale = Math.max(picture.height, picture.width) / most;
  if (scale <= 1) return picture;
  return resampled(picture, Math.max(1, Math.round(picture.height / scale)), Math.max(1, Math.round(picture.width / scale)));
}

/** A picture of another size: each pixel the mean of the part that it covers. */
export function resampled(picture, height, width) {
  const down = resampler(picture.height, height);
  const across = resampler(picture.width, width);
  const data = new Float64Array(height * width);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let total = 0;
      for (const [row, down_share] of down[y])
        for (const [column, share] of across[x]) total += down_share * share * picture.data[row * picture.width + column];
      data[y * width + x] = total;
    }
  return { height, width, data };
}

/** For each of `to` places the [place, share] of the `from` places that it covers. */
function resampler(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const [start, end] = [i * scale, (i + 1) * scale];
    const shares = [];
    for (let place = Math.floor(start); place < Math.min(from, Math.ceil(end - 1e-9)); place++)
      shares.push([place, (Math.min(end, place + 1) - Math.max(start, place)) / scale]);
    return shares;
  });
}

/** One channel of pixels uint8 (H, W, C) as numbers of 0 to 1: "grey" (Rec. 601 luma), or the number of a channel. */
export function channel_of(pixels, which = "grey") {
  const [height, width, channels] = pixels.shape;
  const weights = channels === 1 ? [1] : which === "grey" ? [0.299, 0.587, 0.114] : [0, 1, 2].map((c) => +(c === which));
  const data = new Float64Array(height * width);
  for (let i = 0; i < data.length; i++)
    for (let c = 0; c < channels; c++) data[i] += (weights[c] * pixels[i * channels + c]) / 255;
  return { height, width, data };
}
