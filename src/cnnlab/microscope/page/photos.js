// Images of one's own: files, drag and drop, the clipboard, the camera, and what was drawn or painted.

import { button, el, fill } from "./dom.js";
import { AskError, shaped } from "./transport.js";
import { canvas_pixels } from "./board.js";

const LARGEST_FILE = 24 * 2 ** 20; // bytes; larger ones are made smaller here
const LONGEST_SIDE = 2048; // pixels of a file that is made smaller
const CAMERA_SIDE = 320; // pixels of the longer side of a camera's picture
const LIVE_PAUSE = 250; // milliseconds between two pictures of a camera that is followed
const PACE = 120; // milliseconds between two images of a brush that moves
const AGAIN = 20; // after so many painted images the one below is sent again: the server keeps the newest

const origins = new Map(); // id of a painted image -> id of the image below
const uploads = new Map(); // id of a file -> its request, to be sent again

/** The image that an image was painted over; the image itself where it was not painted. */
export function origin_of(image) {
  return origins.get(image) || image;
}

/** Add a file as an image and look at it. */
export async function add_file(store, file) {
  try {
    if (!file.size) throw new AskError("bad_request", `${file.name} is an empty file. Choose a JPEG or PNG file.`);
    const request = { do: "add_image", name: file.name || "pasted picture" };
    if (file.size > LARGEST_FILE) request.pixels = await smaller_pixels(file);
    else {
      const bytes = new Uint8Array(await file.arrayBuffer());
      request.file = shaped(bytes, [bytes.length]);
    }
    const { image } = await store.ask(request).catch(async (error) => {
      if (error.kind !== "too_large" || request.pixels) throw error;
      delete request.file; // few bytes, but many pixels
      request.pixels = await smaller_pixels(file);
      return store.ask(request);
    });
    uploads.set(image.id, request);
    if (uploads.size > 8) uploads.delete(uploads.keys().next().value);
    look_at(store, image, null);
    store.settle(add_file);
  } catch (error) {
    store.fail(error, add_file);
  }
}

async function smaller_pixels(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch (error) {
    throw new AskError("bad_request", `${file.name} cannot be read as a picture. Choose a JPEG or PNG file.`);
  }
  return drawn_pixels(picture, picture.width, picture.height, LONGEST_SIDE);
}

/** The pixels (H, W, 3) of a picture or video, made smaller where its longer side is above `longest`. */
function drawn_pixels(source, width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const pen = el("canvas", { width: w, height: h }).getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#ffffff"; // transparent pictures are laid on white, as by cnnlab.data.decoding
  pen.fillRect(0, 0, w, h);
  pen.drawImage(source, 0, 0, w, h);
  return canvas_pixels(pen, w, h, 3);
}

function look_at(store, image, step) {
  const others = store.state.images.filter((one) => one.id !== image.id && !(image.origin && one.origin === image.origin));
  store.set({ images: [...others, image] });
  store.change_scene({ image: image.id }, step);
}

/**
 * Return `send(pixels)` for images that are drawn: sent while one draws, the newest wins, and undo takes all of them back
 * at once. origin: the id of the image below, or a word ("drawing", "camera"); over_image: whether there is one below;
 * cropped: whether the pixels are all that the network takes, so that nothing of them is cut off;
 * wait: milliseconds between two that are sent; onsent(id) is called before the scene changes.
 */
export function drawn_sender(store, { origin, name, over_image = false, cropped = false, wait = PACE, onsent = null }) {
  const step = `drawn ${++senders}`;
  let newest = 0;
  const send = async (pixels) => {
    const mine = ++newest;
    const below = uploads.get(origin);
    try {
      if (below && mine % AGAIN === 0) await store.ask(below);
      const { image } = await store.ask({ do: "add_image", name, pixels, cropped, lane: "drawn" });
      if (mine !== newest) return;
      if (over_image) origins.set(image.id, origin);
      if (onsent) onsent(image.id);
      look_at(store, { ...image, origin }, step);
      store.settle(send);
    } catch (error) {
      store.fail(error, send);
    }
  };
  return wait ? paced(send, wait) : send;
}
let senders = 0;

/** Return a function that calls `f` with the newest values, at most once in `wait` milliseconds. */
function paced(f, wait) {
  let timer = null;
  let newest = null;
  return (...values) => {
    newest = values;
    timer ??= setTimeout(() => {
      timer = null;
      f(...newest);
    }, wait);
  };
}

/** Take pictures that are dropped on the page or pasted; returns the end. */
export function accept_photos(root, store) {
  const page = root.closest(".microscope") || root;
  const target = store.transport.address === "hash" ? document : page;
  const veil = el("div", { class: "drop-here", hidden: true }, "Drop the picture: the network looks at it.");
  page.append(veil);
  const has_files = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const on = {
    dragover(event) {
      if (!has_files(event)) return;
      event.preventDefault();
      veil.hidden = false;
    },
    dragleave(event) {
      if (!event.relatedTarget) veil.hidden = true;
    },
    drop(event) {
      veil.hidden = true;
      if (!has_files(event)) return;
      event.preventDefault();
      take(event.dataTransfer.files);
    },
    paste(event) {
      const files = event.clipboardData ? [...event.clipboardData.files] : [];
      if (!files.length) return;
      event.preventDefault();
      take(files);
    },
  };
  const take = (files) => {
    const picture = [...files].find((file) => file.type.startsWith("image/")) || files[0];
    if (picture) add_file(store, picture);
  };
  for (const [name, f] of Object.entries(on)) target.addEventListener(name, f);
  return () => {
    veil.remove();
    for (const [name, f] of Object.entries(on)) target.removeEventListener(name, f);
  };
}

/** What a refused camera means, and what to do. */
export function camera_words(error) {
  const reasons = {
    NotAllowedError: "The camera was refused. Allow it beside the address (the small camera or lock), then try again.",
    NotFoundError: "There is no camera. Take a photo by file, by drag and drop, or from the clipboard.",
    NotReadableError: "Another program has the camera. Close it there, then try again.",
    OverconstrainedError: "The camera has no such picture. Take a photo by file.",
    SecurityError: "This page may not use the camera. Take a photo by file, or open the page with `cnnlab look`.",
  };
  return reasons[error.name] || `The camera does not work here (${error.message || error}). Take a photo by file.`;
}

/** Show the camera in `root`: a picture is taken, or followed live; returns its end. */
export function show_camera(root, store) {
  const video = el("video", { autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
  video.muted = true;
  const words = el("p", { class: "quiet", role: "status" }, "Asking for the camera…");
  const send = drawn_sender(store, { origin: "camera", name: "camera", wait: 0 });
  const taken = () => send(drawn_pixels(video, video.videoWidth, video.videoHeight, CAMERA_SIDE));
  const live = el("input", { type: "checkbox", onchange: () => follow() });
  const take = button("Take the picture", taken, { class: "main" });
  const tools = el("div", { class: "toolbar", hidden: true }, take, el("label", null, live, " follow live"));
  let stream = null;
  let gone = false;
  const follow = async () => {
    while (live.checked && !gone) {
      await taken();
      await new Promise((resolve) => setTimeout(resolve, LIVE_PAUSE));
    }
  };
  const open = async () => {
    try {
      if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia)
        throw new DOMException("browsers allow it on https and localhost only", "InsecureError");
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (gone) return end();
      video.srcObject = stream;
      await video.play();
      fill(words, "");
      tools.hidden = false;
    } catch (error) {
      if (gone) return undefined;
      video.hidden = true;
      fill(words, camera_words(error), " ", button("Try again", () => {
        video.hidden = false;
        open();
      }));
    }
    return undefined;
  };
  const end = () => {
    gone = true;
    if (stream) for (const track of stream.getTracks()) track.stop();
    fill(root);
  };
  fill(root, el("div", { class: "camera" }, video, words, tools));
  open();
  return end;
}
