"""Random numbers at a position: the same for the same one, on every kind of device, and none are taken away."""

from __future__ import annotations

import pytest
import torch

from cnnlab.training import seeding
from cnnlab.training.seeding import seeded


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_numbers_are_those_of_the_position(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.default_generator
    if device == "mps":
        generator = torch.Generator()  # in the place of that of a Mac
        monkeypatch.setattr(seeding, "_MpsGenerator", generator)
    before = generator.get_state()

    def numbers(*position: int) -> list[float]:
        with seeded(torch.device(device), *position):
            drawn: list[float] = torch.rand(4, generator=generator).tolist()
        return drawn

    assert numbers(1, 2) == numbers(1, 2)
    assert len({tuple(numbers(*position)) for position in [(1, 2), (2, 1), (1, 3), (0, 0)]}) == 4
    assert torch.equal(generator.get_state(), before)
