// Images that people bring to a saved page: resized as the network's preprocessing says, and normalised.

import { shaped } from "./transport.js";

/** Return the pixels uint8 (S, S, C) of a request `add_image`, resized and, where they are not `cropped` yet, cut to what the network takes. */
export async function engine_pixels(request, program) {
  const given = request.pixels || (await decoded_pixels(request.file));
  const coloured = in_channels(given, program.channels);
  const [height, width] = coloured.shape;
  const { size } = program;
  const short = program.stretch ? size : Math.max(size, half_even(size / (request.cropped ? 1 : program.fraction)));
  const least = Math.min(height, width);
  const [rows, columns] = program.stretch ? [size, size] : [height, width].map((side) => Math.max(short, Math.floor((side * short) / least)));
  return cut(resized(coloured, rows, columns), size);
}

/** Return pixels as the network gets them: float32 (C, S, S), (pixels / 255 - mean) / std. */
export function engine_input(pixels, { channels, size, mean, std }) {
  const input = new Float32Array(channels * size * size);
  for (let i = 0; i < input.length; i++) {
    const channel = Math.floor(i / (size * size));
    input[i] = (pixels[(i % (size * size)) * channels + channel] / 255 - mean[channel]) / std[channel];
  }
  return shaped(input, [channels, size, size]);
}

/** Return the pixels uint8 (H, W, 3) of the bytes of a picture file. */
export async function decoded_pixels(file) {
  const picture = await createImageBitmap(new Blob([file]));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // transparent pictures are laid on white
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint8Array((data.length / 4) * 3).map((_, i) => data[Math.floor(i / 3) * 4 + (i % 3)]);
  return shaped(pixels, [canvas.height, canvas.width, 3]);
}

/** Return pixels in grey (1) or colour (3); grey is the luma of ITU-R 601-2, rounded as Pillow does. */
function in_channels(pixels, channels) {
  const [height, width, had] = pixels.shape;
  if (had === channels) return pixels;
  const other = new Uint8Array(height * width * channels).map((_, i) => {
    if (channels === 3) return pixels[Math.floor(i / 3)];
    return (pixels[3 * i] * 19595 + pixels[3 * i + 1] * 38470 + pixels[3 * i + 2] * 7471 + 0x8000) >> 16;
  });
  return shaped(other, [height, width, channels]);
}

/** Return pixels with other sides: bilinear, antialiased when shrinking, first along rows and then along columns. */
function resized(pixels, rows, columns) {
  const [height, width, channels] = pixels.shape;
  const wide = along(pixels, height, width * channels, channels, width, columns);
  const tall = along(wide, 1, height * columns * channels, columns * channels, height, rows);
  return shaped(tall, [rows, columns, channels]);
}

/** Resize along the axis whose neighbours are `step` apart, for `lines` lines of `length` numbers. */
function along(values, lines, length, step, side, wanted) {
  if (side === wanted) return values;
  const result = new Uint8Array((values.length / side) * wanted);
  const scale = side / wanted;
  const reach = Math.max(scale, 1);
  const new_length = (length / side) * wanted;
  for (let n = 0; n < wanted; n++) {
    const centre = (n + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(side, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, i) => Math.max(0, 1 - Math.abs(first + i + 0.5 - centre) / reach));
    const total = weights.reduce((a, b) => a + b, 0);
    for (let line = 0; line < lines; line++) {
      for (let k = 0; k < step; k++) {
        const sum = weights.reduce((all, w, i) => all + w * values[line * length + (first + i) * step + k], 0);
        result[line * new_length + n * step + k] = Math.round(Math.min(255, Math.max(0, sum / total)));
      }
    }
  }
  return result;
}

/** Round to the nearest integer, halves to the even one, as Python does. */
function half_even(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

function cut(pixels, size) {
  const [height, width, channels] = pixels.shape;
  const [top, left] = [half_even((height - size) / 2), half_even((width - size) / 2)];
  const middle = new Uint8Array(size * size * channels).map((_, i) => {
    const [y, x] = [Math.floor(i / (size * channels)), Math.floor(i / channels) % size];
    return pixels[((top + y) * width + left + x) * channels + (i % channels)];
  });
  return shaped(middle, [size, size, channels]);
}
