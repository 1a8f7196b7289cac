"""Train every script of the museum of planted bugs with and without its bug, and write what came out.

::

    python benchmarks/museum.py                  # all scripts, three seeds each
    python benchmarks/museum.py not_shuffled     # this one again; the others keep their rows and pictures

The table in ``results/museum.md``, ``results/museum.json`` and the loss curves in ``docs/images/museum`` (of the first
seed) are written from the trainings; nothing is typed in.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from cnnlab.figures import lines
from cnnlab.figures.style import to_png
from cnnlab.files import write_text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "lessons" / "museum"))

import exhibit  # noqa: E402


def script_names(folder: Path) -> list[str]:
    """The scripts of the museum, by name."""
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "exhibit")


def title_of(script: Path) -> str:
    """The title of a script: the first line of its docstring."""
    return script.read_text(encoding="utf-8").splitlines()[1].strip()


def loss_curves(with_bug: list[float], fixed: list[float]) -> Figure:
    """Draw the training losses of both versions over the share of the training, each point the mean of a fortieth.

    The axis is logarithmic where one of them is more than thirty times the other's start.
    """

    def means(losses: list[float]) -> tuple[list[float], list[float]]:
        pieces = min(40, len(losses))
        bounds = [round(i * len(losses) / pieces) for i in range(pieces + 1)]
        parts = [losses[low:high] for low, high in itertools.pairwise(bounds)]
        return [(i + 0.5) / pieces for i in range(pieces)], [sum(part) / len(part) for part in parts]

    curves = {"with the bug": means(with_bug), "fixed": means(fixed)}
    highest = max(value for _, ys in curves.values() for value in ys if math.isfinite(value))
    log = highest > 30 * fixed[0]
    return lines({"": curves}, x="share of the training", y="training loss", log_y=log)


def measure(script: Path, seeds: int) -> tuple[dict[str, Any], Figure]:
    """Train a script in both versions with seeds 0 .. n-1; return its row, and the curves of the first seed."""
    runs = {fixed: [exhibit.train(script, fixed, seed) for seed in range(seeds)] for fixed in (False, True)}
    row: dict[str, Any] = {
        "script": script.stem,
        "title": title_of(script),
        "bug": exhibit.load(script).BUG,
        "n": seeds,
    }
    for name, outcomes in (("with_bug", runs[False]), ("fixed", runs[True])):
        row[name] = [outcome.accuracy for outcome in outcomes]
        row[f"{name}_reported"] = [outcome.reported for outcome in outcomes]
    return row, loss_curves(runs[False][0].losses, runs[True][0].losses)


def table(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""

    def shown(values: list[float]) -> str:
        spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{100 * statistics.mean(values):.1f}{spread} %"

    text = ["| script | the bug | with the bug | fixed | n |", "|---|---|---:|---:|---:|"]
    for row in rows:
        believed = row["with_bug_reported"] != row["with_bug"]
        note = f" (the script believes in {shown(row['with_bug_reported'])})" if believed else ""
        text.append(
            f"| [{row['title']}](../lessons/museum/{row['script']}.py) | {row['bug']} "
            f"| {shown(row['with_bug'])}{note} | {shown(row['fixed'])} | {row['n']} |"
        )
    return "\n".join(text)


def page(rows: list[dict[str, Any]]) -> str:
    """The page ``results/museum.md``."""
    return (
        "# What the planted bugs cost\n\n"
        "Held-out accuracy after four passes over the training images, mean ± standard deviation over n seeds. The "
        "numbers are those of small trainings, a second each: what counts is the difference. Written by "
        f"`benchmarks/museum.py`.\n\n{table(rows)}\n"
    )


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Train scripts, write what came out, return the rows of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", help="names, such as not_shuffled (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each version (default 3)")
    parser.add_argument("--root", type=Path, default=ROOT, help="where results/ and docs/ are written")
    options = parser.parse_args(arguments)
    names = script_names(ROOT / "lessons" / "museum")
    if unknown := sorted(set(options.scripts) - set(names)):
        parser.error(f"there is no script {', '.join(unknown)}; there are {', '.join(names)}")
    torch.set_num_threads(1)
    written = options.root / "results" / "museum.json"
    before = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else []
    rows = {row["script"]: row for row in before if row["script"] in names}
    pictures = options.root / "docs" / "images" / "museum"
    for name in options.scripts or names:
        rows[name], figure = measure(ROOT / "lessons" / "museum" / f"{name}.py", options.seeds)
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / f"{name}.png").write_bytes(to_png(figure, dpi=80))
        print(table([rows[name]]).splitlines()[-1], flush=True)
    ordered = [rows[name] for name in names if name in rows]
    written.parent.mkdir(parents=True, exist_ok=True)
    write_text(written, json.dumps(ordered, indent=2) + "\n")
    write_text(options.root / "results" / "museum.md", page(ordered))
    return ordered


if __name__ == "__main__":
    main()
