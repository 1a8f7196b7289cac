"""Two or more runs side by side: their metrics with intervals, paired tests, and the settings that differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cnnlab.errors import CnnlabError, UsageError
from cnnlab.runs.folder import RunFolder
from cnnlab.training.metrics import PairedTest, evaluate_scores, paired_test

NOT_SETTINGS = ("name", "about", "reproduces", "measured")  # words about a recipe

_MEASURED = ("n", "accuracy", "accuracy_interval", "top5", "loss", "macro_f1", "calibration_error")


@dataclass(frozen=True)
class RunFacts:
    """The numbers of one run; ``None`` where an unfinished run has none yet."""

    name: str
    path: str
    status: str
    model: str
    data: str
    split: str | None
    n: int | None
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    top5: float | None
    loss: float | None
    macro_f1: float | None
    calibration_error: float | None
    parameters: int | None
    epochs: int | None
    seconds: float | None


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images: the paired test, or why there is none."""

    a: str
    b: str
    test: PairedTest | None
    why_not: str = ""


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        runs: the facts of each run, in order.
        differences: recipe key -> its value in each run, for keys whose values differ.
        pairs: the paired test of every later run against the first.
    """

    runs: list[RunFacts]
    differences: dict[str, list[Any]]
    pairs: list[Pair]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and lists, ready for JSON."""
        pairs = [{"a": p.a, "b": p.b, "test": p.test and p.test.to_dict(), "why_not": p.why_not} for p in self.pairs]
        return {"runs": [asdict(run) for run in self.runs], "differences": self.differences, "pairs": pairs}


def compare(*runs: RunFolder) -> RunComparison:
    """Put runs side by side; every later one is tested against the first on the same images, where it can be.

    Raises:
        UsageError: fewer than two runs.
    """
    if len(runs) < 2:
        raise UsageError(f"Comparing takes at least two runs, got {len(runs)}. `cnnlab runs` lists them.")
    return RunComparison(
        runs=[run_facts(run) for run in runs],
        differences=recipe_differences(*runs),
        pairs=[_pair(runs[0], other) for other in runs[1:]],
    )


def run_facts(run: RunFolder) -> RunFacts:
    """Gather the numbers of a run from its summary and its saved scores."""
    summary = run.summary
    measured: dict[str, Any] = dict.fromkeys(_MEASURED)
    if run.evaluated:
        logits, labels = run.scores()
        metrics = evaluate_scores(logits, labels, run.classes)
        measured = {name: getattr(metrics, name) for name in _MEASURED}
    return RunFacts(
        name=run.name,
        path=str(run.path),
        status=run.status,
        model=run.recipe.model,
        data=run.recipe.data,
        split=summary.get("split"),
        parameters=summary.get("parameters"),
        epochs=summary.get("epochs_done"),
        seconds=summary.get("seconds"),
        **measured,
    )


def recipe_differences(*runs: RunFolder) -> dict[str, list[Any]]:
    """Return the recipe keys whose values differ, with the value in each run; groups are written with dots."""
    flat = [flatten(run.recipe.values()) for run in runs]
    keys = dict.fromkeys(key for values in flat for key in values)
    table = {key: [values.get(key) for values in flat] for key in keys if key.split(".")[0] not in NOT_SETTINGS}
    return {key: values for key, values in table.items() if any(value != values[0] for value in values[1:])}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, ``{"augment": {"crop": 2}}`` as ``{"augment.crop": 2}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _pair(a: RunFolder, b: RunFolder) -> Pair:
    if a.path.resolve() == b.path.resolve():
        return Pair(a.name, b.name, None, "they are the same run")
    try:
        first, second = _Answers(a), _Answers(b)
    except CnnlabError as error:
        return Pair(a.name, b.name, None, str(error))
    why_not = first.differs_from(second)
    test = None if why_not else paired_test(first.correct, second.correct)
    return Pair(a.name, b.name, test, why_not)


class _Answers:
    """The images that a run was evaluated on, their true classes, and whether each answer is right."""

    def __init__(self, run: RunFolder) -> None:
        logits, labels = run.scores()
        self.data, self.split = run.recipe.data, run.summary.get("split")
        self.truth = np.array(run.classes, dtype=object)[labels]
        self.correct = logits.argmax(axis=1) == labels
        files = run.evaluated_files()
        self.files = files if all(files) else []  # images in memory have none
        self.images = run.summary.get("images")

    def differs_from(self, other: _Answers) -> str:
        """Return why these answers are about other images than ``other``; an empty text for the same images."""
        if len(self.truth) != len(other.truth):
            return f"they were evaluated on different images ({len(self.truth)} and {len(other.truth)})"
        if (self.truth != other.truth).any():
            return "they were evaluated on different images (the true classes differ)"
        if self.files and other.files:
            return "" if self.files == other.files else "they were evaluated on different files"
        if self.data != other.data:
            return f"they were evaluated on different data ({self.data} and {other.data})"
        if self.split != other.split:
            return f"they were evaluated on different splits ({self.split} and {other.split})"
        if self.images != other.images:  # divided by another seed: the true classes alone may be the same
            return "they were evaluated on different images"
        return ""
