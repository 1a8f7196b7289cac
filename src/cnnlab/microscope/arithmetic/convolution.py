"""Convolutions of one, two and three dimensions: grouped, strided, padded, dilated and transposed."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.microscope.arithmetic.operands import Question, Reply, number_in
from cnnlab.microscope.arithmetic.weighted_sums import weighted_sum


def convolution(question: Question) -> Reply:
    """Return the arithmetic of one number of a convolution: patch x kernel + bias."""
    x, weight = question.argument("input"), question.argument("weight")
    settings, dims = question.arguments, weight.ndim - 2
    *batch, channel = question.index[: len(question.index) - dims]
    place = question.index[len(question.index) - dims :]
    groups, transposed = settings["groups"], settings["transposed"]
    per_group = (weight.shape[1] * groups if transposed else weight.shape[0]) // groups
    group = channel // per_group
    incoming = (weight.shape[0] if transposed else weight.shape[1] * groups) // groups
    channels = np.arange(group * incoming, (group + 1) * incoming)

    taps, lines = [], []  # along each dimension: positions in the kernel, and those in the input
    for d, size in enumerate(weight.shape[2:]):
        stride, padding, dilation = (_each(settings[key], d) for key in ("stride", "padding", "dilation"))
        tap = np.arange(size)
        if transposed:
            reached = place[d] + padding - tap * dilation
            # Only every stride-th position meets an input pixel. Where none does, one masked product stands for none.
            meets = tap[reached % stride == 0]
            tap = meets if len(meets) else tap[:1]
            lines.append(reached[tap] // stride if len(meets) else np.array([-1]))
        else:
            lines.append(place[d] * stride - padding + tap * dilation)
        taps.append(tap)

    sides = x.shape[x.ndim - dims :]
    grid = np.meshgrid(channels, *lines, indexing="ij")
    inside = np.all([(g >= 0) & (g < side) for g, side in zip(grid[1:], sides, strict=True)], axis=0)
    index = [np.full_like(grid[0], b) for b in batch] + [np.where(inside, g, 0) for g in grid]
    flat = np.where(inside, np.ravel_multi_index(index, tuple(x.shape)), -1)
    flat = flat.reshape(incoming, -1, flat.shape[-1])
    if transposed:
        kernel_index = np.meshgrid(channels, [channel % per_group], *taps, indexing="ij")
    else:
        kernel_index = np.meshgrid([channel], np.arange(incoming), *taps, indexing="ij")
    kernel_flat = np.ravel_multi_index(kernel_index, tuple(weight.shape)).reshape(flat.shape)
    box: list[Any] | None = {1: [channels, [0], *lines], 2: [channels, *lines]}.get(dims)
    patch = question.operand("patch", "input", flat, box)
    kernel = question.operand("kernel", "weight", kernel_flat) | {"at": None}
    if settings["bias"] is None:
        return weighted_sum(question, patch, kernel)
    bias = question.operand("bias", "bias", [channel]) | {"at": None}
    return weighted_sum(question, patch, kernel, number_in(bias), [bias])


def _each(setting: list[int] | int, dim: int) -> int:
    """Return a setting along one dimension; a list of one number is meant for all of them."""
    return setting if isinstance(setting, int) else setting[dim if len(setting) > 1 else 0]


OPERATIONS = dict.fromkeys(["convolution", "_convolution", "convolution_overrideable"], convolution)
