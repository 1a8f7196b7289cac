// The transport of a saved page: replies that lie in the page itself, or that it computes from the weights in it.
import { AskError, checked_reply, decode_frame, request_key } from "./transport.js";
import { engine_replies } from "./engine_replies.js";

/** Return the data of a saved page from the text of its script element: deflated, and in base64. */
export async function saved_data(text) {
  const packed = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return decode_frame(new Uint8Array(await new Response(stream).arrayBuffer()));
}

/**
 * Return the transport over the data of a saved page: `keys` (key -> [start, end]) of frames in `replies`, and `engine`:
 * programs and images with which the page computes the rest, or null.
 */
export function saved_transport(data) {
  const stored = (key) => decode_frame(data.replies.slice(data.keys[key][0], data.keys[key][1]));
  const computed = data.engine ? engine_replies({ ...data.engine, opened: stored('{"do":"open"}') }) : {};
  return {
    address: "hash",
    saved: !data.engine, // only what was recorded: no changes, no epochs
    async ask(body) {
      const key = request_key(body);
      if (key !== null && Object.hasOwn(data.keys, key)) return checked_reply(stored(key));
      if (Object.hasOwn(computed, body.do)) return computed[body.do](body);
      throw new AskError("not_saved", saved_refusal(body));
    },
  };
}

function saved_refusal(body) {
  const what = { add_image: "Another photo", explanation: "This explanation" }[body.do] || "This view";
  return `${what} is not in the saved file. Open it with cnnlab look to see it.`;
}
