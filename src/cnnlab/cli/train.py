"""``cnnlab train``, ``resume``, ``extend`` and ``recipes``."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnlab.cli._output import print_json, print_table
from cnnlab.console import duration, table
from cnnlab.errors import UsageError

if TYPE_CHECKING:
    from cnnlab.runs import Recorder
    from cnnlab.training import Event, Recipe

Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
DataDir = Annotated[str | None, typer.Option(help="Folder to look for data sets in.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, nothing else.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard event files into the run.")]


def register(app: typer.Typer) -> None:
    """Attach the commands of this module."""
    app.command()(train)
    app.command()(resume)
    app.command()(extend)
    app.command()(recipes)


def train(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL] [KEY=VALUE]...", help="A network, and recipe settings.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The network; the same as MODEL.")] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Data set, folder of photos, or CSV file.")] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", "-r", help="Shipped recipe or YAML file.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder to make, runs/<model>-<data>-<n> if not given; with --find-lr the figure, find-lr.png."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order, augmentation and splits.")] = None,
    device: Device = None,
    data_dir: DataDir = None,
    weights: Annotated[
        str | None, typer.Option(help="Start from these: imagenet, a weights file, or the folder of a run.")
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(help="backbone: train the last layer only; or the last stage to freeze.")
    ] = None,
    unfreeze_at: Annotated[
        int | None, typer.Option(min=1, metavar="EPOCH", help="Train everything after this many epochs.")
    ] = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only look for a learning rate: figure, suggestion.")
    ] = False,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Train a network and write a run folder with a report. Without arguments: LeNet-5 on embedded MNIST digits.

    Examples: `cnnlab train epochs=5` · `cnnlab train resnet18 --data cifar10` · `cnnlab train --data photos/` ·
    `cnnlab train --recipe lenet5-mnist seed=1 augment.crop=2` ·
    `cnnlab train --data photos/ --weights imagenet --freeze backbone`
    """
    names = [text for text in arguments or [] if "=" not in text]
    overrides = [text for text in arguments or [] if "=" in text]
    if len(names) + (model is not None) > 1:
        named = ", ".join(name for name in (*names, model) if name)
        raise UsageError(f"One network at a time, not {named}. Settings are key=value.")
    options = {"weights": weights, "freeze": freeze, "unfreeze_at": unfreeze_at}
    options |= {"seed": seed, "device": device}
    overrides += [f"{key}={value}" for key, value in options.items() if value is not None]
    overrides = [f"weights={_weights(text[8:])}" if text.startswith("weights=") else text for text in overrides]
    given = dict(text.partition("=")[::2] for text in overrides)
    chosen = _choose(names[0] if names else model, data, recipe, given.get("weights"), given.get("freeze"))
    chosen = chosen.with_overrides(overrides)
    if data_dir is not None:
        chosen = chosen.model_copy(update={"data_dir": str(Path(data_dir).resolve())})
    if find_lr:
        _find_lr(chosen, out, as_json)
        return

    from cnnlab.runs import Recorder
    from cnnlab.training import fit

    _consume(fit(chosen), Recorder(out), tensorboard, as_json)


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of an unfinished run.")],
    previous: Annotated[bool, typer.Option("--previous", help="Go on from the state before the last one.")] = False,
    device: Device = None,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that was stopped; the result is that of an uninterrupted one."""
    from cnnlab import runs

    opened = runs.open_run(run)
    events = runs.resume(opened, device=device, previous=previous)
    _consume(events, runs.Recorder(run=opened), tensorboard, as_json)


def extend(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    epochs: Annotated[int, typer.Option(min=1, help="How many epochs to add.")],
    lr: Annotated[
        float | None, typer.Option(min=0.0, help="Rate to start from; a tenth of the recipe's if not given.")
    ] = None,
    device: Device = None,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Add epochs to a finished run; the learning rate falls from --lr to zero by half a cosine."""
    from cnnlab import runs

    opened = runs.open_run(run)
    events = runs.extend(opened, epochs, lr, device=device)
    _consume(events, runs.Recorder(run=opened), tensorboard, as_json)


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe as YAML.")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every key with its default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """List the recipes that ship with cnnlab, show one, or list the keys a recipe may have."""
    from cnnlab.training import Recipe, list_recipes, load_recipe

    if name:
        recipe = load_recipe(name)
        if as_json:
            print_json(recipe.values())
        else:
            typer.echo(recipe.to_yaml(full=False), nl=False)
        return
    rows: list[tuple[object, ...]]
    titles: tuple[str, ...]
    if keys:
        rows = [(key, str(Recipe().values()[key]), field.description) for key, field in Recipe.model_fields.items()]
        titles = ("key", "default", "meaning")
    else:
        shipped = [load_recipe(each) for each in list_recipes()]
        rows = [(r.name, r.model, r.data, r.epochs, _measured(r), r.about) for r in shipped]
        titles = ("recipe", "model", "data", "epochs", "measured", "about")
    if as_json:
        print_json([dict(zip(titles, row, strict=True)) for row in rows])
        return
    print_table(table(titles, rows))


def _measured(recipe: Recipe) -> str:
    if not recipe.measured:
        return "-"
    m = recipe.measured[0]
    spread = f" ± {m.std:.2f}" if m.std is not None else ""
    return f"{m.accuracy:.2f}{spread} % (n={m.n})"


def _weights(weights: str) -> str:
    """The weights, with a path that is good from any folder; a folder called imagenet here does not hide the word."""
    is_path = weights not in ("", "imagenet") and Path(weights).exists()
    return str(Path(weights).resolve()) if is_path else weights


def _choose(
    model: str | None, data: str | None, recipe: str | None, weights: str | None = None, freeze: str | None = None
) -> Recipe:
    from cnnlab.data import data_sets
    from cnnlab.training import load_recipe, recipe_for

    if data is not None and data not in data_sets and Path(data).exists():
        data = str(Path(data).resolve())  # the run must work from any folder
    if recipe is None:
        return recipe_for(model, data, weights=weights, freeze=freeze)
    if recipe in ("folder", "transfer", "finetune") and data is None:
        raise UsageError(f"The recipe `{recipe}` is for your own photos: name their folder with --data.")
    return load_recipe(recipe).derived(model=model, data=data)


def _find_lr(recipe: Recipe, out: Path | None, as_json: bool) -> None:
    import json

    from cnnlab import figures
    from cnnlab.training.lr_finder import find_lr

    test = find_lr(recipe)
    path = figures.save(figures.find_lr_curve(test.lrs, test.smoothed, test.suggestion), out or Path("find-lr.png"))
    if as_json:
        typer.echo(json.dumps({"suggestion": test.suggestion, "figure": str(path)}))
        return
    typer.echo(f"suggested learning rate: {test.suggestion:g}  ({recipe.model} on {recipe.data}, {recipe.optimizer})")
    typer.echo(f"figure: {path}")
    typer.echo(f"Add lr={test.suggestion:g} to the same command, without --find-lr, to train with it.", err=True)


def _consume(events: Iterator[Event], recorder: Recorder, tensorboard: bool, as_json: bool) -> None:
    """Run the stream to its end through recorder and display, then say what came out and what to do next."""
    from rich.console import Console

    from cnnlab.cli._progress import show
    from cnnlab.runs import open_run
    from cnnlab.runs.report import next_steps
    from cnnlab.training import EpochDone, Finished, Started, distributed

    console = Console(stderr=True)
    interrupt = _Interrupt()
    recorder.stop = interrupt.asked
    stream: Iterator[Any] = interrupt.watch(recorder.record(events), Started)
    if distributed.rank() != 0:
        for _ in stream:
            pass
        distributed.stop()
        return
    if tensorboard:
        from cnnlab.runs.tensorboard import write_tensorboard

        stream = write_tensorboard(stream, recorder)
    finished: Finished | None = None
    epochs = 0
    for event in show(stream, console, as_json=as_json):
        if isinstance(event, Finished):
            finished = event
        elif isinstance(event, EpochDone):
            epochs = event.epoch
    distributed.stop()
    assert recorder.run is not None
    run = open_run(recorder.run.path)
    if finished is None:
        typer.echo(
            f"Stopped after {epochs} epochs; saved. Go on with: cnnlab resume {shlex.quote(str(run.path))}", err=True
        )
        raise typer.Exit(130)
    report = run.report(finished.session.data)
    if as_json:
        import json

        typer.echo(json.dumps({"event": "Report", "run": str(run.path), "report": str(report)}))
        return
    kept = f", weights of epoch {finished.kept_epoch}" if run.summary.get("selected_on") else ""
    typer.echo(
        f"{run.recipe.model} on {run.recipe.data}: {finished.split} accuracy {finished.accuracy:.2%} "
        f"({len(finished.labels):,} images{kept}), trained in {duration(finished.seconds)}"
    )
    typer.echo(f"report: {report}")
    typer.echo("Try next:", err=True)
    for command in next_steps(run):
        typer.echo(f"  {command}", err=True)


class _Interrupt:
    """Ctrl-C and SIGTERM: before training has started and at the second time they stop at once, else after the step."""

    def __init__(self) -> None:
        self.pressed = self.started = False

    def asked(self) -> bool:
        """Whether training is to stop after this step."""
        return self.pressed

    def watch(self, events: Iterator[Event], first: type[Event]) -> Iterator[Event]:
        """Pass ``events`` on and catch the signals meanwhile; an event ``first`` says that training has started."""
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
