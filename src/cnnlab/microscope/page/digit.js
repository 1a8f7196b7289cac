// A drawn digit as MNIST has it: in a box of 20 pixels, its centre of mass in the middle of 28.

import { resampled } from "./sliding.js";
import { shaped } from "./transport.js";

const BOX = 20 / 28; // the longer side of a digit, as a share of the image

/**
 * Centre a drawing, pixels uint8 (H, W, 1) of which 0 is empty, as the authors of MNIST did: the box around the digit is
 * scaled to 20 of 28 pixels with its proportions, and its centre of mass comes to the middle. Returns pixels uint8
 * (size, size, 1). Y. LeCun, C. Cortes, C. Burges: The MNIST database of handwritten digits, 1998.
 */
export function centred_digit(pixels, size) {
  const result = shaped(new Uint8Array(size * size), [size, size, 1]);
  const box = ink_box(pixels);
  if (!box) return result;
  const [top, left, bottom, right] = box;
  const [height, width] = [bottom - top, right - left];
  const data = new Float64Array(height * width);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) data[y * width + x] = pixels[(top + y) * pixels.shape[1] + left + x];
  const longer = Math.max(1, Math.round(size * BOX));
  const scale = longer / Math.max(height, width);
  const digit = resampled({ height, width, data }, Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale)));
  const [mass_y, mass_x] = centre_of_mass(digit);
  const [down, right_by] = [Math.round((size - 1) / 2 - mass_y), Math.round((size - 1) / 2 - mass_x)];
  for (let y = 0; y < digit.height; y++)
    for (let x = 0; x < digit.width; x++) {
      const [row, column] = [y + down, x + right_by];
      if (row < 0 || column < 0 || row >= size || column >= size) continue;
      result[row * size + column] = Math.round(digit.data[y * digit.width + x]);
    }
  return result;
}

/** The box of what is drawn: top, left, bottom, right, the ends excluded; null where nothing is. */
function ink_box(pixels) {
  const [height, width] = pixels.shape;
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (pixels[y * width + x] > 0) {
        [top, left] = [Math.min(top, y), Math.min(left, x)];
        [bottom, right] = [Math.max(bottom, y + 1), Math.max(right, x + 1)];
      }
  return bottom ? [top, left, bottom, right] : null;
}

function centre_of_mass({ height, width, data }) {
  let [mass, down, across] = [0, 0, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const value = data[y * width + x];
      mass += value;
      down += y * value;
      across += x * value;
    }
  return mass ? [down / mass, across / mass] : [(height - 1) / 2, (width - 1) / 2];
}
