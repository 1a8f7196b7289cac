"""A photo changed by gradients of a network: a deep dream, or an adversarial example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnnlab.data import ImageLike
from cnnlab.errors import ModelError, UsageError
from cnnlab.explain import find_class
from cnnlab.explain.adversarial import AdversarialExample, fgsm, fool, pgd
from cnnlab.explain.visualization.dream import Dream, dream
from cnnlab.explain.visualization.objectives import logit
from cnnlab.figures.pictures import to_picture
from cnnlab.runs.classifier import Classifier
from cnnlab.tracing.target_layer import list_layers


def dream_photo(
    classifier: Classifier,
    photo: ImageLike,
    *,
    layer: str | None = None,
    target: int | str | None = None,
    size: int | None = None,
    **options: Any,
) -> Dream:
    """Amplify in a photo what a layer of a network responds to; see :func:`cnnlab.explain.dream`.

    Args:
        classifier: the network that dreams.
        photo: the photo to start from.
        layer: dotted name of the layer whose outputs are to grow; that of :func:`layer_to_dream_of` when ``None``.
        target: index or name of a class to dream of instead.
        size: side of the picture in pixels; what the network takes when ``None``.
        options: keyword arguments of :func:`cnnlab.explain.dream`.

    Raises:
        UsageError: layer and target at once.
        ModelError: the network has no spatial layer, or cannot take images of these sizes.
    """
    if layer is not None and target is not None:
        raise UsageError("A dream is of a layer or of a class: give --layer or --target, not both.")
    image = classifier.input(photo, size)
    options["pixels"] = classifier.pixel_range
    if target is not None:
        return dream(classifier.model, image, logit(find_class(target, classifier.classes)), **options)
    return dream(classifier.model, image, layer or layer_to_dream_of(classifier), **options)


def layer_to_dream_of(classifier: Classifier) -> str:
    """Return the dotted name of the last block before the last stage, whose outputs still have spatial detail.

    Raises:
        ModelError: the network has no spatial layer.
    """
    preprocess = classifier.preprocess
    spatial = list_layers(classifier.model, (preprocess.channels, preprocess.size, preprocess.size)).spatial
    if not spatial:
        raise ModelError(f"{classifier.name} has no spatial layer to dream of. Name a class to dream of instead.")
    # Before the last stage there are at least twice as many positions.
    finer = [row for row in spatial if row.grid and row.grid[-1] >= 2 * (spatial[-1].grid or (0, 0))[-1]] or spatial
    stage = [row for row in finer if row.grid == finer[-1].grid]
    # Whole stages or blocks, not a layer inside one.
    depth = min(row.name.count(".") for row in stage)
    return [row for row in stage if row.name.count(".") == depth][-1].name


def fool_photo(
    classifier: Classifier,
    photo: ImageLike,
    target: int | str,
    *,
    method: str = "ascent",
    steps: int | None = None,
    seed: int = 0,
) -> AdversarialExample:
    """Change a photo until a network takes it for ``target``; see :mod:`cnnlab.explain.adversarial`.

    Args:
        classifier: the network to fool.
        photo: the photo to change.
        target: name or index of a class.
        method: ``"ascent"``, ``"fgsm"`` or ``"pgd"``.
        steps: largest number of steps; that of the method when ``None``. FGSM has one.
        seed: seed of the random start of PGD.
    """
    attacks: dict[str, Callable[..., AdversarialExample]] = {"ascent": fool, "fgsm": fgsm, "pgd": pgd}
    if method == "fgsm" and steps not in (None, 1):
        raise UsageError(f"FGSM makes one step, not {steps}. Leave --steps out, or take pgd.")
    options: dict[str, Any] = {} if steps is None or method == "fgsm" else {"steps": steps}
    options |= {"seed": seed} if method == "pgd" else {}
    options |= {"classes": classifier.classes, "pixels": classifier.pixel_range}
    return attacks[method](classifier.model, classifier.input(photo), target, **options)


def save_picture(picture: np.ndarray, path: Path) -> Path:
    """Write a picture (H, W, 3) or (H, W) of 0..1 without loss, pixel for pixel; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_picture(picture, "HWC")).save(path)
    return path
