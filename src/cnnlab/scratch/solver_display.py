"""Displays of a Solver's training: a bar on a terminal, a line per epoch elsewhere, or the course's lines.

Each display is a generator that takes the stream of steps, shows them and passes them on.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cnnlab.console import TrainingBar, duration, worth_a_line


@dataclass(frozen=True)
class SolverStep:
    """The state of a training after an iteration.

    Attributes:
        iteration: number of iterations done; 1 after the first.
        epoch: number of epochs done.
        loss: loss of the iteration's minibatch, before its update.
        epoch_done: whether this was the last iteration of an epoch.
        epoch_loss: mean loss over the epoch that is done; NaN within an epoch.
        train_acc, val_acc: accuracies, 0..1, after the first iteration and each epoch; NaN when not measured.
    """

    iteration: int
    epoch: int
    loss: float
    epoch_done: bool
    epoch_loss: float = math.nan
    train_acc: float = math.nan
    val_acc: float = math.nan


@dataclass(frozen=True)
class RunLength:
    """The length of a training.

    Attributes:
        done: number of iterations that were done before.
        iterations: number of iterations of all epochs.
        epochs: number of epochs.
        batch_size: number of images of a minibatch.
    """

    done: int
    iterations: int
    epochs: int
    batch_size: int


def show(
    steps: Iterator[SolverStep], length: RunLength, verbose: bool | Literal["lines"], print_every: int
) -> Iterator[SolverStep]:
    """Return the stream ``steps``, each of which is shown as it passes.

    Args:
        steps: stream of steps.
        length: length of the training.
        verbose: ``True`` for a bar or a line per epoch, ``"lines"`` for the course's lines, ``False`` for silence.
        print_every: number of iterations from one of the course's lines to the next.
    """
    if not verbose:
        return steps
    if verbose == "lines":
        return _course_lines(steps, length, print_every)
    from rich.console import Console

    console = Console()
    # In a notebook rich draws through ipywidgets, and without them it draws nothing.
    can_draw = console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None)
    return _bar(steps, length, TrainingBar(console)) if can_draw else _epoch_lines(steps)


def _course_lines(steps: Iterator[SolverStep], length: RunLength, print_every: int) -> Iterator[SolverStep]:
    for step in steps:
        if (step.iteration - 1) % print_every == 0:
            print(f"(Iteration {step.iteration} / {length.iterations}) loss: {step.loss:f}", flush=True)
        accuracies = ("train acc", step.train_acc), ("val_acc", step.val_acc)
        measured = "; ".join(f"{name}: {value:f}" for name, value in accuracies if not math.isnan(value))
        if measured:
            print(f"(Epoch {step.epoch} / {length.epochs}) {measured}", flush=True)
        yield step


def _epoch_lines(steps: Iterator[SolverStep]) -> Iterator[SolverStep]:
    start = time.monotonic()
    for step in steps:
        if step.epoch_done:
            print(_epoch_line(step, time.monotonic() - start), flush=True)
            start = time.monotonic()
        yield step


def _bar(steps: Iterator[SolverStep], length: RunLength, bar: TrainingBar) -> Iterator[SolverStep]:
    with bar:
        bar.begin(length.iterations, length.done)
        start, before, accuracy = time.monotonic(), length.done, ""
        for step in steps:
            if not math.isnan(step.val_acc):
                accuracy = f"  val {step.val_acc:.2%}"
            if bar.due() or step.iteration == length.iterations:
                rate = (step.iteration - before) * length.batch_size / max(time.monotonic() - start, 1e-9)
                epoch = min(step.epoch + 1, length.epochs)
                numbers = f"loss {step.loss:.3f}{accuracy}  {rate:,.0f} images/s"
                bar.show(step.iteration, f"epoch {epoch}/{length.epochs}", numbers)
            if step.epoch_done:
                if worth_a_line(step.epoch, length.epochs):
                    bar.say(_epoch_line(step, time.monotonic() - start))
                start, before = time.monotonic(), step.iteration
            yield step


def _epoch_line(step: SolverStep, seconds: float) -> str:
    parts = [f"epoch {step.epoch:>3}", f"train loss {step.epoch_loss:.4f}"]
    if not math.isnan(step.train_acc):
        parts.append(f"accuracy {step.train_acc:7.2%}")
    if not math.isnan(step.val_acc):
        parts.append(f"val accuracy {step.val_acc:7.2%}")
    return "  ".join([*parts, duration(seconds)])
