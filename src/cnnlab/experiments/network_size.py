"""The size of the networks that a study compares: parameters and multiply-adds, and widths that make them equal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from cnnlab.tracing import summarise
from cnnlab.training import Session


def size_columns(session: Session) -> dict[str, float]:
    """Return the number of parameters in thousands, and that of multiply-adds per image in millions."""
    preprocess = session.preprocess
    summary = summarise(session.model, (1, preprocess.channels, preprocess.size, preprocess.size))
    return {"thousand_parameters": summary.parameters / 1e3, "million_multiply_adds": summary.macs / 1e6}


def equal_widths(
    build: Callable[[tuple[int, ...]], nn.Module], base: tuple[int, ...], parameters: int
) -> tuple[int, ...]:
    """Return the widths, in about the proportions of ``base``, whose network has the nearest number of parameters.

    Args:
        build: function that builds a network from the widths of its stages; it is called on the meta device, so that
            no weight is allocated.
        base: widths whose multiples are tried, each rounded for itself; 16, 32, 64 times 0.6 are 10, 19, 38.
        parameters: number of parameters to come near to.
    """

    def size(factor: float) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build(widths(factor)).parameters())

    def widths(factor: float) -> tuple[int, ...]:
        return tuple(max(1, round(factor * width)) for width in base)

    low, high = 0.0, 1.0
    while size(high) < parameters:
        low, high = high, 2 * high
    while widths(low) != widths(high) and high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) < parameters else (low, middle)
    return widths(min(low, high, key=lambda factor: abs(size(factor) - parameters)))
