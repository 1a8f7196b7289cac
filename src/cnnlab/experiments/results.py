"""The results of a study: tables, verdicts, and the folder where they lie."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.errors import RunError, UsageError
from cnnlab.experiments.records import Records, read_records, records_text, unpack_answers
from cnnlab.experiments.statistics import PairedEffects, Verdict, image_interval, verdicts
from cnnlab.experiments.study import Claim, Difference, Study
from cnnlab.experiments.tables import Measures, Row, Value
from cnnlab.files import csv_text, read_csv, write_text

ANSWERS = "answers"  # the table of which test images were answered correctly


@dataclass(frozen=True)
class ClaimResult:
    """What a study says about a claim.

    Attributes:
        claim: the claim.
        effects: effect of each seed, in the order of the seeds; NaN where a training diverged.
        verdict: the verdict over the seeds.
        images: 95 % interval over the test images, where the effect is a difference of accuracies; else None. Also
            None where a value stands for the accuracy of a training that diverged, which has no answers.
    """

    claim: Claim
    effects: tuple[float, ...]
    verdict: Verdict
    images: tuple[float, float] | None


@dataclass(frozen=True)
class Result:
    """Tables and verdicts of a study.

    Attributes:
        study: the study.
        facts: scale, data, machine, versions, time.
        tables: name of a table -> its rows, in the order of the seeds; ``results`` has a row per seed and variant.
        measured: the seeds that were measured just now; empty for a result that was read.
    """

    study: Study
    facts: dict[str, Any]
    tables: dict[str, list[Row]]
    measured: tuple[int, ...] = ()

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were measured."""
        return tuple(dict.fromkeys(int(row["seed"]) for row in self.tables["results"]))

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """The variants that were measured, in the order of the study."""
        measured = {row["variant"] for row in self.tables["results"]}
        return tuple(variant for variant in self.study.variants if variant in measured)

    @cached_property
    def claims(self) -> list[ClaimResult]:
        """The verdict on every claim whose variants were measured; empty for a single seed."""
        measures = [self._measures(seed) for seed in self.seeds]
        effects: list[tuple[Claim, list[float]]] = []
        for claim in self.study.claims:
            try:
                effects.append((claim, [claim.effect(one) for one in measures]))
            except KeyError as error:
                if error.args[0] not in self.study.variants:
                    raise RunError(f'"{claim.text}" needs {error}, which results.csv does not have.') from None
                continue  # a variant that was left out
        if len(self.seeds) < 2:
            return []
        answers = verdicts(
            [PairedEffects(np.array(values), claim.worth, claim.margin) for claim, values in effects],
            of=len(self.study.claims),
        )
        return [
            ClaimResult(claim, tuple(values), verdict, self._image_interval(claim))
            for (claim, values), verdict in zip(effects, answers, strict=True)
        ]

    def _measures(self, seed: int) -> Measures:
        return {str(row["variant"]): row for row in self.tables["results"] if row["seed"] == seed}

    def _image_interval(self, claim: Claim) -> tuple[float, float] | None:
        """Return the interval over test images where both variants answered the same images; else None."""
        effect = claim.effect
        if not isinstance(effect, Difference) or effect.measure != "accuracy":
            return None
        answers = {(row["seed"], row["variant"]): str(row["correct"]) for row in self.tables.get(ANSWERS, [])}
        pairs = [
            (unpack_answers(answers[seed, effect.first]), unpack_answers(answers[seed, effect.second]))
            for seed in self.seeds
            if (seed, effect.first) in answers and (seed, effect.second) in answers
        ]
        # A seed that diverged has no answers, but an effect: the interval of the others is that of another effect.
        if not pairs or (effect.diverged is not None and len(pairs) < len(self.seeds)):
            return None
        ends = image_interval(np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs]))
        low, high = sorted(effect.factor * end for end in ends)  # a negative factor turns them over
        return low, high


class StudyFolder:
    """The folder of a study: a file per measured seed, from which the tables are written.

    ::

        results.csv, curves.csv, ...   tables, a row per seed and variant, or per epoch
        study.json                     scale, data, machine, time, verdicts
        README.md, index.html, *.png   what to look at
        seeds/                         the records of each seed
        unfinished/                    trainings of the seed that is being measured
        checkpoints/                   weights of the first seed after each epoch, in half precision

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def seed_file(self, seed: int) -> Path:
        """Return the file with the records of a seed."""
        return self.path / "seeds" / f"{seed:03d}.json"

    def unfinished(self, seed: int) -> Path:
        """Return the folder for the unfinished trainings of a seed."""
        return self.path / "unfinished" / f"{seed:03d}"

    def keep_seed(self, seed: int, records: Records) -> None:
        """Write the records of a measured seed; its unfinished trainings are no longer needed.

        Raises:
            RunError: the folder cannot be written.
        """
        self.seed_file(seed).parent.mkdir(parents=True, exist_ok=True)
        write_text(self.seed_file(seed), records_text(records))
        shutil.rmtree(self.unfinished(seed), ignore_errors=True)

    def restore_seeds(self) -> None:
        """Write the records of every seed anew from the tables, where only the tables were kept, as in a repository.

        Raises:
            RunError: the tables cannot be read.
        """
        if (self.path / "seeds").is_dir() or not (self.path / "results.csv").is_file():
            return
        tables = self.read_tables()
        answers = tables.pop(ANSWERS, [])
        for seed in dict.fromkeys(int(row["seed"]) for row in tables["results"]):
            records = Records(answers={str(r["variant"]): str(r["correct"]) for r in answers if r["seed"] == seed})
            for name, rows in tables.items():
                own = [row for row in rows if row["seed"] == seed]
                records.rows += [(name, {key: row[key] for key in row if key != "seed"}) for row in own]
            self.keep_seed(seed, records)

    def clear(self) -> None:
        """Remove everything that was measured and drawn."""
        for part in ("seeds", "unfinished", "checkpoints"):
            shutil.rmtree(self.path / part, ignore_errors=True)
        for pattern in ("*.csv", "*.png", "*.gif", "README.md", "index.html", "study.json"):
            for file in self.path.glob(pattern):
                file.unlink()

    def tables(self, study: Study, seeds: Iterable[int]) -> dict[str, list[Row]]:
        """Join the records of the seeds to tables; rows of ``results`` about the same variant become one."""
        tables: dict[str, list[Row]] = {"results": []}
        for seed in seeds:
            records = read_records(self.seed_file(seed))
            results: dict[str, Row] = {}
            for table, row in records.rows:
                if table == "results":
                    variant = str(row["variant"])
                    results.setdefault(variant, {"seed": seed, "variant": variant}).update(row)
                else:
                    tables.setdefault(table, []).append({"seed": seed, **row})
            tables["results"] += [results[variant] for variant in study.variants if variant in results]
            answers = [(variant, records.answers[variant]) for variant in study.variants if variant in records.answers]
            tables.setdefault(ANSWERS, []).extend(
                {"seed": seed, "variant": variant, "correct": correct} for variant, correct in answers
            )
        return {name: rows for name, rows in tables.items() if rows}

    def write_tables(self, tables: dict[str, list[Row]]) -> None:
        """Write every table as CSV: numbers in six significant digits, an empty cell where there is none.

        Raises:
            RunError: the folder cannot be written.
        """
        for name, rows in tables.items():
            titles = list(dict.fromkeys(key for row in rows for key in row))
            cells = [[_cell(row.get(title, math.nan)) for title in titles] for row in rows]
            write_text(self.path / f"{name}.csv", csv_text(titles, cells))

    def read_tables(self) -> dict[str, list[Row]]:
        """Read the tables that :meth:`write_tables` wrote.

        Raises:
            RunError: there are none.
        """
        files = sorted(self.path.glob("*.csv"))
        if not (self.path / "results.csv").is_file():
            raise RunError(f"{self.path} holds no results of a study. `cnnlab experiment NAME` makes some.")
        tables = {file.stem: [_typed(row) for row in read_csv(file)] for file in files}
        for row in tables["results"]:
            if not {"seed", "variant"} <= row.keys() or not isinstance(row["seed"], int):
                raise RunError(f"{self.path / 'results.csv'} has no columns seed and variant. Run the study again.")
        return tables


def _cell(value: Value) -> str:
    """Return a value as a cell of a CSV file: six significant digits, and empty for NaN."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


_TEXTS = ("variant", "correct", "pixels")  # columns that are never numbers


def _typed(row: dict[str, str]) -> Row:
    return {key: text if key in _TEXTS else _number(text) for key, text in row.items()}


def _number(text: str) -> Value:
    """Return the number in a cell of a CSV file, NaN for an empty one, and the text itself where it is no number."""
    if text == "":
        return math.nan
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that a text names: ``"5"`` is 0 to 4, ``"5-9"`` is 5 to 9.

    Raises:
        UsageError: another text, or fewer than two seeds.
    """
    first, dash, last = text.strip().partition("-")
    try:
        seeds = tuple(range(int(first), int(last) + 1)) if dash else tuple(range(int(first)))
    except ValueError:
        raise UsageError(f'"{text}" names no seeds: write how many, such as 5, or from which to which: 5-9.') from None
    if dash and not seeds:
        raise UsageError(f'"{text}" names no seeds: {last} comes before {first}. The smaller number is first: 5-9.')
    return checked_seeds(seeds)


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return the seeds, at least two different ones.

    Raises:
        UsageError: fewer, or a negative one.
    """
    unique = tuple(dict.fromkeys(seeds))
    if len(unique) < 2 or min(unique) < 0:
        raise UsageError(
            f"A study needs at least two seeds, 0 or above, to tell an effect from chance; got {len(unique)}. "
            "Five and more say something."
        )
    return unique
