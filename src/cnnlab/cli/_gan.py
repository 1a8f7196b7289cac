"""The shared part of ``gan`` and ``resume``: run the training of a GAN to its end, show it, measure it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from cnnlab.cli._output import print_table
from cnnlab.console import duration, percent, table

if TYPE_CHECKING:
    from pathlib import Path

    from cnnlab.data import ImageData
    from cnnlab.generate.gans.folder import GanFolder
    from cnnlab.generate.gans.recipe import GanRecipe
    from cnnlab.generate.gans.recorder import GanRecorder
    from cnnlab.runs import Classifier
    from cnnlab.training import Event


def train_new(recipe: GanRecipe, out: Path | None, judge: Classifier | None, as_json: bool) -> None:
    """Train a GAN into a new run folder and measure it."""
    from cnnlab.generate.gans.assessment import check_judge
    from cnnlab.generate.gans.loop import fit_gan
    from cnnlab.generate.gans.recorder import GanRecorder
    from cnnlab.generate.gans.session import prepare_gan

    session = prepare_gan(recipe)
    if judge:
        check_judge(judge, session.data)  # not only after the training
    train_gan(fit_gan(recipe, session=session), GanRecorder(out), judge, as_json)


def measure_again(
    folder: str, judge: Classifier | None, place: str | None, data_dir: Path | None, as_json: bool, device: str
) -> None:
    """Measure the generator of a run.

    Args:
        folder: the run folder.
        judge: a classifier of the same data; without one only copying is measured.
        place: the path or name of the data, where it is not that of the recipe.
        data_dir: the folder in which the data is looked for, where it is not that of the recipe.
        as_json: whether the measures are printed as JSON.
        device: the device on which the images are generated.
    """
    from cnnlab.data import load_data
    from cnnlab.generate.gans.folder import GanFolder

    run = GanFolder(folder)
    recipe = run.recipe
    data = None
    if place or data_dir:
        data = load_data(place or recipe.data, data_dir=data_dir or recipe.data_dir, seed=recipe.seed)
    measure_gan(run, judge, data, as_json, device)


def train_gan(events: Iterator[Event], recorder: GanRecorder, judge: Classifier | None, as_json: bool) -> None:
    """Run the stream to its end through recorder and display, then measure the generator and print the result."""
    from rich.console import Console

    from cnnlab.cli._progress import show
    from cnnlab.cli._training import Interrupt
    from cnnlab.generate.gans.events import GanFinished
    from cnnlab.generate.gans.recorder import gan_event_values
    from cnnlab.training import Started

    interrupt = Interrupt()
    recorder.stop = interrupt.asked
    stream = interrupt.watch(recorder.record(events), Started)
    finished: GanFinished | None = None
    for event in show(stream, Console(stderr=True), as_json=as_json, line=gan_epoch_line, values=gan_event_values):
        if isinstance(event, GanFinished):
            finished = event
    assert recorder.run is not None
    run = recorder.run
    if finished is None:
        epochs = run.summary.get("epochs_done", 0)
        typer.echo(
            f"Stopped after {epochs} epochs; saved. Go on with: cnnlab resume {shlex.quote(str(run.path))}", err=True
        )
        raise typer.Exit(130)
    if not as_json:
        name = run.recipe.name or run.recipe.networks
        typer.echo(f"{name} on {run.recipe.data}: trained in {duration(finished.seconds)}")
        typer.echo(f"samples: {run.samples_file(run.recipe.epochs)}, {run.figures / 'samples.gif'}")
    measure_gan(run, judge, finished.session.data, as_json)


def measure_gan(
    run: GanFolder, judge: Classifier | None, data: ImageData | None, as_json: bool, device: str = "auto"
) -> None:
    """Measure the generator of a run and print the measures."""
    from cnnlab.generate.gans.assessment import assess

    typer.echo("measuring the generator ...", err=True)
    values = assess(run, judge, data=data, device=device)
    if as_json:
        typer.echo(json.dumps({"event": "Measures", "run": str(run.path), **values}))
        return
    print_table(table(("measure", "value"), measure_rows(values)))
    typer.echo(f"report: {run.report_file}")
    if judge is None:
        path = shlex.quote(str(run.path))
        typer.echo(f"Classes and distances need a classifier of the same data: cnnlab gan {path} --judge RUN", err=True)


def measure_rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the measures of a generator in words: the name and the value of each."""
    rows = [("samples", f"{values['samples']:,}")]
    if "copied" in values:
        farther = f"the median sample is farther from it than {values['median_percentile']:.0f}% of held-out images"
        copies = f"{percent(values['copied'], 2)}, by comparison with {values['held_out']:,} held-out images"
        rows += [("copies of training images", copies), ("nearest training image", farther)]
    if "effective_classes" in values:
        counts: dict[str, int] = values["class_counts"]
        frequent = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
        missing = ", ".join(name for name in counts if not counts[name])
        rows += [
            ("effective classes", f"{values['effective_classes']:.2f} of {len(counts)}, counted by {values['judge']}"),
            ("samples of each class", ", ".join(f"{name}: {counts[name]:,}" for name in frequent)),
        ]
        rows += [("classes never made", missing)] if missing else []
        for key, title in (("frechet", "Fréchet distance"), ("kernel", "kernel distance")):
            held_out = values.get(f"{key}_held_out")
            other = "" if held_out is None else f"; held-out images {held_out:.4g}"
            rows.append((title, f"{values[key]:.4g}{other}"))
    return rows


def gan_epoch_line(event: Event) -> str:
    """Return one line about the end of an epoch of a GAN, and ``""`` for another event."""
    from cnnlab.generate.gans.events import GanEpoch

    if not isinstance(event, GanEpoch):
        return ""
    return (
        f"epoch {event.epoch:>3}  loss discriminator {event.discriminator_loss:.3f} generator "
        f"{event.generator_loss:.3f}  {event.images_per_second:,.0f} images/s  {duration(event.seconds)}"
    )
