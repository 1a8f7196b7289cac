// The transport of a saved page: replies that lie in the page itself, or that it computes from the weights in it.
import { AskError, checked_reply, decode_frame, request_key, shaped } from "./transport.js";
import { decoded_pixels, engine_input } from "./engine_images.js";
import { engine_replies } from "./engine_replies.js";
import { with_whole_sheet } from "./guessed_sheets.js";

/** Return the data of a saved page from the text of its script element: deflated, and in base64. */
export async function saved_data(text) {
  const packed = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return decode_frame(new Uint8Array(await new Response(stream).arrayBuffer()));
}

/**
 * Return the transport over the data of a saved page: `keys` (key -> [start, end]) of frames in `replies`, `programs`
 * with which the page computes the rest, or null, `pictures` by the ids of their images, and `input`: what networks take.
 */
export function saved_transport(data) {
  const { keys, pictures } = data;
  const stored = (key) => with_whole_sheet(decode_frame(data.replies.slice(...keys[key])), stored);
  const exact = (id) => Object.hasOwn(pictures, id) && pictures[id].pixels !== undefined;
  const image = (id) => ({ pixels: pictures[id].pixels, input: pictures[id].input || engine_input(pictures[id].pixels, data.input) });
  const opened = stored('{"do":"open"}');
  const { programs } = data;
  const engine = programs ? engine_replies({ programs, image: (id) => (exact(id) ? image(id) : null), opened }) : null;
  const stands_alone = new Set(opened.images.map(({ id }) => id)); // images for which there are replies

  /** Return the key under which the reply to a request lies in the file; null where there is none. */
  function place_of(body) {
    let key = request_key(body);
    if (body.do === "explanation") {
      // Maps are stored with their scores, for the network's own answer.
      key = request_key({ ...body, target: null, scores: true });
      if (Object.hasOwn(keys, key) && body.target !== null && body.target !== stored(key).target) return null;
    }
    return key !== null && Object.hasOwn(keys, key) ? key : null;
  }

  const shows_image = (id) => (engine ? engine.knows(id) : stands_alone.has(id));

  return {
    address: "hash",
    saved: !engine, // only what was recorded: no changes, no epochs
    /** Whether a request can be answered. */
    offers(body) {
      if (place_of(body) !== null) return true;
      if (body.do === "image") return shows_image(body.image);
      return engine !== null && engine.offers(body);
    },
    async ask(body) {
      const key = place_of(body);
      if (key !== null) return unpacked(checked_reply(stored(key)), pictures, shows_image);
      if (body.do === "image" && !engine && exact(body.image)) return image(body.image);
      if (engine && Object.hasOwn(engine.replies, body.do)) return engine.replies[body.do](body);
      throw new AskError("not_saved", `${saved_refusal(body)} \`${opened.saved.command}\` shows it.`);
    },
  };
}

function saved_refusal(body) {
  const what = { add_image: "Another photo", explanation: "This explanation", channel: "This channel", number: "This number" };
  return `${what[body.do] || "This view"} is not in the saved file.`;
}

/** Return a reply with maps as numbers, and with its pictures. */
async function unpacked(reply, pictures, shows_image) {
  if (reply.map && reply.map.levels) {
    const { levels, low, high } = reply.map;
    const numbers = Float32Array.from(levels, (level) => low + (level / 255) * (high - low));
    return { ...reply, map: shaped(numbers, levels.shape) };
  }
  if (reply.picture) return { ...reply, picture: await picture_pixels(reply.picture) };
  if (reply.ids && reply.boxes) {
    const all = await Promise.all(reply.ids.map((id) => picture_pixels(pictures[`${id}:small`] || pictures[id])));
    return { ...reply, pictures: stacked(all), ids: reply.ids.map((id) => (shows_image(id) ? id : null)) };
  }
  return reply;
}

async function picture_pixels({ pixels, file }) {
  return pixels || decoded_pixels(file);
}

/** Return pictures of one size as one array (k, H, W, C). */
function stacked(pictures) {
  const size = pictures[0].length;
  const all = new Uint8Array(pictures.length * size);
  pictures.forEach((pixels, i) => all.set(pixels, i * size));
  return shaped(all, [pictures.length, ...pictures[0].shape]);
}
