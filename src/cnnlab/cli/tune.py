"""``cnnlab tune``: search for the settings of a recipe that give the best validation accuracy."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnlab.cli._options import (
    DataDir,
    DeviceOfRecipe,
    FileColumn,
    Json,
    LabelColumn,
    Layout,
    SeedOfRecipe,
    absolute_weights,
    reading_of,
)
from cnnlab.cli._output import print_json, print_table
from cnnlab.cli._training import Interrupt
from cnnlab.errors import TrainingError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from cnnlab.experiments.tuning.report import Confirmation
    from cnnlab.experiments.tuning.search import Tuned, Tuning
    from cnnlab.training import Recipe

_ROWS = 10  # of the table in the terminal; trials.csv has all


def tune(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE|MODEL] [KEY=VALUE]...", help="Recipe, YAML file or network, and settings."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="What is varied: YAML file, basic, or rate-and-decay (a grid)."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", "-n", help="Trials in total, with those done before.")] = 20,
    sampler: Annotated[str, typer.Option(help="tpe, random, or grid: all combinations.")] = "tpe",
    prune: Annotated[
        bool | None, typer.Option("--prune/--no-prune", help="Stop trials worse than the median; not on a grid.")
    ] = None,
    confirm: Annotated[int, typer.Option(min=0, metavar="N", help="Train the best recipe again with N new seeds.")] = 0,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Data set, folder of photos, or CSV file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; tuning/NAME if not given.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the search in the storage; that of --out, or <model>-<data>.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Database that processes share; study.db in the folder if not given."),
    ] = None,
    seed: SeedOfRecipe = None,
    device: DeviceOfRecipe = None,
    data_dir: DataDir = None,
    layout: Layout = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    as_json: Json = False,
) -> None:
    """Try settings of a recipe, choose those with the best validation accuracy, and write the best recipe.

    The same command goes on where it was, and may run several times at once on one --storage. Needs the extra `tune`.

    Examples: `cnnlab tune epochs=5` · `cnnlab tune resnet18 --data cifar10 --space space.yaml --trials 50` ·
    `cnnlab tune --sampler grid --trials 25`
    """
    from cnnlab.experiments.tuning import Tuning, load_space
    from cnnlab.experiments.tuning.report import begin_folder
    from cnnlab.experiments.tuning.storage import require_optuna

    require_optuna()
    options = {"seed": seed, "device": device, "data_dir": str(data_dir.resolve()) if data_dir else None}
    options |= reading_of(layout, label_column, file_column)
    recipe = _recipe(arguments or [], data, {key: value for key, value in options.items() if value is not None})
    chosen = load_space(space or ("rate-and-decay" if sampler == "grid" else "basic"), recipe)
    name = name or (out.resolve().name if out else f"{recipe.model}-{Path(recipe.data).stem}")
    folder = out or Path("tuning") / name
    tuning = Tuning(
        recipe, chosen, trials, name, storage or f"sqlite:///{folder.resolve() / 'study.db'}", sampler, prune
    )
    begin_folder(folder)
    _Run(tuning, folder, confirm, as_json).run()


def _recipe(arguments: list[str], data: str | None, options: dict[str, Any]) -> Recipe:
    """Return the recipe that the search starts from."""
    from cnnlab.training.shipped import choose_recipe, list_recipes

    names = [text for text in arguments if "=" not in text]
    if len(names) > 1:
        raise UsageError(f"One recipe or network at a time, not {', '.join(names)}. Settings are key=value.")
    model = recipe = None
    if names:
        is_file = Path(names[0]).suffix in (".yaml", ".yml") or Path(names[0]).is_file()
        if is_file or names[0] in list_recipes():
            recipe = names[0]
        else:
            from cnnlab.zoo import list_models

            if names[0] not in list_models():
                known = [*list_recipes(), *list_models()]
                raise UnknownNameError("recipe or network", names[0], known, "A path to a YAML file works too.")
            model = names[0]
    settings = [text for text in arguments if "=" in text]
    written = dict(text.split("=", 1) for text in settings)
    weights = absolute_weights(written.get("weights"))
    start = choose_recipe(model, data, recipe, weights=weights, freeze=written.get("freeze"))
    return start.with_overrides(settings, **options, **({"weights": weights} if weights else {}))


class _Run:
    """A tuning on the command line: its display, its files, its result."""

    def __init__(self, tuning: Tuning, folder: Path, confirm: int, as_json: bool) -> None:
        from rich.console import Console

        self.tuning, self.folder, self.confirm, self.as_json = tuning, folder, confirm, as_json
        self.console = Console(stderr=True, quiet=as_json)
        self.interrupt = Interrupt()

    def run(self) -> None:
        from cnnlab.experiments.tuning.report import CONFIRMED, write_results

        tuned = self._search()
        paths = write_results(self.folder, self.tuning, tuned)
        done = sum(row.is_done for row in tuned.rows)
        if done < self.tuning.total:
            self._print(tuned, paths, [])
            typer.echo(f"Stopped after {done} of {self.tuning.total} trials; the same command goes on.", err=True)
            raise typer.Exit(130)
        if tuned.best is None or tuned.recipe is None:
            first = next(row.reason for row in tuned.rows if row.reason)
            raise TrainingError(
                f"None of {done} trials could be trained; {self.folder / 'trials.csv'} says why. The first: {first}"
            )
        results = self._confirm(tuned) if self.confirm else []
        if results:
            paths.append(self.folder / CONFIRMED)
        self._print(tuned, paths, results)
        if len(results) < self.confirm:
            typer.echo(f"Stopped after {len(results)} of {self.confirm} new seeds; the same command goes on.", err=True)
            raise typer.Exit(130)

    def _search(self) -> Tuned:
        """Search until the end or Ctrl-C; return what there is then."""
        from cnnlab.cli._tuning_display import show_search
        from cnnlab.experiments.tuning import tune as search
        from cnnlab.experiments.tuning.search import TrialBegun, Tuned, Waiting, state_of

        events = search(self.tuning)
        shown = show_search(events, self.tuning, self.console)
        with closing(events), closing(shown):  # an interrupted trial is put back into the storage
            for event in self.interrupt.watch(shown, TrialBegun, Waiting):
                if isinstance(event, Tuned):
                    return event
                if self.interrupt.asked():
                    break
        return state_of(self.tuning)

    def _confirm(self, tuned: Tuned) -> list[Confirmation]:
        """Train the best recipe with new seeds until the end or Ctrl-C, from where an earlier call stopped."""
        from cnnlab.cli._tuning_display import show_confirmation
        from cnnlab.experiments.tuning.report import Confirmation, confirm, read_confirmations, write_confirmations
        from cnnlab.training import Started

        results = read_confirmations(self.folder, tuned, self.confirm)
        trainings = confirm(tuned, self.confirm, results)
        events: Iterator[Any] = show_confirmation(trainings, self.confirm, self.console, len(results))
        for event in self.interrupt.watch(events, Started):
            if isinstance(event, Confirmation):
                results.append(event)
                write_confirmations(self.folder, results)
            if self.interrupt.asked():
                break
        return results

    def _print(self, tuned: Tuned, paths: list[Path], results: list[Confirmation]) -> None:
        from cnnlab.cli._tuning_display import confirmation_lines, trials_table
        from cnnlab.experiments.tuning.storage import shown

        if self.as_json:
            print_json(_values(self.tuning, tuned, results, paths) | {"storage": shown(self.tuning.storage)})
            return
        if any(row.is_done for row in tuned.rows):
            print_table(trials_table(tuned, self.tuning.space, _ROWS))
        if tuned.best is not None:
            done = sum(row.is_done for row in tuned.rows)
            typer.echo(
                f"best of {done} trials: trial {tuned.best.number}, validation accuracy {tuned.best.accuracy:.2%}"
            )
        for line in confirmation_lines(results):
            typer.echo(line)
        for path in paths:
            typer.echo(f"{path.stem}: {path}")
        if tuned.best is not None:
            best = shlex.quote(str(self.folder / "best.yaml"))
            typer.echo(f"Try next:\n  cnnlab train --recipe {best}", err=True)


def _values(tuning: Tuning, tuned: Tuned, results: list[Confirmation], paths: list[Path]) -> dict[str, Any]:
    """Return the result as plain values for ``--json``."""
    from dataclasses import asdict

    rows = [asdict(row) for row in tuned.rows]
    best = tuned.best
    return {
        "name": tuning.name,
        "sampler": tuning.sampler,
        "space": tuning.space.plain(),
        "trials": rows,
        "best": asdict(best) | {"recipe": tuned.recipe.changed()} if best and tuned.recipe else None,
        "confirmed": [asdict(one) for one in results],
        "files": [str(path) for path in paths],
    }
