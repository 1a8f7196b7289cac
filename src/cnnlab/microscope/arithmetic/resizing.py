"""Resizing of maps: to the nearest pixel, or by weighted sums of neighbours."""

from __future__ import annotations

import numpy as np
import torch

from cnnlab.microscope.arithmetic.operands import Question, Reply, reply_of
from cnnlab.microscope.arithmetic.weighted_sums import weighted_sum


def resize(question: Question) -> Reply:
    """Return the arithmetic of one number of a resized map.

    Every kind of resizing is a weighted sum of pixels of the same channel. The weights are the derivatives of the
    number with respect to the pixels.
    """
    key = "self" if "self" in question.arguments else "input"
    x = question.argument(key)
    with torch.inference_mode(False), torch.enable_grad():
        plane = torch.zeros((1, 1, *x.shape[2:]), requires_grad=True)
        out = getattr(torch.ops.aten, question.op)(**{**question.arguments, key: plane})
        (weights,) = torch.autograd.grad(out[(0, 0, *question.index[2:])], plane)
    weight = weights[0, 0].numpy()
    lines = [np.arange(places.min(), places.max() + 1) for places in np.nonzero(weight)]
    grid = np.meshgrid(*lines, indexing="ij")
    batch, channel = question.index[:2]
    index = [np.full_like(grid[0], batch), np.full_like(grid[0], channel), *grid]
    flat = np.ravel_multi_index(index, tuple(x.shape))[None]
    if flat.size == 1 and "nearest" in question.op:
        pixel = question.operand("number", key, flat)
        sentence = f"This number is the nearest pixel of {pixel['from']}: {{value}}."
        return reply_of(question, "choice", sentence, "x", [pixel])
    patch = question.operand("patch", key, flat, [[channel], *lines] if len(lines) == 2 else None)
    kernel = {"name": "kernel", "from": "resize weights", "array": weight[tuple(grid)], "at": None}
    return weighted_sum(question, patch, kernel, words=", pixels weighted by how near they are")


OPERATIONS = dict.fromkeys(
    [
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d",
        "_upsample_nearest_exact3d",
        "upsample_linear1d",
        "upsample_bilinear2d",
        "_upsample_bilinear2d_aa",
        "upsample_bicubic2d",
        "_upsample_bicubic2d_aa",
        "upsample_trilinear3d",
    ],
    resize,
)
