"""Figures on a canvas: things are where they are put, and no text leaves the figure."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnlab import figures
from cnnlab.figures.canvas import Canvas

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 255, (60, 80, 3), dtype=np.uint8)
MAPS = RNG.normal(size=(8, 15, 20))
NAMES = [f"channel {number}" for number in range(8)]
LONG = "A sentence that is a good deal longer than the figure is wide, so that it has to be broken into lines. " * 2

DRAWN = {
    "feature_maps": lambda: figures.feature_maps(MAPS, PHOTO, NAMES, "layer1.0.conv1", LONG),
    "features_beside": lambda: figures.features_beside({"ReLU": (abs(MAPS), NAMES, 0.5), "tanh": (MAPS, NAMES, 0.0)}),
    "top_images": lambda: figures.top_images({"unit 12": [(PHOTO, (5, 5, 30, 40), 1.5)] * 4}, "a.layer" * 20, 100),
    "fooling": lambda: figures.fooling(PHOTO, PHOTO, MAPS[:3] / 255, answers=["a cat " * 20, "a dog"], caption=LONG),
    "before_and_after": lambda: figures.before_and_after(PHOTO, PHOTO, "more of the layer"),
    "filters": lambda: figures.filters(RNG.normal(size=(7, 5, 3, 3)), "a.layer" * 20, RNG.normal(size=(7, 5, 3, 3))),
}


def drawn(figure: Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_leaves_the_figure(name: str) -> None:
    figure = DRAWN[name]()
    renderer = drawn(figure).get_renderer()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    assert texts
    for text in texts:
        box = text.get_window_extent(renderer)
        assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1, text.get_text()
        assert -1 <= box.y0 <= box.y1 <= figure.bbox.height + 1, text.get_text()


def test_places_are_inches_from_the_upper_left_corner() -> None:
    canvas = Canvas(4.0)
    canvas.picture(np.zeros((2, 2, 3), np.uint8), 1.0, 0.5, 1.0, 1.0)
    scale = canvas.axes(3.0, 0.5, 0.5, 1.0)
    canvas.top = 1.9
    figure = canvas.finish()
    assert figure.get_size_inches().tolist() == [4.0, 2.0]
    np.testing.assert_allclose(scale.get_position().bounds, (0.75, 0.25, 0.125, 0.5))
    pixels = np.asarray(drawn(figure).buffer_rgba())[..., :3].sum(axis=2)
    rows, columns = np.nonzero(pixels[:, : int(2.5 * figure.dpi)] == 0)
    ends = np.array([rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]) / figure.dpi
    np.testing.assert_allclose(ends, [0.5, 1.5, 1.0, 2.0], atol=0.02)
