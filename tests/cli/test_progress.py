"""How a training looks in a log: few lines for short epochs, and always the last."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from cnnlab.cli import _progress
from cnnlab.hardware import OtherPrograms
from cnnlab.training import EpochDone, Event, Started
from cnnlab.training.clock import Clock


def epochs(count: int) -> Iterator[Event]:
    for epoch in range(1, count + 1):
        yield EpochDone(
            session=Any, epoch=epoch, step=epoch, lr=0.1, train_loss=1.0, train_accuracy=0.5, split="val", val_loss=1.0,
            val_accuracy=0.5, seconds=0.25, images_per_second=100.0, is_best=True,
        )  # type: ignore[arg-type]  # fmt: skip


def numbers_of_lines(events: Iterator[Event], seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Show ``events`` that come every ``seconds`` on something that is no terminal; the epochs that got a line."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    file = io.StringIO()
    for _ in _progress.show(events, Console(file=file, width=200)):
        clock.now += seconds
    return [int(line.split()[1]) for line in file.getvalue().splitlines()]


def test_a_log_gets_a_line_a_second_and_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers_of_lines(epochs(10), 0.25, monkeypatch) == [1, 5, 9, 10]


def test_long_epochs_get_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers_of_lines(epochs(4), 1.5, monkeypatch) == [1, 2, 3, 4]


def test_what_is_cut_off_shows_its_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Event]:
        yield from epochs(3)
        raise RuntimeError("diverged")

    file = io.StringIO()
    with pytest.raises(RuntimeError):
        list(_progress.show(broken(), Console(file=file, width=200)))
    assert [int(line.split()[1]) for line in file.getvalue().splitlines()] == [1, 3]


@pytest.mark.parametrize(
    ("device", "clock", "said"), [("cpu", None, True), ("cpu", Clock(60), False), ("cuda", None, False)]
)
def test_a_training_that_keeps_its_threads_says_when_others_need_the_cores(
    device: str, clock: Clock | None, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OtherPrograms, "cores", lambda self: 1.0)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    session: Any = SimpleNamespace(device=torch.device(device), clock=clock, data=None)
    started = Started(session, epochs=1, steps_per_epoch=1, parameters=1, notes=("data: digits",))
    file = io.StringIO()
    list(_progress.show(iter([started]), Console(file=file, width=200)))
    assert "data: digits" in file.getvalue()
    assert ("OMP_NUM_THREADS=1" in file.getvalue()) is said
