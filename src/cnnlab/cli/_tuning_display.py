"""The display of a tuning: a bar over all trials on a terminal, a line per trial; its table and last lines."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console

from cnnlab.console import TrainingBar, duration, percent, table
from cnnlab.experiments.tuning.report import Confirmation, mean_and_std
from cnnlab.experiments.tuning.search import (
    Opened,
    Step,
    TrialDone,
    TrialEvent,
    Tuned,
    Tuning,
    Waiting,
)
from cnnlab.experiments.tuning.space import SearchSpace
from cnnlab.experiments.tuning.trials import TrialRow
from cnnlab.training import Event, Started, StepDone

if TYPE_CHECKING:
    from rich.table import Table


class _Display:
    """Lines, and on a terminal a bar below them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = TrainingBar(console) if console.is_terminal and not console.quiet else None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def say(self, line: str) -> None:
        """Print a line."""
        if self.bar:
            self.bar.say(line)
        else:
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def move(self, event: Event, training: str, best: TrialRow | None = None) -> None:
        """Move the bar; ``training`` says which of how many trainings it shows."""
        if self.bar is None:
            return
        if isinstance(event, Started):
            self.bar.begin(event.epochs * event.steps_per_epoch)
            self.bar.show(0, f"{training} epoch 1/{event.epochs}", "")
        elif isinstance(event, StepDone) and self.bar.due():
            session = event.session
            steps = (event.epoch - 1) * len(session.train_loader) + event.step
            numbers = f"loss {event.loss:.3f}" + (f"  best {best.accuracy:.2%}" if best else "")
            self.bar.show(steps, f"{training} epoch {event.epoch}/{session.recipe.total_epochs}", numbers)


def show_search(steps: Iterator[Step], tuning: Tuning, console: Console) -> Generator[Step, None, None]:
    """Pass ``steps`` on and show them on ``console``."""
    waits = False
    best: TrialRow | None = None
    done = 0
    with _Display(console) as display:
        for step in steps:
            if isinstance(step, Opened):
                done = step.done
                for line in _opening(step, tuning):
                    display.say(line)
            elif isinstance(step, TrialEvent):
                display.move(step.event, f"trial {done + 1}/{tuning.total}", best)
            elif isinstance(step, TrialDone):
                best, done = step.best, step.done
                display.say(trial_line(step, tuning.total))
            elif isinstance(step, Waiting) and not waits:
                display.say(f"waiting for other processes; trials running: {step.running}")
            waits = isinstance(step, Waiting)
            yield step


def _opening(step: Opened, tuning: Tuning) -> list[str]:
    space = tuning.space
    lines = [f"{tuning.recipe.model} on {tuning.recipe.data}: {tuning.sampler} over {', '.join(space.varied)}"]
    lines += [f"  {note}" for note in step.notes]
    if tuning.total < tuning.trials:
        lines.append(f"  the grid has {tuning.total} combinations")
    if step.done:
        lines.append(f"  trials done before: {step.done} of {tuning.total}")
    if step.repeated:
        lines.append(f"  interrupted and repeated: trial {', '.join(map(str, step.repeated))}")
    return lines


def trial_line(step: TrialDone, total: int) -> str:
    """Return one line about a trial that is over."""
    row, best = step.row, step.best
    outcome = {
        "completed": f"val accuracy {percent(row.accuracy, 2):>7}",
        "pruned": f"stopped early after {row.epochs} epochs at {percent(row.accuracy, 2)}",
        "failed": "failed",
        "interrupted": "taken over by another process",
    }[row.state]
    parts = [f"trial {row.number:>3} ({step.done}/{total})", outcome, values_text(row.values), duration(row.seconds)]
    if best is not None:
        parts.append("best so far" if best.number == row.number else f"best {best.accuracy:.2%} (trial {best.number})")
    return "  ".join(parts) + (f"\n  {row.reason}" if row.reason else "")


def values_text(values: dict[str, Any]) -> str:
    """Return the values of a trial as they are written on the command line, numbers in three digits."""
    return " ".join(f"{key}={short(value)}" for key, value in values.items())


def short(value: Any) -> str:
    """Return a value, a number with a fraction in three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def trials_table(tuned: Tuned, space: SearchSpace, count: int) -> Table:
    """Return the best ``count`` trials as a table, then those that failed."""
    done = [row for row in tuned.rows if row.is_done]
    order = {"completed": 0, "pruned": 1, "failed": 2}
    ranked = sorted(done, key=lambda row: (order[row.state], -(row.accuracy or 0), row.number))[:count]
    titles = (">trial", ">val accuracy", "state", ">epochs", ">time", *(f">{key}" for key in space.varied))
    return table(titles, (
        (row.number, percent(row.accuracy, 2), row.state, row.epochs, duration(row.seconds),
         *(short(row.values.get(key, "")) for key in space.varied))
        for row in ranked
    ))  # fmt: skip


def show_confirmation(
    events: Iterator[Event | Confirmation], count: int, console: Console, done: int = 0
) -> Iterator[Event | Confirmation]:
    """Pass the trainings with new seeds on and show them: a bar on a terminal, a line for each.

    Args:
        events: the events of the trainings, and a result after each.
        count: number of new seeds.
        console: where they are shown.
        done: number of seeds that an earlier call has measured.
    """
    number = done + 1
    with _Display(console) as display:
        for event in events:
            if isinstance(event, Confirmation):
                number += 1
                test = event.test_accuracy
                line = f"seed {event.seed}  val accuracy {percent(event.val_accuracy, 2)}"
                display.say(line if test is None else f"{line}  test accuracy {percent(test, 2)}")
            else:
                display.move(event, f"new seed {number}/{count}")
            yield event


def confirmation_lines(results: Sequence[Confirmation]) -> list[str]:
    """Return mean ± standard deviation over the new seeds, a line per split."""
    lines = []
    for split in ("val", "test"):
        values = [getattr(one, f"{split}_accuracy") for one in results]
        if summary := mean_and_std(values):
            mean, std = summary
            spread = "" if std is None else f" ± {100 * std:.2f}"
            lines.append(f"{split} accuracy with new seeds: {100 * mean:.2f}{spread} % (n = {len(results)})")
    return lines
