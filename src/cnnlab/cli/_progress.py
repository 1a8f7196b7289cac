"""How a training looks while it runs: a bar on a terminal, a line per epoch otherwise, JSON lines for machines.

Each is a generator that takes a stream of events and passes it on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from cnnlab.runs import event_values
from cnnlab.runs.folder import duration
from cnnlab.training import EpochDone, Event, FeaturesComputed, Finished, Started, StepDone


def show(events: Iterator[Event], console: Console, *, as_json: bool = False) -> Iterator[Event]:
    """Pass ``events`` on and show them on ``console`` in the way that fits it."""
    if as_json:
        yield from _json_lines(events)
    elif console.is_terminal:
        yield from _bar(events, console)
    else:
        yield from _lines(events, console)


def _json_lines(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if not isinstance(event, StepDone | FeaturesComputed):
            print(json.dumps(event_values(event), ensure_ascii=False), flush=True)
        yield event


def _lines(events: Iterator[Event], console: Console) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Started):
            _say_notes(event, console)
        elif isinstance(event, EpochDone):
            console.print(epoch_line(event), soft_wrap=True, highlight=False)
        yield event


def _bar(events: Iterator[Event], console: Console) -> Iterator[Event]:
    columns: list[str | ProgressColumn] = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[numbers]}"),
        _TimeLeft(),
    ]
    with Progress(*columns, console=console, refresh_per_second=8, expand=True, transient=True) as progress:
        task = progress.add_task("starting", total=None, numbers="")
        shown, seen, accuracy = 0.0, 0, ""
        for event in events:
            if isinstance(event, Started):
                _say_notes(event, console)
                total = event.epochs * event.steps_per_epoch
                begun = event.session.epoch * event.steps_per_epoch + event.session.step
                progress.update(task, total=total, completed=begun, description=f"epoch 1/{event.epochs}")
                progress.tasks[task].fields["begun"] = (begun, time.monotonic())
                epochs, per_epoch, since = event.epochs, event.steps_per_epoch, time.monotonic()
            elif isinstance(event, FeaturesComputed):
                numbers = f"{event.done:,} of {event.total:,} images"
                description = "features" if event.done < event.total else f"epoch 1/{epochs}"
                progress.update(task, description=description, numbers=numbers)
                progress.tasks[task].fields["begun"] = (begun, time.monotonic())
            elif isinstance(event, StepDone):
                seen += event.images
                now = time.monotonic()
                if now - shown > 0.12:  # reading the loss waits for a GPU; the eye needs no more than this
                    rate = seen / max(now - since, 1e-9)
                    progress.update(
                        task,
                        completed=(event.epoch - 1) * per_epoch + event.step,
                        description=f"epoch {event.epoch}/{epochs}",
                        numbers=f"loss {event.loss:.3f}{accuracy}  {rate:,.0f} images/s",
                    )
                    shown = now
            elif isinstance(event, EpochDone):
                accuracy = "" if math.isnan(event.val_accuracy) else f"  {event.split} {event.val_accuracy:.2%}"
                progress.update(task, completed=event.epoch * per_epoch)
                seen, since = 0, time.monotonic()
                if epochs <= 20 or event.epoch % max(1, epochs // 10) == 0 or event.epoch == epochs:
                    console.print(epoch_line(event), soft_wrap=True, highlight=False)
            elif isinstance(event, Finished):
                progress.stop()
            yield event


class _TimeLeft(ProgressColumn):
    """Time left at the mean speed of this sitting."""

    def render(self, task: Task) -> Text:
        begun, since = task.fields.get("begun", (0, 0.0))
        done = task.completed - begun
        if not task.total or done <= 0:
            return Text("")
        left = (time.monotonic() - since) / done * (task.total - task.completed)
        return Text(f"{duration(left)} left", style="cyan")


def _say_notes(event: Started, console: Console) -> None:
    for note in event.notes:
        console.print(f"  {note}", style="dim", highlight=False, soft_wrap=True, markup=False)
    skipped = event.session.data.skipped
    if skipped:
        console.print(f"  {len(skipped)} unreadable files are left out:", style="yellow")
        for file, reason in skipped[:10]:
            console.print(f"    {file}: {reason}", style="yellow", soft_wrap=True, markup=False)
        if len(skipped) > 10:
            console.print(f"    and {len(skipped) - 10} more; `cnnlab doctor` lists them all", style="yellow")


def epoch_line(event: EpochDone) -> str:
    """One line about an epoch."""
    parts = [
        f"epoch {event.epoch:>3}",
        f"train loss {event.train_loss:.4f} accuracy {event.train_accuracy:7.2%}",
    ]
    if not math.isnan(event.val_loss):
        parts.append(f"{event.split} loss {event.val_loss:.4f} accuracy {event.val_accuracy:7.2%}")
    parts += [f"lr {event.lr:.2e}", f"{event.images_per_second:,.0f} images/s", duration(event.seconds)]
    return "  ".join(parts)
