// Places of many blocks: columns by the longest way from the image, an order with few crossings in each, and long edges
// that pass between the blocks (K. Sugiyama et al., 1981). It is simpler than dagre, and fast for a thousand blocks.

const SWEEPS = 8; // through all columns, to order and to place their blocks
const STRAIGHT = 4; // weight of a long edge that stays straight, against one of an edge between neighbours
const TO_THE_MIDDLE = 0.98; // so that a long network does not climb, cell by cell
const EDGE_ROOM = 6; // pixels that an edge takes between two blocks

/**
 * Return {boxes: id -> {x, y, width, height}, lines: [{from, to, points, skips}], width, height}.
 *
 * `items` are {id, width, height} in the order of computation; `down`: from top to bottom; `gap` is {rank, node}.
 */
export function layered_graph(items, edges, down, gap) {
  const [along, across] = down ? ["height", "width"] : ["width", "height"];
  const blocks = items.map((item, i) => ({ item, i, length: item[along], room: item[across], before: [], after: [] }));
  const block_of = new Map(blocks.map((block) => [block.item.id, block]));
  const wires = edges.map(([from, to]) => ({ from, to, ends: [block_of.get(from), block_of.get(to)], blocks: [] }));
  for (const wire of wires) wire.ends.sort((a, b) => a.i - b.i); // a group may feed what it takes from
  set_columns(blocks, wires);
  const columns = filled_columns(blocks, wires);
  for (let sweep = 0; sweep < SWEEPS; sweep++) order_columns(columns, sweep % 2 === 0);
  for (const column of columns) place_column(column, column.map((block) => ({ block, wish: 0, weight: 1 })), gap);
  for (let sweep = 0; sweep < SWEEPS; sweep++) align_columns(columns, sweep % 2 === 0, gap);
  const size = set_places(columns, gap);
  const turned = (x, y) => (down ? { x: y, y: x } : { x, y });
  const boxes = new Map(blocks.map((block) => {
    const corner = turned(block.start + (block.column_length - block.length) / 2, block.centre - block.room / 2);
    return [block.item.id, { ...corner, width: block.item.width, height: block.item.height }];
  }));
  const lines = wires.map(({ from, to, ends: [first, last], blocks: between }) => {
    const side = (block, end) => block.start + block.column_length / 2 + (end * block.length) / 2;
    const middle = between.flatMap((block) => [[block.start, block.centre], [block.start + block.column_length, block.centre]]);
    const points = [[side(first, 1), first.centre], ...middle, [side(last, -1), last.centre]];
    const forward = block_of.get(from) === first ? points : points.reverse();
    return { from, to, points: forward.filter(is_a_bend).map(([x, y]) => turned(x, y)), skips: between.length > 0 };
  });
  return { boxes, lines, ...(down ? { width: size.across, height: size.along } : { width: size.along, height: size.across }) };
}

/** Whether a point is an end of its line, or not on the straight line between its neighbours. */
function is_a_bend([, y], i, points) {
  return i === 0 || i === points.length - 1 || points[i - 1][1] !== y || points[i + 1][1] !== y;
}

/** Give every block the number of its column: before all that take its output, as late as possible. */
function set_columns(blocks, wires) {
  for (const block of blocks) block.column = 0;
  for (const { ends: [first, last] } of wires) {
    first.after.push(last);
    last.before.push(first);
  }
  for (const block of blocks) for (const next of block.after) next.column = Math.max(next.column, block.column + 1);
  for (const block of [...blocks].reverse()) {
    if (block.after.length) block.column = Math.min(...block.after.map((next) => next.column)) - 1;
  }
}

/** Return the columns with their blocks, and for each column that a long edge passes an empty block. */
function filled_columns(blocks, wires) {
  const columns = [];
  const put = (block) => (columns[block.column] ||= []).push(block);
  blocks.forEach(put);
  for (const block of blocks) [block.before, block.after] = [[], []];
  for (const wire of wires) {
    const [first, last] = wire.ends;
    let before = first;
    const join = (next) => {
      before.after.push(next);
      next.before.push(before);
      before = next;
    };
    for (let column = first.column + 1; column < last.column; column++) {
      const empty = { i: first.i, column, length: 0, room: EDGE_ROOM, before: [], after: [], is_empty: true };
      put(empty);
      wire.blocks.push(empty);
      join(empty);
    }
    join(last);
  }
  return columns.filter(Boolean);
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Order the blocks of every column by the mean place of their neighbours in the column before, or after. */
function order_columns(columns, forward) {
  for (const column of columns) column.forEach((block, i) => (block.place = i));
  for (const column of forward ? columns : [...columns].reverse()) {
    for (const block of column) {
      const near = forward ? block.before : block.after;
      block.wish = near.length ? mean(near.map((one) => one.place)) : block.place;
    }
    column.sort((a, b) => a.wish - b.wish);
    column.forEach((block, i) => (block.place = i));
  }
}

/** Move the blocks of every column towards their neighbours before and after, and a little to the middle of the whole. */
function align_columns(columns, forward, gap) {
  for (const column of forward ? columns : [...columns].reverse()) {
    place_column(column, column.map((block) => {
      const near = [...block.before, ...block.after];
      const straight = block.is_empty && near.some((one) => one.is_empty);
      return { block, wish: near.length ? TO_THE_MIDDLE * mean(near.map((one) => one.centre)) : block.centre, weight: straight ? STRAIGHT : 1 };
    }), gap);
  }
}

/** Set the centres of a column's blocks as near to their wishes as their order and room allow (least squares). */
function place_column(column, wishes, gap) {
  const pools = []; // blocks that touch each other, with the mean of what they wish for the first of them
  let offset = 0;
  const offsets = [];
  wishes.forEach(({ block, wish, weight }, i) => {
    if (i) offset += (column[i - 1].room + block.room) / 2 + gap.node;
    offsets.push(offset);
    pools.push({ sum: weight * (wish - offset), weight, count: 1 });
    for (let last = pools.length - 1; last > 0; last = pools.length - 1) {
      const [one, two] = [pools[last - 1], pools[last]];
      if (one.sum / one.weight <= two.sum / two.weight) break;
      pools.pop();
      pools[last - 1] = { sum: one.sum + two.sum, weight: one.weight + two.weight, count: one.count + two.count };
    }
  });
  let i = 0;
  for (const { sum, weight, count } of pools) {
    for (const end = i + count; i < end; i++) column[i].centre = Math.round(sum / weight + offsets[i]);
  }
}

/** Set where the columns begin; returns the size of the whole. */
function set_places(columns, gap) {
  const all = columns.flat();
  const top = Math.min(...all.map((block) => block.centre - block.room / 2));
  let start = 0;
  for (const column of columns) {
    const length = Math.max(...column.map((block) => block.length));
    for (const block of column) Object.assign(block, { start, column_length: length, centre: block.centre - top });
    start += length + gap.rank;
  }
  return { along: start - gap.rank, across: Math.max(...all.map((block) => block.centre + block.room / 2)) };
}
