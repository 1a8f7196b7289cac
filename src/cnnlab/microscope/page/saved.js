// The transport of a saved page: replies that lie in the page itself, by the keys of their requests.
import { AskError, checked_reply, decode_frame, request_key } from "./transport.js";

/** Return the data of a saved page from the text of its script element: deflated, and in base64. */
export async function saved_data(text) {
  const packed = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return decode_frame(new Uint8Array(await new Response(stream).arrayBuffer()));
}

/** Return the transport over the data of a saved page: `{ keys: { key: [start, end] }, replies: uint8 }`. */
export function saved_transport(data) {
  return {
    address: "hash",
    saved: true,
    async ask(body) {
      const key = request_key(body);
      const place = key === null ? undefined : data.keys[key];
      if (!place) throw new AskError("not_saved", saved_refusal(body));
      return checked_reply(decode_frame(data.replies.slice(place[0], place[1])));
    },
  };
}

function saved_refusal(body) {
  const what = { add_image: "Another photo", explanation: "This explanation" }[body.do] || "This view";
  return `${what} is not in the saved file. Open it with cnnlab look to see it.`;
}
