"""A GAN that is trained in a moment."""

from __future__ import annotations

from cnnlab.generate.gans.recipe import GanRecipe


def tiny_gan(**changes: object) -> GanRecipe:
    """Convolutional networks of four channels on 8x8 images, with penalty and moving average."""
    values: dict[str, object] = {
        "name": "tiny",
        "networks": "dcgan32",
        "options": {"width": 4},
        "noise_size": 5,
        "data": "bars",
        "epochs": 2,
        "batch_size": 16,
        "r1": 0.5,
        "r1_every": 2,
        "ema": 0.9,
        "samples": 9,
        "device": "cpu",
    }
    return GanRecipe.make(values | changes)
