"""Plots of studies draw the numbers that they were given, and refuse what they cannot draw."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from cnnlab import figures
from cnnlab.errors import UsageError


def test_a_name_has_one_colour_in_every_panel_and_one_place_in_the_legend() -> None:
    figure = figures.lines(
        {"loss": {"sgd": ([1, 2], [3, 2]), "adam": ([1, 2], [3, 1])}, "accuracy": {"adam": ([1, 2], [0.1, np.nan])}},
        x="epoch",
    )
    loss, accuracy = figure.axes
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), [3, 1])
    assert np.isnan(accuracy.lines[0].get_ydata()[1])
    assert loss.lines[1].get_color() == accuracy.lines[0].get_color() != loss.lines[0].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sgd", "adam"]
    assert (loss.get_title("left"), loss.get_xlabel()) == ("loss", "epoch")
    assert figures.to_png(figure).startswith(b"\x89PNG")


def test_many_lines_stay_apart() -> None:
    figure = figures.lines({"": {str(i): ([0, 1], [i, i]) for i in range(16)}}, log_x=False)
    looks = {(to_hex(line.get_color()), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 16


def test_lines_have_as_many_xs_as_ys() -> None:
    with pytest.raises(UsageError, match=r'"sgd" has \(2,\) xs and \(3,\) ys'):
        figures.lines({"loss": {"sgd": ([1, 2], [1, 2, 3])}})
    with pytest.raises(UsageError, match="at least one panel"):
        figures.lines({})


def test_cross_validation_marks_the_best_mean() -> None:
    scores = [[0.1, 0.3], [0.4, 0.2], [0.9, -0.5]]  # means 0.2, 0.3, 0.2
    axes = figures.cross_validation([1, 5, 10], scores, log_x=True).axes[0]
    labels = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(labels["best: k = 5, 30.0%"].get_xydata(), [[5, 0.3]])
    np.testing.assert_allclose(labels["one fold"].get_ydata(), np.ravel(scores))
    assert axes.get_xscale() == "log"
    with pytest.raises(UsageError, match=r"3 values have scores of shape \(2, 2\)"):
        figures.cross_validation([1, 5, 10], scores[:2])


def test_a_heat_map_writes_numbers_into_cells() -> None:
    figure = figures.heat_map([[0.25, np.nan], [1, 0]], rows=["a", "b"], columns=["c", "d"], numbers=True, percent=True)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["25.0%", "100.0%", "0.0%"], "NaN stays empty"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.25, np.nan], [1, 0]])
    with pytest.raises(UsageError, match="3 names of columns"):
        figures.heat_map([[1, 2]], columns=["a", "b", "c"])
    with pytest.raises(UsageError, match="matrix"):
        figures.heat_map([1, 2])


@pytest.mark.parametrize("shape", [(1, 1), (500, 5000), (40, 2)])
def test_heat_maps_of_any_shape_can_be_drawn(shape: tuple[int, int]) -> None:
    assert figures.to_png(figures.heat_map(np.zeros(shape), label="distance"), dpi=40).startswith(b"\x89PNG")


def test_bars_have_the_lengths_that_they_say() -> None:
    figure = figures.bars({"cat": 1200, "dog": 3}, x="images", reference=(600, "half"))
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [1200, 3]
    assert [text.get_text() for text in axes.texts] == ["1,200", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first one is at the top"
    assert axes.lines[0].get_xdata()[0] == 600
    assert figure.legends[0].get_texts()[0].get_text() == "half"
    assert not figures.bars({"none": 0}).legends
    with pytest.raises(UsageError, match="at least one bar"):
        figures.bars({})


def test_histograms_share_their_range_and_count_everything() -> None:
    rows = {"narrow": [np.zeros((2, 3)), np.ones(4)], "wide": [[-9, 0.0], [5.0]]}
    figure = figures.histograms(rows, ["layer 1", "layer 2"], limits=(-1, 2), bins=6)
    counts = [[patch.get_height() for patch in axes.patches] for axes in figure.axes]
    assert [sum(count) for count in counts] == [6, 4, 2, 1]
    assert counts[0] == [0, 0, 6, 0, 0, 0]
    assert counts[2] == [1, 0, 1, 0, 0, 0], "what lies outside counts to the first bar"
    assert figure.axes[0].get_xlim() == figure.axes[3].get_xlim()
    assert [axes.get_title("left") for axes in figure.axes] == ["layer 1", "layer 2", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["narrow", "", "wide", ""]
    figures.histograms({"constant": [np.zeros(3)]}, ["layer"])
    with pytest.raises(UsageError, match="1 arrays for 2 columns"):
        figures.histograms({"a": [[1.0]]}, ["x", "y"])
    with pytest.raises(UsageError, match="at least one row"):
        figures.histograms({}, [])


def test_a_logarithmic_axis_in_percent_has_no_powers_of_ten() -> None:
    panels = {"error": {"measured": ([100, 200, 400], [[0.2, 0.1, 0.03]])}}
    figure = figures.bands(panels, percent=["error"], log_x=True, log_y=["error"])
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels(which="both")]
    assert {"5%", "10%", "20%"} <= set(labels)
    assert not any("10^" in label for label in labels)


def test_a_line_of_a_single_x_shows_the_range_of_its_seeds() -> None:
    axes = figures.bands({"error": {"measured": ([5], [[0.2], [0.1], [0.3]])}}).axes[0]
    segments = [
        segment for lines in axes.collections if isinstance(lines, LineCollection) for segment in lines.get_segments()
    ]
    assert [segment.tolist() for segment in segments] == [[[5, 0.1], [5, 0.3]]]
