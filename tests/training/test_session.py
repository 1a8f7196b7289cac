"""The position of a training: its sums do not depend on when the steps are counted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cnnlab.training.session import COUNTED_AT_ONCE, Position

Steps = list[tuple[Tensor, Tensor, Tensor]]


def steps_of(sizes: list[int], mixed: bool) -> Steps:
    """Losses, logits and targets of steps with so many images each."""
    generator = torch.Generator().manual_seed(len(sizes))
    steps = []
    for size in sizes:
        logits = torch.randn(size, 3, generator=generator)
        targets = torch.randint(3, (size,), generator=generator)
        targets = torch.rand(size, 3, generator=generator).softmax(1) if mixed else targets
        steps.append((torch.rand((), generator=generator), logits, targets))
    return steps


def new_position() -> Position:
    return Position(torch.zeros(3, dtype=torch.float64))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.booleans(), st.sets(st.integers(0, 12)))
def test_sums_are_those_of_the_steps_whenever_they_are_read(sizes: list[int], mixed: bool, looks: set[int]) -> None:
    read, unread = new_position(), new_position()
    loss_sum, correct = 0.0, 0
    for number, (loss, logits, targets) in enumerate(steps_of(sizes, mixed)):
        for position in (read, unread):
            position.add(loss, logits, targets)
        loss_sum += float(loss) * len(targets)
        truth = targets.argmax(1) if mixed else targets
        correct += sum(int(row.argmax()) == int(label) for row, label in zip(logits, truth, strict=True))
        if number in looks:
            assert read.sums.tolist() == [loss_sum, correct, sum(sizes[: number + 1])]
    assert torch.equal(read.sums, unread.sums)  # to the last bit: a resumed training reports the same numbers
    assert unread.sums.tolist() == [loss_sum, correct, sum(sizes)]


def test_few_outputs_are_kept_waiting() -> None:
    """Of a large batch none is kept, so that the memory of many classes is that of about a thousand images."""
    position = new_position()
    for size, kept in ((COUNTED_AT_ONCE, 0), (COUNTED_AT_ONCE // 2, 1), (COUNTED_AT_ONCE // 2, 0)):
        position.add(*steps_of([size], mixed=False)[0])
        assert len(position._waiting) == kept


def test_a_position_is_restored_with_its_sums() -> None:
    position, later = new_position(), new_position()
    position.epoch, position.step, position.seconds = 2, 5, 7.5
    for step in steps_of([4, 4], mixed=False):
        position.add(*step)
        later.add(*step)
    assert set(position.facts()) == {"epoch", "step", "seconds", "epoch_seconds", "evaluated_epoch"}
    later.restore(position.facts(), position.sums)
    assert later.facts() == position.facts()
    assert torch.equal(later.sums, position.sums)  # its own waiting steps are gone
    later.next_epoch(1.0)
    assert later.sums.tolist() == [0, 0, 0]
    assert (later.epoch, later.step) == (3, 0)
    assert later.seconds == pytest.approx(8.5)
