"""The shared part of ``train``, ``resume`` and ``extend``: run a training to its end, show it, print the next steps."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from cnnlab.console import duration

if TYPE_CHECKING:
    from cnnlab.runs import Recorder
    from cnnlab.training import Event


def run_to_end(events: Iterator[Event], recorder: Recorder, tensorboard: bool, as_json: bool) -> None:
    """Run the stream to its end through recorder and display, then print the result and the next steps."""
    from rich.console import Console

    from cnnlab.cli._progress import show
    from cnnlab.runs import open_run
    from cnnlab.training import Finished, Started, distributed

    console = Console(stderr=True)
    interrupt = Interrupt()
    recorder.stop = interrupt.asked
    stream: Iterator[Any] = interrupt.watch(recorder.record(events), Started)
    if distributed.rank() != 0:
        for _ in stream:
            pass
        distributed.stop()
        if recorder.interrupted:
            raise typer.Exit(interrupt.exit_code)
        return
    if tensorboard:
        from cnnlab.runs.tensorboard import write_tensorboard

        stream = write_tensorboard(stream, recorder)
    finished: Finished | None = None
    for event in show(stream, console, as_json=as_json):
        if isinstance(event, Finished):
            finished = event
    distributed.stop()
    assert recorder.run is not None
    run = open_run(recorder.run.path)
    if finished is None:
        epochs = run.summary.get("epochs_done", 0)
        typer.echo(
            f"Stopped after {epochs} epochs; saved. Go on with: cnnlab resume {shlex.quote(str(run.path))}", err=True
        )
        raise typer.Exit(interrupt.exit_code)
    from cnnlab.runs.report import next_steps  # matplotlib comes with it: not before the first step

    report = run.report(finished.session.data)
    if as_json:
        import json

        typer.echo(json.dumps({"event": "Report", "run": str(run.path), "report": str(report)}))
        return
    weights = f", weights of epoch {finished.kept_epoch}" if run.summary.get("selected_on") else ""
    augmented = "" if finished.tta_accuracy is None else f", {finished.tta_accuracy:.2%} with test-time augmentation "
    typer.echo(
        f"{run.recipe.model} on {run.recipe.data}: {finished.split} accuracy {finished.accuracy:.2%}{augmented or ' '}"
        f"({len(finished.labels):,} images{weights}), trained in {duration(finished.seconds)}"
    )
    typer.echo(f"report: {report}")
    typer.echo("Try next:", err=True)
    for command in next_steps(run):
        typer.echo(f"  {command}", err=True)


class Interrupt:
    """Ctrl-C and SIGTERM: before training has started and at the second time they stop at once, else after the step."""

    def __init__(self) -> None:
        self.pressed = self.started = False

    def asked(self) -> bool:
        """Whether training is to stop after this step."""
        return self.pressed

    @property
    def exit_code(self) -> int:
        """The exit code of a training that was stopped: 130.

        It is 0 where another machine was interrupted and torchrun is to start processes anew after a failure: it would
        start this one, and wait in vain for those of the other machine.
        """
        anew = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
        return 0 if anew and not self.pressed else 130

    def watch(self, events: Iterator[Any], *first: type) -> Iterator[Any]:
        """Pass ``events`` on and catch the signals meanwhile; an event of ``first`` says that training has started."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._note) for number in signals}
        try:
            for event in events:
                self.started = self.started or isinstance(event, first)
                yield event
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.pressed or not self.started:
            raise KeyboardInterrupt
        self.pressed = True
        print("\nStopping after this step ... (Ctrl-C again: at once, without saving)", file=sys.stderr)
