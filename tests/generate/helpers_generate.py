"""A tiny network and pictures for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cnnlab.explain.pixel_range import PixelRange
from cnnlab.generate.extractor import FeatureNetwork


class TinyNet(nn.Module):
    """Two convolutions, then a classifier that takes images of 16x16 alone."""

    stages = {"stem": "relu1", "stage1": "conv2", "head": "dense"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu2 = nn.ReLU(inplace=True)
        self.dense = nn.Linear(8 * 8 * 8, 5)
        self.ran_dense = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.conv1(x))
        x = self.relu2(self.conv2(x))
        self.ran_dense += 1
        return self.dense(x.flatten(1))


def tiny_network() -> FeatureNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TinyNet().eval().requires_grad_(False)
    return FeatureNetwork("tiny", model, PixelRange.normalised(0.5, 0.25), 3)


def write_picture(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> Path:
    """Write a picture of smooth random colours and return its path."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path
