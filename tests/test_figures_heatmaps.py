"""Maps over pictures: colours mean what the scale says, sentences say what is there, nothing is cut off."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from skimage import color

from cnnlab.errors import UsageError
from cnnlab.figures import heatmaps, style

GREY = np.full((40, 40), 128, np.uint8)


def corner(size: int = 40, value: float = 1.0) -> np.ndarray:
    """Nothing but a square in the top left corner, a quarter of the side."""
    values = np.zeros((size, size), np.float32)
    values[: size // 4, : size // 4] = value
    return values


@pytest.mark.parametrize("name", ["WARM", "SIGNED"])
def test_lightness_changes_evenly_and_both_signs_are_as_dark(name: str) -> None:
    lightness = color.rgb2lab(getattr(style, name)(np.linspace(0, 1, 65))[None, :, :3])[0, :, 0]
    falling = lightness if name == "WARM" else lightness[32:]
    steps = -np.diff(falling)
    assert steps.min() > 0
    assert steps.max() < 2 * steps.mean()
    if name == "SIGNED":
        np.testing.assert_allclose(lightness, lightness[::-1], atol=1.5)
        assert lightness.argmax() == 32


def test_blend_shows_the_picture_where_the_map_is_zero_and_colour_where_it_is_not() -> None:
    mixed = heatmaps.blend(corner(), GREY).astype(int)
    assert mixed.shape == (40, 40, 3)
    assert (np.ptp(mixed[20:, 20:], axis=-1) == 0).all(), "grey stays grey"
    red, green, blue = mixed[0, 0]
    assert red > 1.5 * max(green, blue)
    signed = heatmaps.blend(corner(value=-1.0), GREY, signed=True).astype(int)
    assert signed[0, 0, 2] > 1.5 * signed[0, 0, 0], "blue is against"
    assert (heatmaps.blend(corner(value=-1.0), GREY)[0, 0] == heatmaps.blend(corner(value=0.0), GREY)[0, 0]).all()


def test_blend_fits_the_map_to_a_larger_picture_and_refuses_other_proportions() -> None:
    picture = np.zeros((120, 120, 3), np.uint8)
    mixed = heatmaps.blend(corner(), picture)
    assert mixed.shape == picture.shape
    assert np.ptp(mixed[10, 10]) > 0
    assert np.ptp(mixed[100, 100]) == 0
    with pytest.raises(UsageError, match="120 x 90 pixels and the map 40 x 40"):
        heatmaps.blend(corner(), picture[:90])


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 3)), np.full((4, 4), np.nan), np.zeros((0, 3)), 3.0])
def test_what_is_no_map_is_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="A map is an array"):
        heatmaps.blend(bad, GREY)


def test_the_scale_ends_where_all_but_the_strongest_pixels_lie() -> None:
    values = np.zeros((100, 100))
    values.flat[:200] = 2.0
    values[-1, -1] = 1000.0
    assert heatmaps.colour_limit(values) == 2.0
    few = np.zeros((100, 100))
    few[0, 0] = -3.0
    assert heatmaps.colour_limit(few) == 3.0
    assert heatmaps.colour_limit(few * 0) == 0.0


def test_sentences_say_where_the_weight_is() -> None:
    assert heatmaps.describe(corner()) == "Half of the weight lies on 3% of the image, at the top left."
    assert heatmaps.describe(corner()[::-1]) == "Half of the weight lies on 3% of the image, at the bottom left."
    assert heatmaps.describe(np.roll(corner(), 15, axis=1)) == "Half of the weight lies on 3% of the image, at the top."
    assert "around the middle" in heatmaps.describe(np.roll(corner(), (15, 15), axis=(0, 1)))
    assert heatmaps.describe(np.ones((10, 10))) == "The weight is spread over the image."
    assert heatmaps.describe(np.zeros((4, 4))) == heatmaps.describe(-np.ones((4, 4))) == "The map is zero everywhere."
    both = corner() - 3 * corner()[:, ::-1]
    assert heatmaps.describe(both, signed=True).endswith("at the top right; 75% of all is blue.")
    assert "inside the line, on 3%" in heatmaps.describe(corner(), outlined=True)


def test_share_of_half() -> None:
    assert heatmaps.share_of_half([[8, 1], [4, 3]]) == 0.25
    assert heatmaps.share_of_half([[1, 1], [1, 1]]) == 0.5
    assert heatmaps.share_of_half(np.zeros((2, 2))) == 0.0


def test_maps_of_single_pixels_are_averaged_and_smooth_ones_are_not() -> None:
    noise = np.random.default_rng(0).normal(size=(224, 224)).astype(np.float32)
    assert heatmaps.smoothing_width(noise) == pytest.approx(224 / 150)
    assert heatmaps.smoothing_width(heatmaps.smoothed(noise, 4)) == 0
    assert heatmaps.smoothing_width(noise[:40, :40]) == 0, "pixels of a small image are large enough"
    assert heatmaps.smoothed(noise, 1.5).mean() == pytest.approx(noise.mean(), abs=1e-2)
    assert heatmaps.smoothed(noise, 0) is noise
    assert "Drawn as averages over about 5 pixels." in " ".join(
        texts(heatmaps.overlay(noise, noise * 0 + 0.5, signed=True))
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(28, 28), (224, 224), (160, 480), (480, 120)])
def test_figures_of_every_shape_have_nothing_cut_off(shape: tuple[int, int], signed: bool) -> None:
    rng = np.random.default_rng(1)
    values = heatmaps.smoothed(rng.normal(size=shape), 3.0) if signed else rng.random(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = heatmaps.overlay(
            values,
            rng.integers(0, 255, (*shape, 3), dtype=np.uint8),
            signed=signed,
            title="A method for “a class with a rather long name, that costs $5 or $6”",
            facts="probability 92.1 %  ·  score 10.4  ·  0.42 s  ·  layer features.29  ·  deletion 0.12",
            caption="The redder, the more the layer features.29 finds there that speaks for “a class of $5”.",
            notes=["A note that says something about the map at some length, so that it takes more than a line."],
            label="contribution to the score",
        )
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    for text, box in zip(figure.axes[0].texts, boxes, strict=True):
        assert -1 <= box.x0 <= box.x1 <= width + 1, text.get_text()
        assert -1 <= box.y0 <= box.y1 <= height + 1, text.get_text()
    falling = sorted(boxes, key=lambda box: -box.y1)
    assert all(above.y0 >= below.y1 - 1 for above, below in itertools.pairwise(falling)), "lines overlap"
    assert len(figure.axes) == 2
    bar = figure.axes[1]
    ticks = [float(label.get_text()) for label in bar.get_yticklabels()]
    assert ticks[-1] == pytest.approx(
        heatmaps.colour_limit(heatmaps.smoothed(values, heatmaps.smoothing_width(values))), rel=0.05
    )
    assert ticks[0] == (-ticks[-1] if signed else 0)
    assert bar.yaxis.label.get_window_extent(renderer).x1 <= width + 1


def test_the_line_holds_half_of_the_weight() -> None:
    values = heatmaps.smoothed(corner(80), 5.0)
    figure = heatmaps.overlay(values, np.zeros((80, 80), np.uint8))
    assert "inside the line" in " ".join(texts(figure))
    lines = figure.axes[0].collections
    assert len(lines) == 2, "a dark line on a white one, seen on every ground"
    inside = values >= lines[0].levels[0]
    assert values[inside].sum() / values.sum() == pytest.approx(0.5, abs=0.02)
    assert not heatmaps.overlay(np.ones((80, 80)), np.zeros((80, 80), np.uint8)).axes[0].collections, (
        "no line around all"
    )
