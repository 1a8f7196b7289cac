// Places of blocks and edges: layers from left to right (or from top to bottom) by dagre, long networks in several rows.

import { dagre } from "./vendor/dagre.js";
import { layered_graph } from "./layering.js";

const GAP = { rank: 26, down: 38, down_with_fingers: 54, node: 16, row: 62 };
const MOST_FOR_DAGRE = 150; // blocks; its time grows faster than their number

/**
 * Return {boxes: id -> {x, y, width, height}, edges: [{from, to, path, skips}], width, height}.
 *
 * `items` are {id, width, height}; `room` is {width, height} of the window, for which rows are chosen; `down`: from top
 * to bottom, in one column.
 */
export function placed_graph(items, edges, room, down) {
  const { boxes, lines, width, height } = items.length > MOST_FOR_DAGRE ? layered_graph(items, edges, down, { rank: rank_gap(down), node: GAP.node }) : dagre_graph(items, edges, down);
  if (down) return { boxes, width, height, edges: lines.map((line) => ({ ...line, path: smooth_path(line.points) })) };
  return in_rows(boxes, lines, width, height, room);
}

/** Return {boxes, lines: [{from, to, points, skips}], width, height} as dagre places blocks and edges. */
function dagre_graph(items, edges, down) {
  const graph = new dagre.Graph();
  graph.setGraph({ rankdir: down ? "TB" : "LR", ranksep: rank_gap(down), nodesep: GAP.node, edgesep: 8, ranker: items.length > 120 ? "longest-path" : "network-simplex" });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, width, height } of items) graph.setNode(id, { width, height });
  for (const [from, to] of edges) graph.setEdge(from, to, {});
  dagre.layout(graph);
  const boxes = new Map();
  for (const id of graph.nodes()) {
    const { x, y, width, height } = graph.node(id);
    boxes.set(id, { x: x - width / 2, y: y - height / 2, width, height });
  }
  const lines = graph.edges().map((edge) => {
    const { points } = graph.edge(edge);
    return { from: edge.v, to: edge.w, points, skips: points.length > 3 };
  });
  return { boxes, lines, width: graph.graph().width, height: graph.graph().height };
}

/** Return the pixels between two layers: from top to bottom the buttons of frames lie there, large ones for fingers. */
function rank_gap(down) {
  if (!down) return GAP.rank;
  return matchMedia("(pointer: coarse), (max-width: 640px)").matches ? GAP.down_with_fingers : GAP.down;
}

/** Return how much a drawing is enlarged at most in a window. */
export function largest_scale(room) {
  return Math.max(1.2, room.width / 1100);
}

/** Break a long layout into the number of rows in which it is shown largest. */
function in_rows(boxes, lines, width, height, room) {
  const cuts = row_cuts(boxes, lines, width);
  let best = null;
  for (let rows = 1; rows <= 16; rows++) {
    const breaks = row_breaks(cuts, width, rows);
    const sides = [0, ...breaks, width];
    const longest = Math.max(...sides.slice(1).map((x, i) => x - sides[i]));
    const tall = sides.slice(1).reduce((sum, x, i) => sum + row_extent(boxes, sides[i], x)[1], 0) + GAP.row * breaks.length;
    const scale = Math.min(room.width / longest, room.height / tall, largest_scale(room));
    if (!best || scale > 1.2 * best.scale) best = { scale, sides };
  }
  const rows = best.sides.slice(1).map((end, i) => ({ start: best.sides[i], end, extent: row_extent(boxes, best.sides[i], end) }));
  let top = 0;
  for (const row of rows) {
    row.top = top;
    row.shift = top - row.extent[0];
    top += row.extent[1] + GAP.row;
  }
  const row_of = (x) => rows.findIndex((row, i) => x < row.end || i === rows.length - 1);
  const placed = new Map();
  for (const [id, box] of boxes) {
    const row = rows[row_of(box.x + box.width / 2)];
    placed.set(id, { ...box, x: box.x - row.start, y: box.y + row.shift });
  }
  let crossing = 0;
  const edges = lines.map((line) => {
    const first = row_of(middle_of(boxes.get(line.from)));
    const last = row_of(middle_of(boxes.get(line.to)));
    const { skips } = line;
    if (first === last) {
      const { start, shift } = rows[first];
      return { ...line, skips, path: smooth_path(line.points.map(({ x, y }) => ({ x: x - start, y: y + shift }))) };
    }
    return { ...line, skips, path: row_path(placed.get(line.from), placed.get(line.to), rows[last].top, crossing++ % 4, last - first > 1) };
  });
  const wide = Math.max(...rows.map((row) => row.end - row.start));
  return { boxes: placed, edges, width: wide, height: Math.max(top - GAP.row, height && 1) };
}

function middle_of(box) {
  return box.x + box.width / 2;
}

/** Return the places where rows may end: between two columns, where at most two edges cross. */
function row_cuts(boxes, lines, width) {
  const spans = [...boxes.values()].map((box) => [box.x, box.x + box.width]).sort((a, b) => a[0] - b[0]);
  const cuts = [];
  let end = spans.length ? spans[0][1] : width;
  for (const [first, last] of spans) {
    if (first > end + 2) {
      const x = (first + end) / 2;
      const crossing = lines.filter(({ from, to }) => middle_of(boxes.get(from)) < x && middle_of(boxes.get(to)) > x);
      if (new Set(crossing.map((line) => line.from)).size <= 2) cuts.push(x);
    }
    end = Math.max(end, last);
  }
  return cuts;
}

function row_breaks(cuts, width, rows) {
  const breaks = [];
  for (let i = 1; i < rows; i++) {
    const wish = (i * width) / rows;
    const best = cuts.reduce((near, x) => (Math.abs(x - wish) < Math.abs(near - wish) ? x : near), Infinity);
    if (best !== Infinity && (!breaks.length || best > breaks[breaks.length - 1])) breaks.push(best);
  }
  return breaks;
}

/** Return the top and the height of the boxes between two places. */
function row_extent(boxes, start, end) {
  const inside = [...boxes.values()].filter((box) => middle_of(box) >= start && middle_of(box) < end);
  if (!inside.length) return [0, 0];
  const top = Math.min(...inside.map((box) => box.y));
  return [top, Math.max(...inside.map((box) => box.y + box.height)) - top];
}

/** Return the path of an edge from one row to the next: out to the right, back between the rows, in from the left. */
function row_path(from, to, row_top, number, far) {
  const x = from.x + from.width;
  const y = from.y + from.height / 2;
  const right = x + 10 + 4 * number;
  const left = to.x - 12 - 4 * number;
  const between = row_top - GAP.row / 2 + 5 * (number - 1.5);
  const into = to.y + to.height / 2;
  const side = far ? left : to.x - 12 - 4 * number;
  return `M${x} ${y}H${right}V${between}H${side}V${into}H${to.x}`;
}

/** Return a smooth path through points: straight lines with their corners rounded by curves. */
function smooth_path(points) {
  if (points.length < 3) return `M${points.map(({ x, y }) => `${x} ${y}`).join("L")}`;
  let path = `M${points[0].x} ${points[0].y}`;
  for (let i = 1; i < points.length - 1; i++) {
    const next = points[i + 1];
    const end = i === points.length - 2 ? next : { x: (points[i].x + next.x) / 2, y: (points[i].y + next.y) / 2 };
    path += `Q${points[i].x} ${points[i].y} ${end.x} ${end.y}`;
  }
  return path;
}
