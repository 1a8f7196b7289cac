"""The display of a study while it runs: a line per variant on a terminal, a line per training otherwise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cnnlab.console import duration, percent, table
from cnnlab.experiments.bench import Diverged
from cnnlab.experiments.study import Study
from cnnlab.training import EpochDone, Event, Finished, Started, StepDone

REFRESH_SECONDS = 0.2


class StudyDisplay:
    """All variants of a study side by side while they train.

    Args:
        study: the study.
        seeds: the seeds that are to be measured.
        console: the terminal or file to write to.
    """

    def __init__(self, study: Study, seeds: Sequence[int], console: Console) -> None:
        self.study, self.seeds, self.console = study, seeds, console
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._now: dict[str, tuple[str, str, str]] = {}
        self._reached: dict[str, list[float]] = {}
        self._diverged: dict[str, int] = {}
        self._seed: int | None = None
        self._since = self._drawn = time.monotonic()
        self._begun = 0  # seeds that were begun here

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def take(self, seed: int, variant: str, event: Event) -> None:
        """Show an event of the training of a variant."""
        if seed != self._seed:
            self._seed, self._now, self._begun = seed, {}, self._begun + 1
        if isinstance(event, Started):
            self._now[variant] = (f"0/{event.epochs}", "", "")
        elif isinstance(event, StepDone) and self._live and self._due():
            total = self._now.get(variant, ("", "", ""))[0].partition("/")[2]
            self._now[variant] = (f"{event.epoch - 1}/{total}", f"{event.loss:.4f}", self._accuracy(variant))
        elif isinstance(event, EpochDone):
            epochs = event.session.recipe.epochs
            self._now[variant] = (f"{event.epoch}/{epochs}", f"{event.train_loss:.4f}", percent(event.val_accuracy, 2))
        elif isinstance(event, Finished):
            self._reached.setdefault(variant, []).append(event.accuracy)
            if not self._live:
                self._say(f"seed {seed}  {variant}: accuracy {event.accuracy:.2%}, loss {event.loss:.4f}")
        elif isinstance(event, Diverged):
            self._now[variant] = ("diverged", "", "")
            self._diverged[variant] = self._diverged.get(variant, 0) + 1
            if not self._live:
                self._say(f"seed {seed}  {variant}: diverged. {event.message}")
        if self._live and self._due():
            self._live.update(self._table())
            self._drawn = time.monotonic()

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _due(self) -> bool:
        return time.monotonic() - self._drawn > REFRESH_SECONDS

    def _accuracy(self, variant: str) -> str:
        return self._now.get(variant, ("", "", ""))[2]

    def _table(self) -> Table:
        rows = [
            (variant, *self._now.get(variant, ("", "", "")), self._so_far(variant)) for variant in self.study.variants
        ]
        position = self.seeds.index(self._seed) + 1 if self._seed in self.seeds else 0
        lines = table(("variant", ">epoch", ">training loss", ">test accuracy", ">over the seeds so far"), rows)
        after = duration(time.monotonic() - self._since)
        lines.title = f"seed {position} of {len(self.seeds)}, after {after}{self._left(position)}"
        lines.title_justify = "left"
        return lines

    def _left(self, position: int) -> str:
        if self._begun < 2:
            return ""
        seconds = (time.monotonic() - self._since) / (self._begun - 0.5) * (len(self.seeds) - position + 0.5)
        return f", about {duration(seconds)} left"

    def _so_far(self, variant: str) -> str:
        reached, diverged = self._reached.get(variant, []), self._diverged.get(variant, 0)
        lost = f", {diverged} diverged" if diverged else ""
        if len(reached) < 2:
            return percent(reached[0], 2) + lost if reached else lost.removeprefix(", ")
        mean, std = 100 * statistics.fmean(reached), 100 * statistics.stdev(reached)
        return f"{mean:.2f} ± {std:.2f}% (n = {len(reached)}{lost})"
