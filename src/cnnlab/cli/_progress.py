"""The display of a training while it runs: a bar on a terminal, a line per epoch otherwise, JSON lines for machines.

Each is a generator that takes a stream of events and passes it on.
"""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from cnnlab.cli import OTHERS
from cnnlab.console import TrainingBar, duration, worth_a_line
from cnnlab.hardware import threads_note
from cnnlab.runs import event_values
from cnnlab.training import EpochDone, Event, FeaturesComputed, Finished, Started, StepDone, distributed


def show(
    events: Iterator[Event],
    console: Console,
    *,
    as_json: bool = False,
    line: Callable[[Event], str] | None = None,
    values: Callable[[Event], dict[str, Any]] = event_values,
) -> Iterator[Event]:
    """Pass ``events`` on and show them on ``console``: as a bar, as lines, or as JSON.

    Args:
        events: the stream.
        console: the console of the bar and the lines; JSON goes to stdout.
        as_json: whether to print JSON.
        line: function that returns one line about the end of an epoch, and ``""`` for all other events;
            :func:`epoch_line` when ``None``.
        values: function that returns the plain values of an event, for JSON.
    """
    line = line or epoch_line
    if as_json:
        yield from _json_lines(events, values)
    elif console.is_terminal:
        yield from _bar(events, console, line)
    else:
        yield from _lines(events, console, line)


def _json_lines(events: Iterator[Event], values: Callable[[Event], dict[str, Any]]) -> Iterator[Event]:
    for event in events:
        if not isinstance(event, StepDone | FeaturesComputed):
            print(json.dumps(values(event), ensure_ascii=False), flush=True)
        yield event


def _lines(events: Iterator[Event], console: Console, line: Callable[[Event], str]) -> Iterator[Event]:
    """Print a line per epoch, at most one a second; the last epoch always gets one."""
    printed, pending = -math.inf, ""

    def print_pending() -> None:
        nonlocal printed, pending
        if pending:
            console.print(pending, soft_wrap=True, highlight=False)
            printed, pending = time.monotonic(), ""

    try:
        for event in events:
            if isinstance(event, Started):
                _say_notes(event, console)
            elif text := line(event):
                pending = text
                if time.monotonic() - printed >= 1:
                    print_pending()
            elif isinstance(event, Finished):
                print_pending()
            yield event
    finally:
        print_pending()


def _bar(events: Iterator[Any], console: Console, line: Callable[[Event], str]) -> Iterator[Event]:
    with TrainingBar(console) as bar:
        images, accuracy = 0, ""
        for event in events:
            if isinstance(event, Started):
                _say_notes(event, console)
                total, begun = _length(event)
                bar.begin(total, begun)
                bar.show(begun, f"epoch 1/{event.epochs}", "")
                epochs, per_epoch, since = event.epochs, event.steps_per_epoch, time.monotonic()
            elif isinstance(event, FeaturesComputed):
                numbers = f"{event.done:,} of {event.total:,} images"
                bar.begin(total, begun)
                bar.show(begun, "features" if event.done < event.total else f"epoch 1/{epochs}", numbers)
            elif isinstance(event, StepDone):
                images += event.images
                if bar.due():
                    rate = images / max(time.monotonic() - since, 1e-9)
                    numbers = f"{event.numbers}{accuracy}  {rate:,.0f} images/s"
                    session = event.session
                    if session.clock:
                        bar.show(round(total * session.time_share), f"epoch {event.epoch}", numbers)
                    else:
                        bar.show((event.epoch - 1) * per_epoch + event.step, f"epoch {event.epoch}/{epochs}", numbers)
            elif text := line(event):
                if isinstance(event, EpochDone) and not math.isnan(event.val_accuracy):
                    accuracy = f"  {event.split} {event.val_accuracy:.2%}"
                images, since = 0, time.monotonic()
                if worth_a_line(event.epoch, epochs):
                    bar.say(text)
            else:
                bar.stop()
            yield event


def _length(event: Started) -> tuple[int, int]:
    """Return the length of the bar and how much of it was done earlier: in steps, or in shares of the time."""
    session = event.session
    if session.clock:
        return 1000, 0
    return event.epochs * event.steps_per_epoch, session.epoch * event.steps_per_epoch + session.step


def _say_notes(event: Started, console: Console) -> None:
    session = event.session
    keeps_threads = session.device.type == "cpu" and session.clock is None and distributed.world() == 1
    for note in filter(None, (*event.notes, threads_note(OTHERS) if keeps_threads else "")):
        console.print(f"  {note}", style="dim", highlight=False, soft_wrap=True, markup=False)
    skipped = getattr(session.data, "skipped", None)  # captions have none
    if skipped:
        console.print(f"  {len(skipped)} unreadable files are left out:", style="yellow")
        for file, reason in skipped[:10]:
            console.print(f"    {file}: {reason}", style="yellow", soft_wrap=True, markup=False)
        if len(skipped) > 10:
            command = shlex.join(["cnnlab", "doctor", session.recipe.data, "--json"])
            console.print(
                f"    and {len(skipped) - 10} more; `{command}` lists them all", style="yellow", soft_wrap=True
            )


def epoch_line(event: Event) -> str:
    """Return one line about the end of an epoch, and ``""`` for another event."""
    if not isinstance(event, EpochDone):
        return ""
    parts = [f"epoch {event.epoch:>3}", f"train loss {event.train_loss:.4f} accuracy {event.train_accuracy:7.2%}"]
    if not math.isnan(event.val_loss):
        parts.append(f"{event.split} loss {event.val_loss:.4f} accuracy {event.val_accuracy:7.2%}")
    parts += [f"lr {event.lr:.2e}", f"{event.images_per_second:,.0f} images/s", duration(event.seconds)]
    return "  ".join(parts)
