"""Drawn scenes with captions: coloured shapes in groups, and every sentence of a small grammar that describes them.

A scene has one to three groups of things, each a number of equal things of one colour and shape, at a place::

    two red circles on the left
    a blue square above three green crosses
    a cyan triangle and two purple circles above a red cross

Scenes are drawn from a seed, so that captioning can be trained and scored without files: the contents of a scene are
known exactly, and every correct sentence of the grammar can be listed. The colours are those of Paul Tol's scheme
"bright", which people with colour-vision deficiencies can tell apart. https://sronpersonalpages.nl/~pault/
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cnnlab.errors import UsageError

#: Names of the colours and their red, green and blue, 0..255.
COLOURS = {
    "red": (238, 102, 119),
    "blue": (68, 119, 170),
    "green": (34, 136, 51),
    "yellow": (204, 187, 68),
    "cyan": (102, 204, 238),
    "purple": (170, 51, 119),
}
#: Names of the shapes in singular and plural.
SHAPES = {"circle": "circles", "square": "squares", "triangle": "triangles", "cross": "crosses"}
#: Number words of the captions; the position is the number of things minus 1.
COUNTS = ("a", "two", "three")

#: Colour and shape that occur together in held-out scenes only: a quarter of all pairs. Each of the colours and each of
#: the shapes occurs in training scenes too.
UNSEEN_PAIRS = tuple(zip(COLOURS, [*SHAPES, "circle", "square"], strict=True))
_ALL_PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "seen": tuple(pair for pair in _ALL_PAIRS if pair not in UNSEEN_PAIRS),
    "unseen": UNSEEN_PAIRS,
    "all": _ALL_PAIRS,
}
Pairs = Literal["seen", "unseen", "all"]

# Place of a group -> centre of its box, x to the right and y down, in a picture of side 1.
_CENTRES = {
    "top": (0.5, 0.25),
    "bottom": (0.5, 0.75),
    "left": (0.25, 0.5),
    "right": (0.75, 0.5),
    "top left": (0.25, 0.25),
    "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75),
    "bottom right": (0.75, 0.75),
}
# The places of a scene's groups, in the order in which a caption names them, and what joins them. The second sentence
# says the same from the other side.
_ONE = {"top": "at the top", "bottom": "at the bottom", "left": "on the left", "right": "on the right"}
_SEVERAL: dict[tuple[str, ...], tuple[str, str]] = {
    ("top", "bottom"): ("{0} above {1}", "{1} below {0}"),
    ("left", "right"): ("{0} to the left of {1}", "{1} to the right of {0}"),
    ("top", "bottom left", "bottom right"): ("{0} above {1} and {2}", "{1} and {2} below {0}"),
    ("top left", "top right", "bottom"): ("{0} and {1} above {2}", "{2} below {0} and {1}"),
}
_LAYOUTS: dict[int, list[tuple[str, ...]]] = {
    1: [(place,) for place in _ONE],
    2: list(_SEVERAL)[:2],
    3: list(_SEVERAL)[2:],
}

_TEXTS = (*COUNTS, *COLOURS, *SHAPES, *SHAPES.values(), "there is are", *_ONE.values(), *sum(_SEVERAL.values(), ()))
#: Every word of the captions, in alphabetical order.
WORDS = tuple(sorted({word for text in _TEXTS for word in text.format("", "", "").split()}))
#: Number of words of the longest captions: "there are", three groups of three words, "and", "above".
LONGEST_CAPTION = 13

_BOX, _SHIFT = 26 / 64, 1 / 64  # side of the box of a group, and how far it is shifted at most
_RADIUS = (4.5 / 64, 5.5 / 64)  # smallest and largest distance from the centre of a thing to its side
_TRIES = 64  # how many arrangements of a group are drawn at once


@dataclass(frozen=True)
class Group:
    """Equal things in a scene.

    Args:
        count: number of things, 1 to 3.
        colour: name of their colour, a key of :data:`COLOURS`.
        shape: name of their shape, a key of :data:`SHAPES`.
        place: place of the group in the scene, such as ``"top"`` or ``"bottom left"``.
    """

    count: int
    colour: str
    shape: str
    place: str

    @property
    def words(self) -> str:
        """The group in words, such as ``"two red circles"``."""
        return f"{COUNTS[self.count - 1]} {self.colour} {self.shape if self.count == 1 else SHAPES[self.shape]}"


@dataclass(frozen=True)
class Scene:
    """The contents of a drawn picture.

    Args:
        groups: one to three groups of things, in the order in which the places of their layout are listed.
    """

    groups: tuple[Group, ...]

    def captions(self) -> list[str]:
        """Return the four sentences that describe the scene, each complete and correct."""
        first = self.groups[0]
        if len(self.groups) == 1:
            place, verb = _ONE[first.place], _verb(first)
            return [
                f"{first.words} {place}",
                f"there {verb} {first.words} {place}",
                f"{place} {verb} {first.words}",
                f"{place} there {verb} {first.words}",
            ]
        forward, backward = _SEVERAL[tuple(group.place for group in self.groups)]
        words = [group.words for group in self.groups]
        sentences = []
        for sentence in (forward, backward):
            # "There are" begins a list, also when its first group is one thing.
            opening = sentence.split(" above ")[0].split(" below ")[0]
            verb = "are" if " and " in opening else _verb(self.groups[int(sentence[1])])
            sentences += [sentence.format(*words), f"there {verb} {sentence.format(*words)}"]
        return sentences


def make_scenes(
    count: int, size: int = 64, seed: int | Sequence[int] = 0, pairs: Pairs = "seen"
) -> tuple[npt.NDArray[np.uint8], list[Scene]]:
    """Draw scenes.

    Args:
        count: number N of scenes.
        size: height and width of a picture in pixels, at least 32.
        seed: seed of the scenes and their pixels, one or several whole numbers.
        pairs: pairs of colour and shape that occur: ``"seen"``, ``"unseen"`` (:data:`UNSEEN_PAIRS`) or ``"all"``.

    Returns:
        Pictures, uint8 (N, 3, size, size), and their contents. No two groups of a scene have both the same colour and
        the same shape.

    Raises:
        UsageError: the count is below 1, the size below 32, or there are no such pairs.
    """
    if count < 1 or size < 32:
        raise UsageError(f"{count} scenes of {size}x{size} pixels; expected at least 1, of at least 32x32 pixels.")
    if pairs not in _PAIRS:
        raise UsageError(f'Pairs of colour and shape are "seen", "unseen" or "all", got "{pairs}".')
    rng = np.random.default_rng(seed)
    scenes = [draw_contents(rng, pairs) for _ in range(count)]
    pictures = np.empty((count, 3, size, size), np.uint8)
    for picture, scene in zip(pictures, scenes, strict=True):
        picture[:] = draw_scene(scene, size, rng)
    return pictures, scenes


def draw_contents(rng: np.random.Generator, pairs: Pairs = "seen") -> Scene:
    """Draw the contents of a scene from ``rng``: a quarter have one group, 40 % two and 35 % three."""
    number = int(rng.choice([1, 2, 3], p=[0.25, 0.4, 0.35]))
    layout = _LAYOUTS[number][rng.integers(len(_LAYOUTS[number]))]
    chosen = rng.choice(len(_PAIRS[pairs]), size=number, replace=False)
    counts = rng.integers(1, len(COUNTS) + 1, size=number)
    groups = []
    for things, pair, place in zip(counts, chosen, layout, strict=True):
        colour, shape = _PAIRS[pairs][pair]
        groups.append(Group(int(things), colour, shape, place))
    return Scene(tuple(groups))


def draw_scene(scene: Scene, size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a picture of a scene, uint8 (3, size, size).

    Args:
        scene: contents of the picture.
        size: height and width in pixels.
        rng: source of positions, sizes, angles and small differences of lightness.
    """
    picture = np.full((3, size, size), rng.uniform(228, 252))
    for group in scene.groups:
        colour = np.array(COLOURS[group.colour]) * rng.uniform(0.92, 1.04)
        radius = rng.uniform(*_RADIUS)
        for x, y in _arrange(group, radius, rng):
            _paint(picture, group.shape, (x * size, y * size), radius * size, rng.uniform(-0.2, 0.2), colour)
    return picture.round().clip(0, 255).astype(np.uint8)


def _verb(group: Group) -> str:
    return "is" if group.count == 1 else "are"


def _arrange(group: Group, radius: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return centres (count, 2) of the things of a group inside its box, so that no two of them touch."""
    room, apart = _BOX / 2 - radius, 2 * radius + 1 / 64
    centre = np.array(_CENTRES[group.place]) + rng.uniform(-_SHIFT, _SHIFT, size=2)
    tries = rng.uniform(-room, room, size=(_TRIES, group.count, 2))
    # Distance by the longer axis, since squares may lie side by side.
    distances = np.abs(tries[:, :, None] - tries[:, None]).max(axis=3) + 9 * np.eye(group.count)
    free = np.flatnonzero(distances.min(axis=(1, 2)) >= apart)
    if len(free):
        return centre + tries[free[0]]
    # Corners of the box always are far enough from each other.
    return centre + room * np.array([(-1, -1), (1, -1), (-1, 1)])[: group.count]


def _paint(
    picture: npt.NDArray[np.float64],
    shape: str,
    centre: tuple[float, float],
    radius: float,
    angle: float,
    colour: npt.NDArray[np.float64],
) -> None:
    """Draw a thing into a picture (3, H, W) with smooth edges.

    A pixel is covered by one half minus its signed distance to the edge, between 0 and 1.
    """
    reach = radius * math.sqrt(2) + 1
    left, top = (max(math.floor(at - reach), 0) for at in centre)
    right, bottom = (min(math.ceil(at + reach) + 1, picture.shape[1]) for at in centre)
    x = np.arange(left, right) + 0.5 - centre[0]
    y = np.arange(top, bottom)[:, None] + 0.5 - centre[1]
    cos, sin = math.cos(angle), math.sin(angle)
    distance = _signed_distance(shape, x * cos + y * sin, y * cos - x * sin, radius)
    cover = (0.5 - distance).clip(0, 1)
    area = picture[:, top:bottom, left:right]
    area += cover * (colour[:, None, None] - area)


def _signed_distance(
    shape: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.float64]:
    """Return how many pixels a point lies outside the edge of a shape around (0, 0); negative inside it."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.92 * radius
    if shape == "triangle":  # three half planes, with the tip upwards
        slope = np.abs(x) * math.cos(math.pi / 6) - y * math.sin(math.pi / 6)
        return np.maximum(slope, y) - 0.62 * radius
    bar = 0.36 * radius  # half the width of an arm of the cross
    across, along = np.maximum(np.abs(x) - radius, np.abs(y) - bar), np.maximum(np.abs(y) - radius, np.abs(x) - bar)
    return np.minimum(across, along)
