// Frames of the protocol, and the ways to the Python side: HTTP and a notebook widget (saved.js has that of a file).
//
// A transport has `ask(body) -> Promise of the reply` (arrays anywhere in both are typed arrays with `.shape`). It throws
// an `AskError` with the protocol's kind, or with the kind "offline" where nobody answers. `cancels`: whether a request that
// is being computed can be given up.

/** An error that the Python side or the way to it reports. */
export class AskError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const ARRAY_TYPES = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array, float16: Uint16Array };

/** Return the array `values` with a shape, as frames carry it. */
export function shaped(values, shape) {
  values.shape = shape;
  return values;
}

function padding_to_8(length) {
  return (8 - (length % 8)) % 8;
}

/** Return a message as the bytes of a frame. */
export function encode_frame(body) {
  const arrays = [];
  const place = (value) => {
    if (ArrayBuffer.isView(value)) {
      const dtype = value instanceof Int32Array ? "int32" : value instanceof Float32Array ? "float32" : "uint8";
      arrays.push({ dtype, shape: value.shape || [value.length], bytes: new Uint8Array(value.buffer, value.byteOffset, value.byteLength) });
      return { $array: arrays.length - 1 };
    }
    if (Array.isArray(value)) return value.map(place);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, place(inner)]));
    }
    return value;
  };
  const content = place(body);
  let size = 0;
  const rows = arrays.map(({ dtype, shape, bytes }) => {
    const row = { dtype, shape, offset: size };
    size += bytes.length + padding_to_8(bytes.length);
    return row;
  });
  const text = new TextEncoder().encode(JSON.stringify({ body: content, arrays: rows }));
  const length = text.length + padding_to_8(8 + text.length);
  const frame = new Uint8Array(8 + length + size);
  frame.set([67, 78, 76, 49]); // CNL1
  new DataView(frame.buffer).setUint32(4, length, true);
  frame.fill(32, 8, 8 + length);
  frame.set(text, 8);
  arrays.forEach(({ bytes }, i) => frame.set(bytes, 8 + length + rows[i].offset));
  return frame;
}

/** Return the message of a frame. */
export function decode_frame(bytes) {
  if (bytes.length < 8 || bytes[0] !== 67 || bytes[1] !== 78 || bytes[2] !== 76 || bytes[3] !== 49) {
    throw new AskError("failed", "The answer is no frame of this page's protocol. Is another program on this port?");
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const arrays = header.arrays.map(({ dtype, shape, offset }) => {
    const count = shape.reduce((product, side) => product * side, 1);
    const type = ARRAY_TYPES[dtype];
    const first = bytes.byteOffset + 8 + length + offset;
    const aligned = first % type.BYTES_PER_ELEMENT === 0;
    const buffer = aligned ? bytes.buffer : bytes.buffer.slice(first, first + count * type.BYTES_PER_ELEMENT);
    const values = new type(buffer, aligned ? first : 0, count);
    return shaped(dtype === "float16" ? from_float16(values) : values, shape);
  });
  const place = (value) => {
    if (Array.isArray(value)) return value.map(place);
    if (value === null || typeof value !== "object") return value;
    if ("$array" in value) return arrays[value.$array];
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, place(inner)]));
  };
  return place(header.body);
}

function from_float16(halves) {
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
}

/** Return the key of a request: its canonical JSON without ticket, lane and base; null where it holds arrays. */
export function request_key(request) {
  let plain = true;
  const sorted = (value) => {
    if (ArrayBuffer.isView(value)) plain = false;
    if (Array.isArray(value)) return value.map(sorted);
    if (!plain || value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
  };
  const { ticket, lane, base, ...rest } = request;
  const tidy = sorted(rest);
  return plain ? JSON.stringify(tidy) : null;
}

/** Return the body of a reply; throws the error that it reports. */
export function checked_reply(body) {
  if (body && body.error) throw new AskError(body.error.kind, body.error.message);
  return body;
}

/** Return the transport to the server at the address `base`, which takes the token of the printed address. */
export function http_transport(base, token) {
  const page = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("-");
  const headers = { "Content-Type": "application/octet-stream", "Cnnlab-Token": token || "", "Cnnlab-Page": page };
  return {
    address: "hash",
    cancels: true,
    async ask(body) {
      let bytes;
      try {
        const response = await fetch(new URL("ask", base), { method: "POST", headers, body: encode_frame(body) });
        bytes = new Uint8Array(await response.arrayBuffer());
      } catch (error) {
        throw new AskError("offline", "The server does not answer. Was it stopped? Start `cnnlab look` again.");
      }
      return checked_reply(decode_frame(bytes));
    },
  };
}

/** Return the transport of a notebook widget: frames go as messages of its model. */
export function widget_transport(model) {
  const waiting = new Map();
  let next = 1;
  model.on("msg:custom", (message, buffers) => {
    const resolve = message && waiting.get(message.id);
    if (!resolve || !buffers || !buffers.length) return;
    waiting.delete(message.id);
    const view = buffers[0];
    resolve(new Uint8Array(view.buffer || view, view.byteOffset || 0, view.byteLength));
  });
  return {
    address: "memory",
    async ask(body) {
      // Several views of one widget share the model, so the id is random as well as counted.
      const id = `${next++}-${Math.random().toString(36).slice(2)}`;
      const answer = new Promise((resolve) => waiting.set(id, resolve));
      model.send({ id }, null, [encode_frame(body)]);
      return checked_reply(decode_frame(await answer));
    },
  };
}
