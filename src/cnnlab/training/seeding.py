"""Random numbers as a pure function of the seed and the position in a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def seeded(device: torch.device, *position: int) -> Iterator[None]:
    """Draw torch's random numbers as a pure function of ``position``; the caller's random state is left as it was.

    The generators are set one by one: ``torch.manual_seed`` formats a stack trace on every call, which is half a
    millisecond in each step.
    """
    seed = 0
    for number in position:
        seed = _mixed(seed ^ number)
    generators: list[Any] = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # before, there are no generators
        generators.append(torch.cuda.default_generators[device.index or 0])
    elif device.type == "mps":
        generators.append(_MpsGenerator)
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


class _MpsGenerator:
    """The random numbers of MPS, whose generator torch gives no public name."""

    get_state = staticmethod(torch.mps.get_rng_state)
    set_state = staticmethod(torch.mps.set_rng_state)
    manual_seed = staticmethod(torch.mps.manual_seed)


def _mixed(number: int) -> int:
    """One step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014, figure 15)."""
    number = (number + 0x9E3779B97F4A7C15) % 2**64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31
