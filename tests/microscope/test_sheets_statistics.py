"""Sheets of channels; histogram and numbers of a channel, also of one whose values hardly differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnlab.microscope.sheets import sheet, statistics


def test_values_that_hardly_differ_have_a_histogram() -> None:
    values = torch.full((4, 4), 1.0)
    values[0, 0] = float(np.nextafter(np.float32(1), np.float32(2)))  # the next number of float32
    result = statistics(values)
    counts = result["histogram"]["counts"]
    assert (counts[0], counts[-1], counts.sum()) == (15, 1, 16)
    assert result["low"] == 1.0


@pytest.mark.parametrize(
    ("channels", "size", "side", "steps"),
    [(16, 70, 64, 256), (17, 70, 64, 64), (80, 50, 50, 64), (81, 70, 48, 64), (81, 20, 20, 256)],
)
def test_many_channels_have_small_pictures_in_few_steps(channels: int, size: int, side: int, steps: int) -> None:
    output = torch.rand(channels, size, size, generator=torch.Generator().manual_seed(0))
    reply = sheet(output)
    assert reply["sheet"].shape == (channels, side, side)
    assert set(np.unique(reply["sheet"])) <= set(np.round(np.arange(steps) * 255 / (steps - 1)).astype(np.uint8))
    assert len(np.unique(reply["sheet"])) > 0.9 * steps
    assert (reply["sheet"].min((1, 2)).tolist(), reply["sheet"].max((1, 2)).tolist()) == (
        [0] * channels,
        [255] * channels,
    )
    low, high = (reply[name][:, None, None] for name in ("low", "high"))
    restored = low + reply["sheet"] / 255 * (high - low)
    if side == size:
        exact = output.numpy()
    else:  # the mean of the pixels that each pixel of the sheet stands for: rows floor(i n / m) to ceil((i + 1) n / m)
        ends = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
        exact = np.stack(
            [output.numpy()[:, top:bottom, left:right].mean((1, 2)) for top, bottom in ends for left, right in ends], 1
        ).reshape(channels, side, side)
    step = (high - low) / (steps - 1)
    assert (np.abs(restored - exact) <= 0.5 * step + (high - low) / 255).all()
