"""``cnnlab train``: train a network into a run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli import STARTED
from cnnlab.cli._options import (
    DataDir,
    DeviceOfRecipe,
    FileColumn,
    Json,
    LabelColumn,
    Layout,
    SeedOfRecipe,
    Tensorboard,
    absolute_weights,
    reading_of,
)
from cnnlab.cli._output import print_json
from cnnlab.cli._training import run_to_end
from cnnlab.errors import UsageError

if TYPE_CHECKING:
    from cnnlab.training import Recipe

# Writing a report takes about as much work as this many times loading the libraries.
REPORT_WORK = 2.0


def train(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL] [KEY=VALUE]...", help="A network, and recipe settings.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The network; the same as MODEL.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Data set, folder of photos, CSV or tar files.")
    ] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", "-r", help="Shipped recipe or YAML file.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder to make, runs/<model>-<data>-<n> by default; with --find-lr the figure, find-lr.png."
        ),
    ] = None,
    seed: SeedOfRecipe = None,
    device: DeviceOfRecipe = None,
    data_dir: DataDir = None,
    layout: Layout = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Start from these: imagenet, cifar10, mnist, a weights file, or the folder of a run."),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(help="backbone: train the last layer only; or the last stage to freeze.")
    ] = None,
    unfreeze_at: Annotated[
        int | None, typer.Option(min=1, metavar="EPOCH", help="Train everything after this many epochs.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="End after so many minutes: the clock decides the epochs and the learning rate."),
    ] = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only look for a learning rate: figure, suggestion.")
    ] = False,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Train a network and write a run folder with a report. Without arguments: LeNet-5 on embedded MNIST digits.

    Examples: `cnnlab train epochs=5` · `cnnlab train resnet18 --data cifar10 --minutes 4` ·
    `cnnlab train --data photos/` · `cnnlab train --recipe lenet5-mnist seed=1 augment.crop=2` ·
    `cnnlab train --data photos/ --weights imagenet --freeze backbone` ·
    `cnnlab train epochs=8 keep_epochs=all` (keeps the weights after every epoch too)
    """
    from cnnlab.training.shipped import choose_recipe

    name, settings = _name_and_settings(arguments or [], model)
    written = dict(text.split("=", 1) for text in settings)
    weights, freeze = weights or written.get("weights"), freeze or written.get("freeze")
    start = choose_recipe(name, data, recipe, weights=weights, freeze=freeze)
    options = {"weights": absolute_weights(weights), "freeze": freeze, "unfreeze_at": unfreeze_at, "minutes": minutes}
    options |= {"seed": seed, "device": device, "data_dir": str(data_dir.resolve()) if data_dir else None}
    options |= reading_of(layout, label_column, file_column)
    chosen = start.with_overrides(settings, **{key: value for key, value in options.items() if value is not None})
    _find_lr(chosen, out, as_json) if find_lr else _fit(chosen, out, tensorboard, as_json)


def _name_and_settings(arguments: list[str], model: str | None) -> tuple[str | None, list[str]]:
    """Return the network that the command names, None without one, and the texts ``key=value``."""
    names = [text for text in arguments if "=" not in text] + ([model] if model else [])
    if len(names) > 1:
        raise UsageError(f"One network at a time, not {', '.join(names)}. Settings are key=value.")
    return (names[0] if names else None), [text for text in arguments if "=" in text]


def _fit(recipe: Recipe, out: Path | None, tensorboard: bool, as_json: bool) -> None:
    from cnnlab.runs import Recorder, resume
    from cnnlab.runs.continuation import begun_run
    from cnnlab.training import distributed, fit
    from cnnlab.training.clock import Clock

    if run := begun_run(recipe, out):
        if distributed.rank() == 0:
            typer.echo(f"The processes were started anew; going on with {run.path}.", err=True)
        run_to_end(resume(run), Recorder(run=run), tensorboard, as_json)
        return
    # Who gives a training four minutes waits for the command, not only for the steps.
    clock = None
    if recipe.minutes and recipe.by_clock:
        clock = Clock(60 * recipe.minutes, STARTED, reserve=REPORT_WORK * time.process_time())
    run_to_end(fit(recipe, clock=clock), Recorder(out), tensorboard, as_json)


def _find_lr(recipe: Recipe, out: Path | None, as_json: bool) -> None:
    from cnnlab import figures
    from cnnlab.training.lr_finder import find_lr

    test = find_lr(recipe)
    path = figures.save(figures.find_lr_curve(test.lrs, test.smoothed, test.suggestion), out or Path("find-lr.png"))
    if as_json:
        print_json({"suggestion": test.suggestion, "figure": str(path)})
        return
    typer.echo(f"suggested learning rate: {test.suggestion:g}  ({recipe.model} on {recipe.data}, {recipe.optimizer})")
    typer.echo(f"figure: {path}")
    typer.echo(f"Add lr={test.suggestion:g} to the same command, without --find-lr, to train with it.", err=True)
