"""What an advice says (see :mod:`cnnlab.advisor.search`), and the plain functions that it rests on."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from cnnlab.data import ImageData, class_counts
from cnnlab.training.recipe import Recipe, recipe_for

# Of the odds of being right, which rise as a power of the time trained: the usual exponent, and how far it may lie
# from it. LeNet-5 on CIFAR-10 had 0.33 (48 % after 28,000 images of a trial, 71 % after the 750,000 of its recipe).
USUAL_SLOPE, SLOPE_SPREAD = 0.35, 0.15


# --- What is said -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Something that was found on the way.

    Attributes:
        text: in a line.
        share: how much of the time is over, 0..1.
        passing: what is being done now, of no interest afterwards.
    """

    text: str
    share: float
    passing: bool = False


@dataclass(frozen=True)
class Look:
    """What the data are.

    Attributes:
        name, classes, channels: of the data.
        train: images to learn from. ``each_epoch``: images that a run evaluates after every epoch.
        fewest, most: images of the smallest and of the largest class that occurs.
        size: side in pixels of images of one size; None for photos.
        short_side: median of the photos' short sides.
    """

    name: str
    classes: int
    channels: int
    train: int
    each_epoch: int
    fewest: int
    most: int
    size: int | None
    short_side: int | None

    @property
    def photos(self) -> bool:
        return self.size is None

    @property
    def unevenness(self) -> float:
        return self.most / max(self.fewest, 1)

    def describe(self) -> str:
        """One line."""
        each = f"{self.fewest:,}" if self.fewest == self.most else f"{self.fewest:,} to {self.most:,}"
        kind = "colour" if self.channels == 3 else "grey"
        what = (
            f"{kind} photos, short side about {self.short_side}" if self.photos else f"{kind}, {self.size}x{self.size}"
        )
        return f"{self.train:,} images to learn from, {self.classes} classes ({each} each), {what}"


@dataclass(frozen=True)
class Choice:
    """One of the networks advised, with the reasons and the command that trains it."""

    name: str
    label: str
    command: str
    recipe: Recipe
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    n: int
    trail: list[tuple[float, float]]  # seconds of training, accuracy
    expected_accuracy: float | None  # after the whole training; None where the trials do not tell
    epochs: int
    seconds: float
    images_per_second: float
    parameters: int
    macs: int
    memory_bytes: int | None
    reasons: list[str]


@dataclass(frozen=True)
class Advice:
    """The answer: up to three networks, the best first, and on what it rests."""

    look: Look
    notes: list[str]
    machine: str
    goal: str
    minutes: float
    seconds: float
    measured: str
    choices: list[Choice]
    tried: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        values = asdict(self)
        for choice, kept in zip(values["choices"], self.choices, strict=True):
            choice["recipe"] = kept.recipe.changed()
        return values


# --- Pieces -------------------------------------------------------------------------------------------------------


def look_at(data: ImageData) -> Look:
    """Return what the data are."""
    train = data.train
    counts = class_counts(train, data.classes)
    counts = counts[counts > 0]
    photos = train.photos or train.size is None
    sides = [min(s.size) for s in getattr(train, "scanned", None) or []]
    shown = data.val or data.test
    return Look(
        name=data.name,
        classes=len(data.classes),
        channels=train.channels,
        train=len(train),
        each_epoch=len(shown) if shown is not None else 0,
        fewest=int(counts.min()),
        most=int(counts.max()),
        size=None if photos or train.size is None else max(train.size),
        short_side=(sorted(sides)[len(sides) // 2] if sides else None) if photos else None,
    )


def expected_accuracy(points: list[tuple[float, float, int]], seconds: float, chance: float) -> float:
    """Return the accuracy to expect after training for ``seconds``, from short trainings of some lengths.

    What is better than guessing, q = (accuracy - chance) / (1 - chance), is taken to rise with time so that the odds
    q / (1 - q) grow as a power of it. The line through the logarithms is fitted by weighted least squares; a normal
    prior holds its slope near :data:`USUAL_SLOPE`, so that two noisy points do not promise the moon.

    Args:
        points: (seconds, accuracy, n) of each trial; n is how many images the accuracy was measured on.
        seconds: of the whole training.
        chance: the accuracy of guessing, 0..1.
    """
    rows = []
    for t, accuracy, n in points:
        q = min(max((accuracy - chance) / (1 - chance), 0.5 / n), 1 - 0.5 / n)
        p = chance + q * (1 - chance)
        slope_of_logit = 1 / (q * (1 - q) * (1 - chance))
        weight = n / (p * (1 - p) * slope_of_logit**2)  # 1 / variance of the logit
        rows.append((math.log(max(t, 1e-3)), math.log(q / (1 - q)), weight))
    total = sum(w for _, _, w in rows)
    x0 = sum(w * x for x, _, w in rows) / total
    y0 = sum(w * y for _, y, w in rows) / total
    sxx = sum(w * (x - x0) ** 2 for x, _, w in rows)
    sxy = sum(w * (x - x0) * (y - y0) for x, y, w in rows)
    slope = max(0.0, (USUAL_SLOPE / SLOPE_SPREAD**2 + sxy) / (1 / SLOPE_SPREAD**2 + sxx))
    y = y0 + slope * (math.log(max(seconds, 1e-3)) - x0)
    return chance + (1 - chance) / (1 + math.exp(-y))


def command_for(recipe: Recipe, source: str) -> str:
    """Return the ``cnnlab train`` command that trains ``recipe``, with only what its starting recipe does not say.

    Args:
        recipe: what is to be trained.
        source: its data as the user wrote them.
    """
    freeze = recipe.freeze if recipe.freeze != "none" else None
    start = recipe_for(recipe.model, recipe.data, weights=recipe.weights, freeze=freeze).values()
    words = ["cnnlab", "train", recipe.model, "--data", source]
    for key in ("weights", "freeze"):
        value = getattr(recipe, key)
        if value not in (None, "none"):
            words += [f"--{key}", str(value)]
    if recipe.data_dir:
        words += ["--data-dir", recipe.data_dir]
    skipped = {"model", "data", "data_dir", "weights", "freeze", "name", "about", "reproduces", "measured"}
    for key, value in recipe.values().items():
        if key in skipped or value == start[key]:
            continue
        if isinstance(value, dict) and isinstance(start[key], dict):
            words += [f"{key}.{k}={_plain(v)}" for k, v in value.items() if v != start[key].get(k)]
        else:
            words.append(f"{key}={_plain(value)}")
    return shlex.join(words)


def _plain(value: Any) -> str:
    """A value as an override takes it: YAML in one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
