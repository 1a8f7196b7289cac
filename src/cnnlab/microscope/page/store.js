// The state of one page, its address, undo, and requests with a cache. Views get it as `store`; there is one per root.
//
// store.state     what everybody may read and nobody changes but by the functions below:
//   title, models, classes, images, input, explanations, words, can    the reply to `open`
//   view          {name, stage?, node?, channel?, at?: [y, x]}; name: overview, stage, layer, channel, number, unit,
//                 explanation or playground
//   scene         {model, epoch, image, changes: [{node, channel, factor}]}
//   other         the scene beside it, or null
//   pointer       {node, y, x} under the pointer on a map, or null (linked between two views)
//   offline, busy, error: {kind, message} or null, theme: "auto", "light" or "dark"
// store.set(patch)              change the state; subscribers hear of fields whose values are others than before
// store.subscribe(f)            f(state, changed: Set of names); returns a function that ends it
// store.follow(names, f)        f(state) now and when one of these fields changes; returns a function that ends it
// store.go(view)                zoom to another view (a new entry of the browser's history); store.up(): one level out
// store.has_moved               whether somebody went to another view since the page opened (a new view then takes the focus)
// store.came_from               the view before, or null: zooming out, the focus is on what one comes out of
// store.move(view)              to a neighbour, without a new entry (arrow keys)
// store.back()                  the view before
// store.address(view)           the link to a view of this scene, "#/layer/..."
// store.change_scene(patch, step)   change the scene; undo takes it back. Changes in a row with the same text `step` (a
//                               slider that moves) are one step of undo
// store.undo(), store.redo(), store.can_undo, store.can_redo
// store.ask(body)               Promise of the reply; cached by key. `lane` in the body: newer ones of a lane replace older.
//                               Rejects with an AskError (.kind, .message); "cancelled": a newer one took its place
// store.offers(body)            whether a request can be answered here: a saved page holds some replies only
// store.cancel(lane)            give up the newest request of a lane; its promise rejects with "cancelled"
// store.slowest()               how long the oldest request that is being answered has run, in milliseconds; 0 for none. One
//                               of a lane in `own` is left out: its view says itself that it runs
// store.stop()                  give up all requests; their promises reject with "stopped"
// store.fail(error, of)         show an error as a bar ("cancelled" is silent); store.settle(of) takes the bar away, where
//                               `of` is named only if it is an error of that
// loader(store) -> load(body, f, clear)    f(reply) unless a newer load of the same loader began; errors become the bar, and
//                               clear() takes away what was shown before
// beside(store)                 the store of the second scene: its `state.scene` is `state.other`
// graph_of(store)               {nodes, by_id, consumers: id -> [ids], stages} of the scene's model
// node_of(store, id)            a node of it, also "input"

import { AskError, request_key } from "./transport.js";
import { with_whole_sheet } from "./guessed_sheets.js";
import { address_text, parsed_address, up_from } from "./address.js";

const MOST_BYTES = 128 * 2 ** 20;
const ADDRESS_PAUSE = 350; // milliseconds between two addresses that are written

/** Return the store of a page that asks through a transport. */
export function make_store(transport) {
  const listeners = new Set();
  const cache = reply_cache();
  const running = new Map();
  const undone = [];
  const done = [];
  let last_step = null;
  let ticket = 0;
  const views = []; // the views before, where the browser's history is not ours

  const store = {
    state: {
      title: "", models: [], classes: [], images: [], input: {}, explanations: [], words: {}, can: {},
      view: { name: "overview" }, scene: { model: 0, epoch: null, image: null, changes: [] }, other: null, pointer: null,
      offline: false, busy: 0, error: null, theme: "auto",
    },
    transport,
    has_moved: false,
    came_from: null,
    set(patch) {
      const changed = new Set(Object.keys(patch).filter((name) => patch[name] !== store.state[name]));
      if (!changed.size) return;
      store.state = { ...store.state, ...patch };
      for (const listener of [...listeners]) if (listeners.has(listener)) listener(store.state, changed);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    follow(names, f) {
      f(store.state);
      return store.subscribe((state, changed) => names.some((name) => changed.has(name)) && f(state));
    },
    address: (view) => address_text(view, store.state.scene, store.state.other),
    go(view) {
      if (JSON.stringify(view) === JSON.stringify(store.state.view)) return;
      views.push(store.state.view);
      store.has_moved = true;
      store.came_from = store.state.view;
      if (transport.address === "hash") history.pushState({ microscope: true }, "", store.address(view));
      store.set({ view, error: null, pointer: null });
    },
    move(view) {
      store.set({ view, error: null, pointer: null });
    },
    up() {
      const view = up_from(store.state.view, (id) => node_of(store, id));
      if (view) store.go(view);
    },
    back() {
      if (transport.address === "hash") history.back();
      else if (views.length) store.set({ view: views.pop(), error: null, pointer: null });
    },
    change_scene(patch, step = null) {
      const before = store.state.scene;
      const scene = { ...before, ...patch };
      if (JSON.stringify(scene) === JSON.stringify(before)) return;
      if (step === null || step !== last_step) done.push(before);
      last_step = step;
      undone.length = 0;
      store.set({ scene });
    },
    undo: () => take_back(done, undone),
    redo: () => take_back(undone, done),
    get can_undo() {
      return done.length > 0;
    },
    get can_redo() {
      return undone.length > 0;
    },
    fail(error, of = null) {
      if (error && error.kind === "cancelled") return;
      if (!(error instanceof AskError)) console.error(error);
      store.set({ error: { kind: error.kind || "failed", message: error.message || String(error), of } });
    },
    settle(of = null) {
      if (store.state.error && (of === null || store.state.error.of === of)) store.set({ error: null });
    },
    ask,
    offers: (body) => !transport.offers || transport.offers(body),
    cancel(lane) {
      if (newest.has(lane)) give_up(newest.get(lane));
    },
    slowest(own) {
      const begun = [...asked.values()].filter(({ lane }) => !own.includes(lane)).map(({ since }) => since);
      return begun.length ? performance.now() - Math.min(...begun) : 0;
    },
    stop() {
      for (const [one, request] of asked) {
        request.stopped = true;
        give_up(one);
      }
    },
  };

  const asked = new Map(); // ticket -> {lane, since, stopped} of requests that are being answered

  function give_up(one) {
    transport.ask({ do: "cancel", ticket: one }).catch(() => {});
  }

  function take_back(from, to) {
    if (!from.length) return;
    to.push(store.state.scene);
    last_step = null;
    store.set({ scene: from.pop() });
  }

  function ask(body) {
    const key = request_key(body);
    const kept = key && cache.get(key);
    if (kept) return Promise.resolve(kept);
    const place = key && `${body.lane || ""}|${key}`;
    if (place && running.has(place)) return running.get(place);
    store.set({ busy: store.state.busy + 1 });
    const base = body.do === "layer" ? base_of(body) : null;
    const answer = until_answered({ ...body, ...(base && { base: base.node }), ticket: ++ticket })
      .then((reply) => with_whole_sheet(reply, () => base.reply))
      .finally(() => {
        running.delete(place);
        store.set({ busy: store.state.busy - 1 });
      });
    if (place) running.set(place, answer);
    return answer.then((reply) => {
      if (key) cache.put(key, reply);
      return reply;
    });
  }

  /** Return a layer before, {node, reply}, whose sheet is here and from which the asked one may follow; else null. */
  function base_of(body) {
    const { by_id } = indexed_of(store.state.models[body.scene.model], store.state.input);
    const node = by_id.get(body.node);
    for (const feed of node ? node.feeds : []) {
      const reply = cache.get(request_key({ ...body, node: feed }));
      if (reply && String(reply.shape) === String(node.shape)) return { node: feed, reply };
    }
    return null;
  }

  const newest = new Map(); // lane -> ticket

  async function until_answered(request) {
    if (request.lane) newest.set(request.lane, request.ticket);
    const mine = { lane: request.lane, since: performance.now(), stopped: false };
    asked.set(request.ticket, mine);
    try {
      return await answered(request);
    } catch (error) {
      if (mine.stopped && error.kind === "cancelled") throw new AskError("stopped", "The computation was stopped before it was done.");
      throw error;
    } finally {
      asked.delete(request.ticket);
    }
  }

  async function answered(request) {
    for (let wait = 500; ; wait = Math.min(1.5 * wait, 4000)) {
      try {
        const reply = await transport.ask(request);
        store.set({ offline: false });
        return reply;
      } catch (error) {
        store.set({ offline: error.kind === "offline" }); // every other error is an answer
        if (error.kind !== "offline" && error.kind !== "busy") throw error;
        await new Promise((resolve) => setTimeout(resolve, wait));
        if (request.lane && newest.get(request.lane) !== request.ticket) {
          throw new AskError("cancelled", "A newer request took its place.");
        }
      }
    }
  }

  follow_address(store);
  return store;
}

/** Keep the browser's address and the state in step. */
function follow_address(store) {
  if (store.transport.address !== "hash") return;
  addEventListener("popstate", (event) => {
    const parsed = parsed_address(location.hash, store.state);
    const ours = event.state && event.state.microscope;
    // Back and forward move between views of the present scene; an address that somebody typed brings its own.
    store.set(ours ? { view: parsed.view, error: null, pointer: null } : { ...parsed, error: null, pointer: null });
  });
  // Browsers refuse many addresses in a row (Safari more than 100 in 30 s), as of a slider that moves.
  const write = throttled(() => {
    const address = store.address(store.state.view);
    if (location.hash !== address) history.replaceState({ microscope: true }, "", address);
  }, ADDRESS_PAUSE);
  store.subscribe((state, changed) => {
    if (state.models.length && ["scene", "other", "view"].some((name) => changed.has(name))) write();
  });
}

/** Return a function that calls `f` at once, and again after `pause` milliseconds where it was called meanwhile. */
function throttled(f, pause) {
  let timer = null;
  let again = false;
  const call = () => {
    timer = setTimeout(() => {
      timer = null;
      if (again) call();
    }, pause);
    again = false;
    f();
  };
  return () => {
    if (timer === null) call();
    else again = true;
  };
}

/** Return a cache of replies, of bounded size, which forgets what was not used for longest. */
function reply_cache() {
  const kept = new Map();
  let size = 0;
  return {
    get(key) {
      const entry = kept.get(key);
      if (!entry) return null;
      kept.delete(key);
      kept.set(key, entry);
      return entry.reply;
    },
    put(key, reply) {
      const bytes = byte_count(reply);
      kept.set(key, { reply, bytes });
      size += bytes;
      for (const [old, entry] of kept) {
        if (size <= MOST_BYTES || kept.size === 1) break;
        kept.delete(old);
        size -= entry.bytes;
      }
    },
  };
}

function byte_count(value) {
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (value === null || typeof value !== "object") return 16;
  return Object.values(value).reduce((sum, inner) => sum + byte_count(inner), 64);
}

/**
 * Return `load(body, f, clear)`: calls f(reply) unless a newer load of this loader began. Its errors become the bar, and
 * clear() is called, as what is shown belongs to another scene. `ask` is another way to get a reply than `store.ask`.
 */
export function loader(store, ask = (body) => store.ask(body)) {
  let newest = 0;
  const load = (body, f, clear = () => {}) => {
    const mine = ++newest;
    return ask(body).then(
      (reply) => {
        if (mine !== newest) return;
        store.settle(load);
        f(reply);
      },
      (error) => {
        if (mine !== newest || error.kind === "cancelled") return;
        clear();
        store.fail(error, load);
      },
    );
  };
  load.stop = () => newest++;
  return load;
}

/** Return the store of the second scene: everything is shared but the scene, and its requests have lanes of their own. */
export function beside(store) {
  const view_of = (state) => ({ ...state, scene: state.other || state.scene });
  return Object.create(store, {
    state: { get: () => view_of(store.state) },
    is_beside: { value: true },
    address: { value: (view) => store.address(view) },
    ask: { value: (body) => store.ask(body.lane ? { ...body, lane: `${body.lane}:other` } : body) },
    change_scene: { value: (patch) => store.set({ other: { ...view_of(store.state).scene, ...patch } }) },
    subscribe: {
      value: (f) =>
        store.subscribe((state, changed) => {
          const names = new Set(changed);
          names.delete("scene");
          if (names.has("other")) names.add("scene");
          if (names.size) f(view_of(state), names);
        }),
    },
    follow: {
      value(names, f) {
        f(this.state);
        return this.subscribe((state, changed) => names.some((name) => changed.has(name)) && f(state));
      },
    },
  });
}

const indexed = new WeakMap();

/** Return the graph of the scene's model, indexed. */
export function graph_of(store) {
  return indexed_of(store.state.models[store.state.scene.model] || store.state.models[0], store.state.input);
}

function indexed_of(model, input) {
  if (!indexed.has(model)) indexed.set(model, indexed_graph(model.graph, input));
  return indexed.get(model);
}

function indexed_graph(graph, input) {
  const nodes = [...graph.nodes];
  if (!nodes.some((node) => node.id === graph.input)) {
    nodes.unshift({ id: graph.input, kind: "input", label: "image", text: "The image as the network gets it.", feeds: [],
      module: "", type: "", stage: null, shape: input.shape, parameters: 0 });
  }
  const by_id = new Map(nodes.map((node) => [node.id, node]));
  const consumers = new Map(nodes.map((node) => [node.id, []]));
  for (const node of nodes) for (const id of node.feeds) if (consumers.has(id)) consumers.get(id).push(node.id);
  return { ...graph, nodes, by_id, consumers };
}

/** Return a node of the scene's model; undefined where there is none. */
export function node_of(store, id) {
  return graph_of(store).by_id.get(id);
}
