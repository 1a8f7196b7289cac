"""Figures: what they show is what they were given, in every script, at every size, without a warning."""

from __future__ import annotations

import io
import itertools
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from cnnlab import figures
from cnnlab.errors import UsageError


def rows(epochs: int) -> list[dict[str, float | None]]:
    return [
        {"epoch": e, "lr": 0.1 / e, "train_loss": 2 / e, "val_loss": None, "train_accuracy": 1 - 1 / e}
        for e in range(1, epochs + 1)
    ]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("epochs", [0, 1, 2, 50])
def test_curves_draw_the_values_that_are_there(epochs: int) -> None:
    figure = figures.curves(rows(epochs), marked=1)
    assert figures.to_png(figure).startswith(b"\x89PNG")
    loss = figure.axes[0]
    drawn = [line for line in loss.lines if line.get_label() == "training"]
    assert len(drawn) == (epochs > 0)
    if drawn:
        np.testing.assert_allclose(drawn[0].get_ydata(), [2 / e for e in range(1, epochs + 1)])
    assert not [line for line in loss.lines if line.get_label() == "validation"], "a column of None is not a curve"


def test_curves_go_through_the_epochs_that_were_evaluated() -> None:
    evaluated = {5: 0.9, 10: 0.7, 15: 0.6}
    made = [row | {"val_loss": evaluated.get(int(row["epoch"] or 0), math.nan)} for row in rows(17)]
    training, validation = figures.curves(made, panels=["loss"]).axes[0].lines
    assert [len(training.get_xdata()), training.get_marker()] == [17, ""]
    assert dict(zip(validation.get_xdata(), validation.get_ydata(), strict=True)) == evaluated
    assert validation.get_marker() == "o", "a point for each evaluation, also for one alone"


def test_curves_draw_nothing_for_nan() -> None:
    figure = figures.curves(
        [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": float("nan")}], panels=["loss"]
    )
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1.0]
    with pytest.raises(UsageError, match="no panel"):
        figures.curves([], panels=["tempo"])


def test_confusion_writes_numbers_for_few_classes_only() -> None:
    few = figures.confusion([[5, 0], [2, 3]], ["ants", "bees"])
    assert {"5", "2", "3"} <= set(texts(few))
    assert "0" not in [text.get_text() for text in few.axes[0].texts], "an empty cell stays empty"
    many = figures.confusion(np.eye(100, dtype=int) * 7, [f"class {i}" for i in range(100)])
    assert "7" not in texts(many)
    assert "class 99" in texts(many)
    with pytest.raises(UsageError, match=r"\(3, 3\)"):
        figures.confusion([[1, 2], [3, 4]], ["a", "b", "c"])


@pytest.mark.parametrize("classes", [2, 10, 21, *(pytest.param(n, marks=pytest.mark.slow) for n in (20, 100))])
def test_no_label_of_the_confusion_matrix_is_cut_or_overlaps(classes: int) -> None:
    names = [f"a rather long name {i}" for i in range(classes)]
    figure = figures.confusion(np.full((classes, classes), 12), names)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    axes = figure.axes[0]
    boxes = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
    for box in [*boxes, axes.xaxis.label.get_window_extent(renderer), axes.yaxis.label.get_window_extent(renderer)]:
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
    for above, below in itertools.pairwise(boxes):
        assert below.y1 <= above.y0 + 2, "two class names lie on each other"


def test_heat_colours_are_even_in_lightness() -> None:
    """CIELAB lightness, computed here from the sRGB definition (IEC 61966-2-1), falls in nearly equal steps."""
    rgb = figures.HEAT(np.linspace(0, 1, 33))[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = -np.diff(lightness)
    assert steps.min() > 0
    assert steps.max() / steps.min() < 1.25


@pytest.mark.parametrize("name", ["$5 \\frac", "<script>alert(1)</script>", "蟻", "🐜 ant", "a & b", "x" * 200, ""])
def test_any_class_name_can_be_drawn(name: str) -> None:
    figure = figures.confusion([[3, 1], [0, 4]], [name, "bee"])
    svg = figures.to_svg(figure, "matrix")
    ElementTree.fromstring(svg)  # well-formed: the name was escaped
    assert "<script" not in svg
    assert figures.to_png(figure, dpi=50)


def test_svg_is_self_contained_and_takes_the_colours_of_the_page() -> None:
    svg = figures.to_svg(figures.curves(rows(5)), "loss")
    assert "currentColor" in svg
    assert "var(--blue" in svg
    assert figures.INK not in svg
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not (key.endswith("href") and not value.startswith(("#", "data:"))), value
            assert "url(http" not in value
    assert svg == figures.to_svg(figures.curves(rows(5)), "loss"), "the same figure gives the same text"


def test_reliability_bars_are_the_accuracies() -> None:
    accuracy = [np.nan, 0.4, 0.9]
    figure = figures.reliability([np.nan, 0.5, 0.8], accuracy, [0, 10, 30], 0.1)
    bars = figure.axes[0].containers[0]
    assert [bar.get_height() for bar in bars] == [0.4, 0.9]  # type: ignore[attr-defined]
    assert [bar.get_height() for bar in figure.axes[1].containers[0]] == [0, 0.25, 0.75]  # type: ignore[attr-defined]
    assert any("10.0%" in text for text in texts(figure))


def test_find_lr_curve_marks_the_suggestion_and_bears_an_exploding_loss() -> None:
    figure = figures.find_lr_curve([1e-3, 1e-2, 1e-1, 1], [2.3, 1.5, 1.2, float("inf")], 0.05)
    axes = figure.axes[0]
    assert any("0.05" in text for text in texts(figure))
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[1] < 10
    assert figures.to_png(figure)
    assert figures.to_png(figures.find_lr_curve([0.1], [float("nan")]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 1, 3])), max_size=9))
def test_image_grid_draws_every_picture_undistorted(shapes: list[tuple[int, int, int]]) -> None:
    images = [np.zeros((h, w, c) if c else (h, w), dtype=np.uint8) for h, w, c in shapes]
    figure = figures.image_grid(images, [f"picture {i}" for i in range(len(images))])
    axes = figure.axes[0]
    assert len(axes.images) == len(images)
    for drawn, (height, width, _) in zip(axes.images, shapes, strict=True):
        left, right, bottom, top = drawn.get_extent()
        assert (right - left) / (bottom - top) == pytest.approx(width / height)


def test_image_grid_accepts_floats_and_refuses_what_is_no_picture() -> None:
    figure = figures.image_grid([np.full((2, 2), 0.5), np.ones((2, 2, 3)) * 9])
    assert figure.axes[0].images[0].get_array()[0, 0] == 128  # type: ignore[index]
    assert figure.axes[0].images[1].get_array().max() == 255  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=r"\(4,\)"):
        figures.image_grid([np.zeros(4)])
    with pytest.raises(UsageError, match="titles"):
        figures.image_grid([np.zeros((2, 2))], ["a", "b"])


def test_filters_scale_each_by_itself_with_grey_as_zero() -> None:
    weights = np.zeros((3, 3, 1, 2))
    weights[0, :, 0, 0] = [0.001, 0, -0.001]
    weights[1, :, 0, 1] = [5, -2.5, 0]
    (image,) = figures.filters(weights).axes[0].images
    pixels = np.asarray(image.get_array())[0]  # tiles of 24 x 48 pixels, 3 white ones between them
    assert pixels[[0, 24, 51, 75, 102, 126]].tolist() == [
        [255, 128, 0], [128] * 3, [128] * 3, [255, 64, 128], [128] * 3, [128] * 3,
    ]  # fmt: skip
    assert (pixels[48:51] == 255).all()
    with pytest.raises(UsageError, match="F, C, H, W"):
        figures.filters(np.zeros((3, 3)))


def test_save_chooses_the_format_by_the_ending(tmp_path: Path) -> None:
    figure = figures.curves(rows(2))
    written = figures.save(figure, tmp_path / "deep" / "curves.png")
    assert written.read_bytes().startswith(b"\x89PNG")
    assert figures.save(figure, tmp_path / "curves.svg").read_text().lstrip().startswith("<?xml")
    with pytest.raises(UsageError, match=r"\.png"):
        figures.save(figure, tmp_path / "curves.docx")
    assert Image.open(io.BytesIO(figures.to_png(figure, dpi=40))).size == (504, 124)


def test_a_figure_is_drawn_once_and_looks_as_matplotlib_lays_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, drawn = io.BytesIO(), []
    figures.curves(rows(3)).savefig(expected, format="png", dpi=150, facecolor="white")
    figure = figures.curves(rows(3))
    engine, dpi = figure.get_layout_engine(), figure.dpi
    draw = type(figure.patch).draw
    monkeypatch.setattr(
        type(figure.patch), "draw", lambda self, renderer: (drawn.append(self is figure.patch), draw(self, renderer))
    )
    png = figures.to_png(figure, dpi=150)
    assert sum(drawn) == 1
    assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(data))) for data in (png, expected.getvalue())))
    assert (figure.get_layout_engine(), figure.dpi) == (engine, dpi)


@given(st.text(max_size=60), st.integers(2, 30))
def test_shorten_never_exceeds_its_length(text: str, length: int) -> None:
    short = figures.shorten(text, length)
    assert len(short) <= length
    if len(" ".join(text.split())) <= length:
        assert short == " ".join(text.split())
