// The network as blocks with thumbnails of their outputs, from the image to the answer; stages fold and unfold.

import { bar_list, button, el, fill, number_text, shape_text, svg } from "./dom.js";
import { clear_canvas, paint_photo, put_picture, scale_for, sheet_picture } from "./colours.js";
import { graph_of, loader } from "./store.js";
import { all_groups, first_unfolded, group_tree, groups_around, visible_graph } from "./folding.js";
import { largest_scale, placed_graph } from "./graph_layout.js";
import { fit_margin, pan_zoom } from "./pan_zoom.js";

const NARROW = 640; // pixels of the window below which the network runs from top to bottom
const MOST_LONG = 4;
const ANSWER = "the answer";
const trees = new WeakMap();

/** Return the request for the thumbnails and the answer of a scene. */
export function overview_request(scene) {
  return { do: "overview", scene, lane: "overview" };
}

/** Show the network in `root`, or one of its stages; returns its end. */
export function show_overview(root, store) {
  const frames = el("div", { class: "frames" });
  const lines = svg("svg", { class: "edges", "aria-hidden": "true" });
  const blocks = el("div", { class: "blocks" });
  const content = el("div", { class: "content" }, frames, lines, blocks);
  const area = el("div", { class: "network", role: "group", "aria-label": "The network, from the image to the answer" }, content);
  const window_keys = { "+": () => zoom.zoom(1.25), "=": () => zoom.zoom(1.25), "-": () => zoom.zoom(0.8), 0: () => fit_all() };
  const bar = el("div", { class: "map-tools" });
  fill(root, bar, area);
  const zoom = pan_zoom(area, content);
  const load = loader(store);
  const load_photo = loader(store);
  let drawn = null; // {graph, tree, unfolded, layout, cells}
  let reply = null;
  let photo = null;

  const narrow = () => area.clientWidth < NARROW;

  function draw(focus) {
    const graph = graph_of(store);
    const tree = tree_of(graph);
    const unfolded = unfolded_of(store, graph, tree);
    const visible = visible_graph(graph, tree, unfolded);
    const down = narrow();
    const items = visible.items.map((item) => ({ ...item, ...block_size(item, graph, down) }));
    items.push({ id: ANSWER, nodes: [], ...(down ? { width: 300, height: 150 } : { width: 230, height: 150 }) });
    const edges = [...visible.edges, [items.find((item) => item.nodes.includes(graph.output)).id, ANSWER]];
    area.style.removeProperty("height");
    const room = { width: area.clientWidth || 900, height: area.clientHeight || 520 };
    const began = performance.now();
    const layout = placed_graph(items, edges, room, down);
    area.dataset.layoutTime = Math.round(performance.now() - began); // milliseconds
    const cells = new Map(items.map((item) => [item.id, item.id === ANSWER ? answer_block() : block_of(item)]));
    for (const [id, cell] of cells) set_box(cell.element, layout.boxes.get(id));
    fill(blocks, [...cells.values()].map((cell) => cell.element));
    drawn = { graph, tree, unfolded, layout, cells, items, edges, frames: visible.frames, down };
    draw_edges();
    draw_frames();
    area.classList.toggle("down", down);
    if (down) { // as high as the whole network is where it has the width of the window
      const [width, margin] = [area.clientWidth, fit_margin(area.clientWidth)];
      const scale = Math.min(largest_scale({ width }), (width - 2 * margin) / (layout.width + 12));
      area.style.height = `${Math.ceil((layout.height + 28) * scale + 2 * margin) + 2}px`;
    } else {
      const scale = Math.min(largest_scale({ width: room.width }), (room.width - 48) / (layout.width + 12));
      area.style.height = `${Math.max(352, Math.ceil((layout.height + 28) * scale) + 72)}px`; // at most as high as the style sheet allows
    }
    paint();
    const before = store.came_from && items.find((item) => item.nodes.includes(store.came_from.node));
    set_focus(cells.has(focus) ? focus : (before || items[0]).id, focus !== undefined);
  }

  function block_of(item) {
    const canvas = el("canvas", { width: 32, height: 32, "aria-hidden": "true" });
    const is_group = Boolean(item.group);
    const node = is_group ? drawn_node(item.last) : item.node;
    const label = is_group ? item.group.title : node.label;
    const shape = node ? shape_text(node.shape) : "";
    const element = el(
      "button",
      {
        type: "button", class: `block ${is_group ? "group" : `kind-${node.kind}`}`, "data-id": item.id, tabindex: -1,
        "aria-description": is_group ? `outputs ${shape}; Enter unfolds it` : "outputs; Enter shows its channels",
        title: is_group ? `${label}: ${item.nodes.length} operations. Click to unfold.` : `${node.id}\n${node.text || ""}`,
        onclick: () => enter(item),
      },
      canvas,
      el("span", { class: "label" }, label),
      el("span", { class: "shape" }, is_group ? [`${item.nodes.length} operations `, el("span", { "aria-hidden": "true" }, "⊞")] : shape),
    );
    return { element, canvas, last: item.last, item };
  }

  function drawn_node(id) {
    return graph_of(store).by_id.get(id);
  }

  function answer_block() {
    return { element: el("div", { class: "block answer", "data-id": ANSWER, tabindex: -1, role: "group", "aria-label": "The answer" }) };
  }

  function enter(item) {
    if (item.group) return unfold(item.group);
    store.go({ name: "layer", node: item.id });
  }

  function unfold(group) {
    set_unfolded(store, drawn.graph, new Set([...drawn.unfolded, group.id]));
    const first = group.children[0];
    draw(first.id);
    zoom_to(group);
  }

  function fold(group) {
    const inner = new Set([group.id, ...all_groups(group.children)]);
    set_unfolded(store, drawn.graph, new Set([...drawn.unfolded].filter((id) => !inner.has(id))));
    draw(group.id);
    fit_all();
  }

  function draw_edges() {
    const { layout } = drawn;
    lines.setAttribute("width", layout.width);
    lines.setAttribute("height", layout.height);
    const defs = svg("defs", null, svg("marker", { id: "arrow-head", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 6, markerHeight: 6, orient: "auto-start-reverse" }, svg("path", { d: "M0 0L6 3L0 6z", class: "head" })));
    fill(lines, defs, layout.edges.map((edge) =>
      svg("path", { d: edge.path, class: edge.skips ? "edge skip" : "edge", "marker-end": "url(#arrow-head)", "data-from": edge.from, "data-to": edge.to })));
  }

  function draw_frames() {
    const pieces = [];
    for (const { group, depth, items } of [...drawn.frames].sort((a, b) => a.depth - b.depth)) {
      const rows = boxes_in_rows(items.map((id) => drawn.layout.boxes.get(id)));
      rows.forEach((box, i) => {
        const here = store.state.view.name === "stage" && group.stage === store.state.view.stage && depth === 0;
        const frame = el("div", { class: `frame depth-${Math.min(depth, 2)}${here ? " here" : ""}` });
        set_box(frame, grown(box, 11 - 3 * Math.min(depth, 2)));
        if (i === 0) {
          frame.append(button(`⊟ ${group.title}`, () => fold(group), { class: "plain fold", title: `Fold ${group.title}`, "data-frame": group.id }));
        }
        pieces.push(frame);
      });
    }
    fill(frames, pieces);
  }

  function zoom_to(group) {
    const boxes = drawn.items.filter((item) => item.nodes.length && item.nodes.every((id) => group.nodes.includes(id))).map((item) => drawn.layout.boxes.get(item.id));
    if (!boxes.length || drawn.down || drawn.layout.width * 0.6 < area.clientWidth) fit_all();
    else zoom.fit(grown(around(boxes), 30), 1.2);
  }

  function fit_all() {
    zoom.fit({ x: -6, y: -14, width: drawn.layout.width + 12, height: drawn.layout.height + 28 }, largest_scale({ width: area.clientWidth }));
  }

  function paint() {
    if (!drawn) return;
    for (const cell of drawn.cells.values()) paint_block(cell);
  }

  function paint_block(cell) {
    if (!cell.canvas) return fill(cell.element, el("span", { class: "label" }, "Answer"), reply && answer_bars(reply.answer));
    if (cell.last === drawn.graph.input && photo) {
      set_sides(cell.canvas, ...photo.pixels.shape);
      return paint_photo(cell.canvas, photo.pixels);
    }
    const i = reply ? reply.nodes.indexOf(cell.last) : -1;
    if (i < 0) return clear_canvas(cell.canvas);
    const size = reply.thumbnails.shape[1];
    const bytes = reply.thumbnails.subarray(i * size * size, (i + 1) * size * size);
    const scale = scale_for(reply.low[i], reply.high[i]);
    set_sides(cell.canvas, reply.size[2 * i], reply.size[2 * i + 1]);
    put_picture(cell.canvas, sheet_picture(bytes, size, size, reply.low[i], reply.high[i], scale));
    cell.canvas.title = `${number_text(reply.low[i])} to ${number_text(reply.high[i])}`;
    return undefined;
  }

  function answer_bars(answer) {
    const rows = answer.top.map(({ name, probability }, i) => ({ name, share: probability, strong: i === 0 }));
    return bar_list(rows, { most: 1, label: "The likeliest classes" });
  }

  // Focus moves along the edges: right and left to what comes after and before, up and down to neighbours.
  function set_focus(id, move) {
    for (const [other, cell] of drawn.cells) {
      cell.element.tabIndex = other === id ? 0 : -1;
      cell.element.toggleAttribute("data-focus", other === id);
    }
    if (move) drawn.cells.get(id).element.focus({ preventScroll: true });
    for (const line of lines.querySelectorAll(".edge")) {
      line.classList.toggle("near", move && (line.dataset.from === id || line.dataset.to === id));
    }
  }

  function neighbour(id, key) {
    const ahead = drawn.down ? ["ArrowDown", "ArrowUp"] : ["ArrowRight", "ArrowLeft"];
    const along = ahead.indexOf(key);
    if (along >= 0) {
      const next = drawn.edges.filter((edge) => edge[along] === id).map((edge) => edge[1 - along]);
      return along === 0 ? next[0] : next[next.length - 1];
    }
    const here = drawn.layout.boxes.get(id);
    const [axis, cross, sign] = drawn.down ? ["x", "y", key === "ArrowRight" ? 1 : -1] : ["y", "x", key === "ArrowDown" ? 1 : -1];
    let best;
    let nearest = Infinity;
    for (const [other, box] of drawn.layout.boxes) {
      const ahead_by = sign * (box[axis] - here[axis]);
      const distance = ahead_by + 2 * Math.abs(box[cross] - here[cross]);
      if (ahead_by > 4 && distance < nearest) [best, nearest] = [other, distance];
    }
    return best;
  }

  area.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const cell = event.target.closest("[data-id]");
    if (cell && event.key.startsWith("Arrow")) {
      event.preventDefault();
      const id = neighbour(cell.dataset.id, event.key);
      if (id !== undefined) {
        set_focus(id, true);
        if (!drawn.down) zoom.show(drawn.layout.boxes.get(id));
        else drawn.cells.get(id).element.scrollIntoView({ block: "nearest" });
      }
    } else if (window_keys[event.key]) window_keys[event.key]();
    else if (event.key === "Backspace" && cell) fold_around(cell.dataset.id);
  });
  area.addEventListener("focusin", (event) => {
    const cell = event.target.closest("[data-id]");
    if (cell && drawn.cells.has(cell.dataset.id)) set_focus(cell.dataset.id, false);
  });

  function fold_around(id) {
    const item = drawn.items.find((one) => one.id === id);
    const groups = item && item.nodes.length ? groups_around(drawn.tree, item.nodes[0]).filter((group) => drawn.unfolded.has(group.id)) : [];
    if (groups.length) fold(groups[groups.length - 1]);
  }

  function refresh(state) {
    load_photo({ do: "image", image: state.scene.image, lane: "photo" }, (answer) => {
      photo = answer;
      paint();
    }, () => {
      photo = null;
      paint();
    });
    load(overview_request(state.scene), (answer) => {
      reply = answer;
      paint();
    }, () => {
      reply = null;
      paint();
    });
  }

  function open_stage(state) {
    const { view } = state;
    const before = graph_of(store);
    if (!drawn || drawn.graph !== before) draw();
    const stage = view.name === "stage" && drawn.tree.find((child) => child.children && child.stage === view.stage);
    if (!stage) return fit_all();
    if (!drawn.unfolded.has(stage.id)) {
      set_unfolded(store, drawn.graph, new Set([...drawn.unfolded, stage.id]));
      draw();
    } else draw_frames();
    return zoom_to(stage);
  }

  fill(bar,
    button("−", () => zoom.zoom(0.8), { title: "Smaller (−)" }),
    button("+", () => zoom.zoom(1.25), { title: "Larger (+)" }),
    button("Fit", fit_all, { title: "The whole network (0)" }),
    button("Unfold all", () => set_all(true), { title: "Show every operation" }),
    button("Fold all", () => set_all(false), { title: "Show stages only" }),
    el("span", { class: "quiet" }, "Click a block to look inside."));

  function set_all(open) {
    set_unfolded(store, drawn.graph, new Set(open ? all_groups(drawn.tree) : []));
    draw();
    fit_all();
  }

  const ends = [store.follow(["view"], open_stage), store.follow(["scene"], refresh), store.subscribe((state, changed) => changed.has("scene") && drawn.graph !== graph_of(store) && open_stage(state))];
  let width = area.clientWidth;
  const resized = new ResizeObserver(() => {
    if (area.clientWidth === width) return;
    width = area.clientWidth;
    draw();
    fit_all();
  });
  resized.observe(area);
  return () => {
    resized.disconnect();
    load.stop();
    load_photo.stop();
    ends.forEach((end) => end());
  };
}

function tree_of(graph) {
  if (!trees.has(graph)) trees.set(graph, group_tree(graph));
  return trees.get(graph);
}

const open_groups = new WeakMap(); // graph -> ids of unfolded groups; they stay while one looks at a layer

function unfolded_of(store, graph, tree) {
  if (!open_groups.has(graph)) open_groups.set(graph, first_unfolded(graph, tree));
  return open_groups.get(graph);
}

function set_unfolded(store, graph, unfolded) {
  open_groups.set(graph, unfolded);
}

function block_size(item, graph, down) {
  if (item.last === graph.input) return down ? { width: 220, height: 76 } : { width: 112, height: 140 };
  const small = item.node && ["activation", "norm", "move", "add", "multiply"].includes(item.node.kind);
  if (down) return { width: 220, height: 64 };
  return { width: small ? 80 : 98, height: 122 };
}

/** Give a picture in a block the sides of a map of `height` x `width`, at most 1 : MOST_LONG so that it is still seen. */
function set_sides(canvas, height, width) {
  const long = Math.max(1 / MOST_LONG, Math.min(MOST_LONG, width / height));
  canvas.style.setProperty("--wide", Math.min(1, long));
  canvas.style.setProperty("--high", Math.min(1, 1 / long));
}

function set_box(element, box) {
  Object.assign(element.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` });
}

function grown(box, by) {
  return { x: box.x - by, y: box.y - by, width: box.width + 2 * by, height: box.height + 2 * by };
}

function around(boxes) {
  const x = Math.min(...boxes.map((box) => box.x));
  const y = Math.min(...boxes.map((box) => box.y));
  return { x, y, width: Math.max(...boxes.map((box) => box.x + box.width)) - x, height: Math.max(...boxes.map((box) => box.y + box.height)) - y };
}

/** Return the boxes around runs of boxes from left to right: a frame that goes over several rows has a part in each. */
function boxes_in_rows(boxes) {
  const runs = [];
  let before = null;
  for (const box of boxes) {
    if (!before || (box.x < before.x - 60 && box.y > before.y + before.height)) runs.push([]);
    runs[runs.length - 1].push(box);
    before = box;
  }
  return runs.map(around);
}
