"""Made-up data and a recipe of a second, for tests in every room."""

from __future__ import annotations

import numpy as np
import torch

from cnnlab.data import ArraySplit, ImageData
from cnnlab.training import Recipe


def bars(n: int, size: int = 8, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images with one bright bar whose place is the class: easy, but not trivial."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = rng.integers(0, 90, (n, 1, size, size), dtype=np.uint8)
    width = size // classes
    for i, label in enumerate(labels):
        pixels[i, 0, :, label * width : (label + 1) * width] += 120
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def make_bars(n_train: int = 48, n_test: int = 24, n_val: int = 0, size: int = 8, classes: int = 3) -> ImageData:
    """A data set of :func:`bars`."""
    return ImageData(
        name="bars",
        classes=["left", "middle", "right", "c3", "c4", "c5"][:classes],
        train=ArraySplit(*bars(n_train, size, classes, 1)),
        val=ArraySplit(*bars(n_val, size, classes, 2)) if n_val else None,
        test=ArraySplit(*bars(n_test, size, classes, 3)) if n_test else None,
        source="made up",
    )


def tiny_recipe(**changes: object) -> Recipe:
    """A run of a second: a small network on the CPU, nothing decided by a trial."""
    values = {
        "model": "convnet",
        "model_options": {"widths": [4, 8, 8]},
        "data": "bars",
        "epochs": 3,
        "batch_size": 8,
        "lr": 0.01,
        "device": "cpu",
        "precision": "fp32",
        "channels_last": False,
    }
    return Recipe.make(values | changes)
