"""The drawn history of networks."""

from __future__ import annotations

from itertools import combinations

import pytest
from matplotlib.text import Text

from cnnlab.errors import UsageError
from cnnlab.figures import Milestone, timeline


def milestones(count: int) -> list[Milestone]:
    return [
        Milestone(f"network{k}", 2015, 5 + 0.4 * k, 1e6 * 4**k, 1e8 * 2**k, (4.0,) * (k == 0)) for k in range(count)
    ]


def test_names_touch_neither_each_other_nor_marks() -> None:
    figure = timeline(milestones(4))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [Text.get_window_extent(label) for label in axes.texts]
    assert sorted(label.get_text() for label in axes.texts) == [
        "4", "network0 5", "network1 5.4", "network2 5.8", "network3 6.2",
    ]  # fmt: skip
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    marks = [axes.transData.transform(position) for position in axes.collections[0].get_offsets()]
    assert not any(box.contains(*mark) for box in boxes for mark in marks)


def test_marks_say_year_error_and_size() -> None:
    axes = timeline(milestones(3)).axes[0]
    marks = axes.collections[0]
    assert marks.get_offsets()[:, 1].tolist() == pytest.approx([5, 5.4, 5.8])
    assert marks.get_offsets()[:, 0].round().tolist() == [2015] * 3
    areas = marks.get_sizes() - 8
    assert areas[1:] / areas[:-1] == pytest.approx([4, 4])
    assert marks.get_array().tolist() == [1e8, 2e8, 4e8]


def test_no_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="no networks"):
        timeline([])
