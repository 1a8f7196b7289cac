// Sheets that follow from the sheet of the layer before: they are sent and stored as the difference from a guess.
import { shaped } from "./transport.js";

/** Return a reply with its whole sheet; `whole(key)` returns the reply from which its sheet is guessed. */
export function with_whole_sheet(reply, whole) {
  if (!reply.base) return reply;
  const { base, guess, ...rest } = reply;
  const before = whole(base);
  const pixels = rest.sheet.length / guess.length;
  const sheet = shaped(new Uint8Array(rest.sheet.length), rest.sheet.shape);
  guess.forEach((kind, c) => {
    const table = guess_table(kind, before.low[c], before.high[c], rest.low[c], rest.high[c]);
    for (let i = c * pixels; i < (c + 1) * pixels; i++) sheet[i] = rest.sheet[i] + table[before.sheet[i]]; // modulo 256
  });
  return { ...rest, sheet };
}

/** Return what each of the 256 bytes of a channel is guessed to become, as guessed_sheets.py guesses it. */
function guess_table(kind, low, high, new_low, new_high) {
  const spread = new_high > new_low ? new_high - new_low : 1;
  return Uint8Array.from({ length: 256 }, (_, byte) => {
    if (kind === 0) return byte;
    if (kind === 1) return 255 - byte;
    const value = low + (byte / 255) * (high - low);
    return Math.floor(Math.min(Math.max((value - new_low) / spread, 0), 1) * 255 + 0.5);
  });
}
