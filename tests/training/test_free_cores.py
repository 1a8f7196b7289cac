"""A training by the clock uses as many threads as other programs leave cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest
import torch

from cnnlab.data import ImageData
from cnnlab.hardware import OtherPrograms
from cnnlab.training import Recipe, StepDone, fit
from cnnlab.training.free_cores import LOOK_EVERY, FreeCores
from tests.helpers import tiny_recipe

FOLLOWS = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells which cores are free")


@pytest.fixture(autouse=True)
def eight_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight cores and as many threads, whatever this machine has."""
    before = torch.get_num_threads()
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


def others_keep(busy: list[float | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other programs keep so many cores busy, one number for each look; the last one from then on."""
    monkeypatch.setattr(OtherPrograms, "cores", lambda self: busy.pop(0) if len(busy) > 1 else busy[0])


class Watch:
    """The time of :class:`FreeCores`, which passes when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("cnnlab.training.free_cores.time.perf_counter", lambda: self.now)


@pytest.mark.parametrize(
    ("busy", "threads"),
    [(0.0, 8), (0.4, 8), (0.6, 7), (1.0, 7), (3.2, 5), (7.4, 1), (8.0, 1), (9.5, 1), (None, 8)],
)
def test_as_many_threads_as_cores_are_left(busy: float | None, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    cores = FreeCores()
    others_keep([busy], monkeypatch)
    watch.now += LOOK_EVERY
    with cores:
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 8


def test_never_more_threads_than_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    watch = Watch(monkeypatch)
    others_keep([1.0, 6.0, 0.0], monkeypatch)
    counts = []
    with FreeCores() as cores:
        for _ in range(3):
            watch.now += LOOK_EVERY
            cores.use()
            counts.append(torch.get_num_threads())
    assert counts == [3, 2, 3]


def test_it_looks_once_a_second_and_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    cores = FreeCores()
    others_keep([2.0, 5.0], monkeypatch)
    with cores:
        assert torch.get_num_threads() == 8  # nothing can be said about so short a time
    watch.now += LOOK_EVERY
    with cores:
        assert torch.get_num_threads() == 6
    assert torch.get_num_threads() == 8
    with cores:
        assert torch.get_num_threads() == 6  # at once: that is the last that is known
        watch.now += 0.9 * LOOK_EVERY
        cores.use()
        assert torch.get_num_threads() == 6
        watch.now += 0.1 * LOOK_EVERY
        cores.use()
        assert torch.get_num_threads() == 3


def threads_of_steps(recipe: Recipe, data: ImageData) -> list[int]:
    """The number of threads in the first five steps of a training that is left then."""
    with closing(fit(recipe, data=data)) as events:
        steps = (event for event in events if isinstance(event, StepDone))
        return [torch.get_num_threads() for _ in islice(steps, 5)]


@FOLLOWS
@pytest.mark.parametrize(("recipe", "threads"), [({"minutes": 1}, 2), ({"epochs": 1}, 8)])
def test_only_a_training_by_the_clock_follows(
    recipe: dict[str, int], threads: int, monkeypatch: pytest.MonkeyPatch, bars_data: ImageData
) -> None:
    monkeypatch.setattr("cnnlab.training.free_cores.FIRST_LOOK", 0.0)
    others_keep([6.0], monkeypatch)
    assert threads_of_steps(tiny_recipe(**recipe), bars_data) == [threads] * 5
    assert torch.get_num_threads() == 8
