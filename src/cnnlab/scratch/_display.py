"""How a Solver's training looks: a bar on a terminal, a line per epoch elsewhere, or the lines that the course prints.

Each is a generator that takes the stream of steps and passes it on.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cnnlab.console import TrainingBar, duration, worth_a_line

if TYPE_CHECKING:
    from cnnlab.scratch.solver import Solver, Step


def show(steps: Iterator[Step], solver: Solver) -> Iterator[Step]:
    """Pass ``steps`` on and show them as ``solver.verbose`` says."""
    if not solver.verbose:
        return steps
    if solver.verbose == "lines":
        return _course_lines(steps, solver)
    from rich.console import Console

    console = Console()
    # In a notebook rich draws through ipywidgets, and without them it draws nothing.
    drawn = console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None)
    return _bar(steps, solver, TrainingBar(console)) if drawn else _lines(steps, solver)


def _course_lines(steps: Iterator[Step], solver: Solver) -> Iterator[Step]:
    for step in steps:
        if (step.iteration - 1) % solver.print_every == 0:
            print(f"(Iteration {step.iteration} / {solver.num_iterations}) loss: {step.loss:f}", flush=True)
        accuracies = [
            f"{name} acc: {value:f}" if name == "train" else f"{name}_acc: {value:f}"
            for name, value in (("train", step.train_acc), ("val", step.val_acc))
            if not math.isnan(value)
        ]
        if accuracies:
            print(f"(Epoch {step.epoch} / {solver.num_epochs}) {'; '.join(accuracies)}", flush=True)
        yield step


def _lines(steps: Iterator[Step], solver: Solver) -> Iterator[Step]:
    began = time.monotonic()
    for step in steps:
        if step.epoch_done:
            print(_epoch_line(step, solver, time.monotonic() - began), flush=True)
            began = time.monotonic()
        yield step


def _bar(steps: Iterator[Step], solver: Solver, bar: TrainingBar) -> Iterator[Step]:
    with bar:
        bar.begin(solver.num_iterations, solver.iteration)
        began, before, accuracy = time.monotonic(), solver.iteration, ""
        for step in steps:
            if not math.isnan(step.val_acc):
                accuracy = f"  val {step.val_acc:.2%}"
            if bar.due() or step.iteration == solver.num_iterations:
                rate = (step.iteration - before) * solver.batch_size / max(time.monotonic() - began, 1e-9)
                epoch = min(step.iteration // solver.iterations_per_epoch + 1, solver.num_epochs)
                numbers = f"loss {step.loss:.3f}{accuracy}  {rate:,.0f} images/s"
                bar.show(step.iteration, f"epoch {epoch}/{solver.num_epochs}", numbers)
            if step.epoch_done:
                if worth_a_line(step.epoch, solver.num_epochs):
                    bar.say(_epoch_line(step, solver, time.monotonic() - began))
                began, before = time.monotonic(), step.iteration
            yield step


def _epoch_line(step: Step, solver: Solver, seconds: float) -> str:
    losses = solver.loss_history[-solver.iterations_per_epoch :]
    parts = [f"epoch {step.epoch:>3}", f"train loss {sum(losses) / len(losses):.4f}"]
    if not math.isnan(step.train_acc):
        parts.append(f"accuracy {step.train_acc:7.2%}")
    if not math.isnan(step.val_acc):
        parts.append(f"val accuracy {step.val_acc:7.2%}")
    return "  ".join([*parts, duration(seconds)])
