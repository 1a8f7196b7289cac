"""What a tuning leaves behind: the best recipe, a table of all trials, figures, and the best recipe with new seeds."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cnnlab import figures
from cnnlab.errors import DivergedError, RunError
from cnnlab.experiments.tuning.search import Tuned, Tuning
from cnnlab.experiments.tuning.space import Choices, SearchSpace
from cnnlab.experiments.tuning.trials import TrialRow
from cnnlab.files import csv_text, read_csv, write_text
from cnnlab.training import Event, Finished, fit

BEST = "best.yaml"
TRIALS = "trials.csv"
CONFIRMED = "confirmed.csv"
_Y = "validation accuracy"


@dataclass(frozen=True)
class Confirmation:
    """The best recipe trained again with a new seed.

    Attributes:
        trial: number of the best trial, whose settings the recipe has.
        seed: the seed of the weights, the order of the images, augmentation and the division of the images.
        val_accuracy: accuracy on the validation images in the epoch whose weights are kept; NaN when it diverged.
        test_accuracy: accuracy on the test split; None where there is none.
    """

    trial: int
    seed: int
    val_accuracy: float
    test_accuracy: float | None


def begin_folder(folder: Path) -> None:
    """Make the folder of a tuning.

    Raises:
        RunError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {error.strerror}. Choose another folder with --out.") from None


def write_results(folder: Path, tuning: Tuning, tuned: Tuned) -> list[Path]:
    """Write the best recipe, the table of trials and the figures; return their paths.

    Raises:
        RunError: the folder cannot be written.
    """
    write_text(folder / TRIALS, trials_csv(tuned.rows, tuning.space))
    paths = [folder / TRIALS]
    if tuned.best and tuned.recipe:
        count = sum(row.is_done for row in tuned.rows)
        about = (
            f"Best of {count} trials of the tuning {tuning.name}: trial {tuned.best.number}, "
            f"validation accuracy {tuned.best.accuracy:.2%}."
        )
        recipe = tuned.recipe.model_copy(update={"name": "", "about": about})
        write_text(folder / BEST, recipe.to_yaml(full=False))
        paths.append(folder / BEST)
    for name, figure in draw(tuned.rows, tuning).items():
        paths.append(figures.save(figure, folder / f"{name}.png"))
    return paths


def trials_csv(rows: Sequence[TrialRow], space: SearchSpace) -> str:
    """Return all trials as a table, also the interrupted ones, with a column for each varied key."""
    facts = ("number", "state", "accuracy", "epochs", "kept_epoch", "loss", "seconds", "host", "reason")
    titles = ("trial", "state", "val_accuracy", "epochs", "kept_epoch", "val_loss", "seconds", "host", "reason")
    return csv_text(
        (*titles, *space.varied),
        (
            [*(getattr(row, fact) for fact in facts), *(_cell(row.values.get(key)) for key in space.varied)]
            for row in rows
        ),
    )


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def draw(rows: Sequence[TrialRow], tuning: Tuning) -> dict[str, Figure]:
    """Return the figures of a tuning by their names; on a grid of two keys, a heat map is among them."""
    done = [row for row in rows if row.is_done]
    if not done:
        return {}
    space = tuning.space
    accuracies, states = [row.accuracy for row in done], [row.state for row in done]
    settings = {key: [_cell(row.values.get(key)) for row in done] for key in space.varied}
    log = [key for key, part in space.varied.items() if part.log or _rises_by_factors(part)]
    drawn = {
        "history": figures.trial_history([row.number for row in done], accuracies, states, y=_Y),
        "settings": figures.trial_settings(settings, accuracies, states, log=log, y=_Y),
    }
    if tuning.sampler == "grid" and len(space.varied) == 2:
        drawn["heat-map"] = _heat_map(done, space)
    return drawn


def _rises_by_factors(part: Any) -> bool:
    """Whether choices are positive numbers over more than a factor of ten, as 0.001, 0.01, 0.1."""
    if not isinstance(part, Choices):
        return False
    numbers = [v for v in part.values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(numbers) == len(part.values) and min(numbers) > 0 and max(numbers) / min(numbers) > 10


def _heat_map(rows: Sequence[TrialRow], space: SearchSpace) -> Figure:
    """Draw the accuracy over two keys; what failed or was not tried yet stays empty."""
    down, across = space.varied
    sides = [list(dict.fromkeys(one[key] for one in map(space.stored, space.combinations()))) for key in (down, across)]
    cells = [[math.nan] * len(sides[1]) for _ in sides[0]]
    for row in rows:
        values = space.stored(row.values)
        if row.accuracy is not None and len(values) == 2:
            cells[sides[0].index(values[down])][sides[1].index(values[across])] = row.accuracy
    names = [[figures.shorten(f"{v:g}" if isinstance(v, float) else str(v), 14) for v in side] for side in sides]
    return figures.heat_map(
        cells, x=across, y=down, rows=names[0], columns=names[1], numbers=True, percent=True, label=_Y
    )


def confirm(
    tuned: Tuned, count: int, before: Sequence[Confirmation] = ()
) -> Generator[Event | Confirmation, None, None]:
    """Train the best recipe again with ``count`` seeds that the search did not use; yields events and a result each.

    The seeds differ in everything random, so their spread says how far a single number can be trusted. A training
    that diverged has NaN.

    Args:
        tuned: the result of the search, with a best trial.
        count: number of seeds.
        before: results of an earlier call, which are not measured again.
    """
    assert tuned.best is not None
    assert tuned.recipe is not None
    done = {one.seed for one in before}
    for seed in range(tuned.recipe.seed + 1, tuned.recipe.seed + 1 + count):
        if seed in done:
            continue
        finished: Finished | None = None
        try:
            for event in fit(tuned.recipe.with_overrides(seed=seed)):
                yield event
                finished = event if isinstance(event, Finished) else finished
        except DivergedError:
            yield Confirmation(tuned.best.number, seed, math.nan, None)
            continue
        assert finished is not None
        test = finished.accuracy if finished.split == "test" else None
        yield Confirmation(tuned.best.number, seed, finished.session.best.accuracy, test)


def read_confirmations(folder: Path, tuned: Tuned, count: int) -> list[Confirmation]:
    """Return the results of new seeds that lie in the folder for the best trial, those of the first ``count`` seeds.

    After more trials another one may be the best; the results of the one before then do not count.
    """
    file = folder / CONFIRMED
    if tuned.best is None or tuned.recipe is None or not file.is_file():
        return []
    results = [
        Confirmation(
            int(row["trial"]), int(row["seed"]), float(row["val_accuracy"]),
            float(row["test_accuracy"]) if row["test_accuracy"] else None,
        )
        for row in read_csv(file)
    ]  # fmt: skip
    last = tuned.recipe.seed + count
    return [one for one in results if one.trial == tuned.best.number and one.seed <= last]


def write_confirmations(folder: Path, results: Sequence[Confirmation]) -> Path:
    """Write the results of the new seeds as a table; return its path."""
    rows = [(one.trial, one.seed, one.val_accuracy, one.test_accuracy) for one in results]
    write_text(folder / CONFIRMED, csv_text(("trial", "seed", "val_accuracy", "test_accuracy"), rows))
    return folder / CONFIRMED


def mean_and_std(values: Sequence[float | None]) -> tuple[float, float | None] | None:
    """Return mean and standard deviation (n - 1) of the numbers among ``values``; None without one."""
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    if not numbers:
        return None
    return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None
