"""The layout of large networks: every block after those that it takes, none upon another."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.microscope.conftest import functions

pytestmark = pytest.mark.slow

CHAINS = """
() => {
    // A cell of three branches, again and again, each of which takes the two before it.
    const items = [], edges = [];
    const add = (id, ...feeds) => {
        items.push({ id, width: 80 + (items.length % 3) * 10, height: 122 });
        for (const feed of feeds) edges.push([feed, id]);
    };
    add("input");
    add("cell 0", "input");
    add("cell 1", "cell 0");
    for (let n = 2; n < 120; n++) {
        for (const branch of ["a", "b", "c"]) {
            add(`${n}${branch}1`, `cell ${n - (branch === "a" ? 2 : 1)}`);
            add(`${n}${branch}2`, `${n}${branch}1`);
        }
        add(`cell ${n}`, `${n}a2`, `${n}b2`, `${n}c2`);
    }
    const began = performance.now();
    const { boxes, lines, width, height } = layered_graph(items, edges, DOWN, { rank: 26, node: 16 });
    return { items, edges, boxes: [...boxes], lines, width, height, seconds: (performance.now() - began) / 1000 };
}
"""


@pytest.mark.parametrize("down", [False, True])
def test_blocks_of_large_networks_are_placed_in_order_and_apart(empty_page: Any, down: bool) -> None:
    functions(empty_page, "layering.js")
    drawing = empty_page.evaluate(CHAINS.replace("DOWN", str(down).lower()))
    along, across, length, room = ("y", "x", "height", "width") if down else ("x", "y", "width", "height")
    boxes = dict(drawing["boxes"])
    assert set(boxes) == {item["id"] for item in drawing["items"]}
    for first, last in drawing["edges"]:
        assert boxes[first][along] + boxes[first][length] + 26 <= boxes[last][along] + 1e-6
    ordered = sorted(boxes.values(), key=lambda box: (box[along] + box[length] / 2, box[across]))
    for one, two in itertools.pairwise(ordered):
        if abs(one[along] + one[length] / 2 - two[along] - two[length] / 2) < 1e-6:  # of one column
            assert one[across] + one[room] + 16 <= two[across] + 1  # rounded
    for box in boxes.values():
        assert box["x"] >= 0 <= box["y"]
        assert box["x"] + box["width"] <= drawing["width"] + 1e-6
        assert box["y"] + box["height"] <= drawing["height"] + 1e-6
    for line in drawing["lines"]:
        start, end = line["points"][0], line["points"][-1]
        first, last = boxes[line["from"]], boxes[line["to"]]
        assert start[along] == pytest.approx(first[along] + first[length])
        assert end[along] == pytest.approx(last[along])
        assert start[across] == pytest.approx(first[across] + first[room] / 2)
    # Cells lie beside each other in the middle, so that their edges are nearly straight.
    extent = max(box[across] + box[room] for box in boxes.values())
    assert extent < 6 * (122 + 16)
    assert drawing["seconds"] < 2  # 0.1 s on a quiet machine
