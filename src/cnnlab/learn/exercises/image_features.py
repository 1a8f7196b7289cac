"""Features designed by hand: the hue of pixels, and histograms of oriented gradients."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.runs import Array
from cnnlab.scratch.features import hog_feature, rgb_to_hue

hue = add(
    Exercise(
        "cnnlab.scratch.features:rgb_to_hue",
        title="the hue of each pixel",
        chapter="Nearest neighbours",
        order=0.3,
        outputs=("hue",),
        note="A grey pixel has the hue 0.",
        hints=(
            "value is the largest and spread the largest minus the smallest of the three; the largest one decides.",
            "In sixths: (green - blue) / spread if red is largest, (blue - red) / spread + 2 for green, and so on.",
            "Divide by 6, take it modulo 1, and let no grey pixel divide by 0.",
        ),
    )
)


@hue.cases
def hue_cases(random: np.random.Generator) -> Iterator[Case]:
    pure = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]], float)
    yield Case(pure.T[None, :, :, None], about="red, green, blue, and their mixtures")
    yield Case(random.random(size=(2, 3, 3, 2)), about="any colours")
    yield Case(np.array([[0.5, 1, 0], [0.5, 0.2, 0], [0.5, 0.9, 0]]).reshape(1, 3, 1, 3), about="grey and black pixels")


@hue.property("Hues lie in 0..1, and brightness changes none.")
def scale(answer: Function, case: Case) -> bool:
    images = case.arguments[0]
    hues = answer(images)
    return bool((hues >= 0).all() and (hues < 1).all()) and is_close(answer(images / 4), hues)


@hue.property("Hues equal those of Python's colorsys.")
def of_colorsys(answer: Function, case: Case) -> bool:
    images = case.arguments[0]
    expected, _, _ = np.vectorize(colorsys.rgb_to_hsv)(*images.swapaxes(0, 1))
    return is_close(answer(images), expected)


def _hue(
    images: Array, offsets: tuple[int, int, int] = (0, 2, 4), divisor: str = "spread", guarded: bool = True
) -> Array:
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    value = images.max(axis=1)
    spread = value - images.min(axis=1) if divisor == "spread" else value
    spread = np.where(spread > 0, spread, 1) if guarded else spread
    first, second, third = offsets
    return np.select(
        [value == red, value == green],
        [(green - blue) / spread + first, (blue - red) / spread + second],
        (red - green) / spread + third,
    )


@hue.mistake("Hues between blue and red come out negative: take them modulo 1.")
def without_modulo(images: Array) -> Any:
    return _hue(images) / 6


@hue.mistake("A grey pixel divides 0 by 0: use 1 as the divisor where the spread is 0.")
def grey(images: Array) -> Any:
    return (_hue(images, guarded=False) / 6) % 1


@hue.mistake("The hue is in degrees; it must be in 0..1.")
def degrees(images: Array) -> Any:
    return rgb_to_hue(images) * 360


@hue.mistake("The offsets are missing: + 2 where green is largest, + 4 where blue is.")
def without_offsets(images: Array) -> Any:
    return (_hue(images, (0, 0, 0)) / 6) % 1


@hue.mistake("Red and blue are swapped: channel 0 is red.")
def red_and_blue(images: Array) -> Any:
    return rgb_to_hue(images[:, ::-1])


@hue.mistake("The differences are divided by the largest value; divide by the spread, largest minus smallest.")
def divided_by_value(images: Array) -> Any:
    return (_hue(images, divisor="value") / 6) % 1


hog = add(
    Exercise(
        "cnnlab.scratch.features:hog_feature",
        title="histograms of oriented gradients",
        chapter="Nearest neighbours",
        order=0.4,
        outputs=("features",),
        note="Grey is 0.299 red + 0.587 green + 0.114 blue.",
        hints=(
            "across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2], likewise down; both stay 0 at the border.",
            "angle = np.degrees(np.arctan2(down, across)) % 180, direction = angle // 20.",
            "For each direction: np.hypot(across, down) where it has that direction, summed over cells of 8x8, / 64.",
        ),
    )
)


@hog.cases
def hog_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, about in (
        ((2, 3, 16, 24), ""),
        ((1, 3, 8, 8), "one cell"),
        ((1, 3, 19, 10), "pixels that fill no cell"),
    ):
        yield Case(random.random(size=shape), about=about)


@hog.property("A constant image has no edges.")
def constant(answer: Function, case: Case) -> bool:
    return bool(np.allclose(answer(np.full_like(case.arguments[0], 0.4)), 0))


@hog.property("The negative of an image has the same features.")
def negative(answer: Function, case: Case) -> bool:
    images = case.arguments[0]
    return is_close(answer(1 - images), answer(images))


def _hog(
    images: Array,
    *,
    angle: Callable[[Array, Array], Array] = lambda down, across: np.degrees(np.arctan2(down, across)) % 180,
    weight: Callable[[Array, Array], Array] = np.hypot,
    grey: tuple[float, float, float] = (0.299, 0.587, 0.114),
    divisor: float = 64,
    gradient: Callable[[Array, int], Array] | None = None,
    order: str = "rows",
) -> Array:
    """Return the features with one of the parts wrong."""
    count, _, height, width = images.shape
    rows, columns = height // 8, width // 8
    brightness = np.einsum("c,nchw->nhw", np.array(grey), images)
    if gradient is None:
        across, down = np.zeros_like(brightness), np.zeros_like(brightness)
        across[:, :, 1:-1] = brightness[:, :, 2:] - brightness[:, :, :-2]
        down[:, 1:-1] = brightness[:, 2:] - brightness[:, :-2]
    else:
        across, down = gradient(brightness, 2), gradient(brightness, 1)
    across, down = (each[:, : rows * 8, : columns * 8] for each in (across, down))
    direction = np.minimum(angle(down, across) // 20, 8)
    length = weight(across, down)
    result = np.zeros((count, rows, columns, 9))
    for k in range(9):
        part = np.where(direction == k, length, 0)
        result[..., k] = part.reshape(count, rows, 8, columns, 8).sum(axis=(2, 4)) / divisor
    if order == "directions":
        result = np.moveaxis(result, 3, 1)
    return result.reshape(count, -1)


@hog.mistake("The arguments of arctan2 are swapped: down comes first, so that 0 is a gradient along a row.")
def arctan_swapped(images: Array) -> Any:
    return _hog(images, angle=lambda down, across: np.degrees(np.arctan2(across, down)) % 180)


@hog.mistake("Every gradient counts 1; it must count with its length.")
def lengths_ignored(images: Array) -> Any:
    return _hog(images, weight=lambda across, down: (np.hypot(across, down) > 0).astype(float))


@hog.mistake("The sums are not divided by the 64 pixels of a cell.")
def not_divided(images: Array) -> Any:
    return 64 * hog_feature(images)


@hog.mistake("Grey is the mean of the three channels; weigh them with 0.299, 0.587 and 0.114.")
def mean_of_channels(images: Array) -> Any:
    return _hog(images, grey=(1 / 3, 1 / 3, 1 / 3))


@hog.mistake("The differences are halved, or taken at the border too (np.gradient): use the plain difference inside.")
def numpy_gradient(images: Array) -> Any:
    return _hog(images, gradient=lambda grey, axis: np.gradient(grey, axis=axis))


@hog.mistake("Angles go from -180 to 180 and opposite gradients count apart: take them modulo 180.")
def signed_angles(images: Array) -> Any:
    return _hog(images, angle=lambda down, across: np.abs(np.degrees(np.arctan2(down, across))))


@hog.mistake("The features are ordered by direction first; they go by row of cells, cell, and then direction.")
def by_direction(images: Array) -> Any:
    return _hog(images, order="directions")


@hog.mistake("The squares of the lengths are summed; sum the lengths themselves.")
def squared_lengths(images: Array) -> Any:
    return _hog(images, weight=lambda across, down: across**2 + down**2)
