"""What a training reaches in so many seconds: whole commands, ``cnnlab train --minutes``, on CIFAR-10 and MNIST.

::

    python benchmarks/minutes.py --data-dir DATA                     # every budget, five seeds each
    python benchmarks/minutes.py --only mnist --seconds 10 20        # some of them
    python benchmarks/minutes.py --table                             # only write the results, from the finished runs

Each command runs alone, on a machine that does nothing else. The time is that of the command from its start to its end,
with Python, the report and all that it prints. Finished runs are kept in ``--out``, and the same command goes on where
it was cut off. The tables use the runs of this machine only; a run of another machine is trained again and replaced.
``results/minutes.md`` and ``results/minutes.json`` are written from them, with the smallest budget whose mean accuracy
reaches 99 and 99.5 % (MNIST) and 90 and 94 % (CIFAR-10).

The settings were chosen on training images that were held out, not on test images.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import cnnlab
from cnnlab.hardware import processor_name
from cnnlab.runs import open_run

ROOT = Path(__file__).parents[1]
TRAININGS = {
    "mnist": [
        "convnet", "--data", "mnist", "model_options.widths=[16,32,64]", "optimizer=muon", "lr=0.02",
        "weight_decay=0.1", "batch_size=250", "schedule=onecycle", "warmup_fraction=0.1", "augment.crop=2",
    ],
    "cifar10": ["--recipe", "speed-cifar10", "tta=0"],
}  # fmt: skip
SECONDS = {"mnist": (10, 15, 20, 30, 60), "cifar10": (30, 60, 120, 240, 480)}
MARKS = {"mnist": (0.99, 0.995), "cifar10": (0.9, 0.94)}


def machine() -> str:
    """The processor and its threads."""
    return f"{processor_name()}, {torch.get_num_threads()} threads"


def one_run(data: str, seconds: float, seed: int, out: Path, data_dir: Path | None) -> dict[str, Any]:
    """Run one command, or return its stored record."""
    folder = out / f"{data}-{seconds:g}s-seed{seed}"
    file = folder.with_suffix(".json")
    if file.is_file():
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if known["machine"] == machine():
            return known
    command = [sys.executable, "-m", "cnnlab", "train", *TRAININGS[data], f"seed={seed}"]
    command += ["--minutes", f"{seconds / 60}", "--out", str(folder)]
    command += [f"data_dir={data_dir / data}"] if data_dir else []
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was cut off
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    took = time.perf_counter() - start
    run = open_run(folder)
    record = {
        "data": data,
        "seconds": seconds,
        "seed": seed,
        "took": took,
        "accuracy": run.summary["accuracy"],
        "epochs": run.summary["epochs_done"],
        "precision": f"{run.recipe.precision}{' channels_last' if run.recipe.channels_last else ''}",
        "machine": machine(),
        "versions": f"cnnlab {cnnlab.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def rows_of(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each data set and budget."""
    rows = []
    for data, seconds in sorted({(run["data"], run["seconds"]) for run in runs}):
        mine = [run for run in runs if (run["data"], run["seconds"]) == (data, seconds)]
        row: dict[str, Any] = {"data": data, "seconds": seconds, "n": len(mine)}
        for key in ("took", "accuracy", "epochs"):
            values = [run[key] for run in mine]
            row[key], row[f"{key}_std"] = statistics.mean(values), statistics.stdev(values) if len(mine) > 1 else None
        row["off"] = max(abs(run["took"] / seconds - 1) for run in mine)
        rows.append(row)
    return rows


def page(rows: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> str:
    """The results in Markdown."""
    lines = ["| data | budget | command took | epochs | test images right (%) | n |", "|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        spread = "" if row["accuracy_std"] is None else f" ± {100 * row['accuracy_std']:.2f}"
        lines.append(
            f"| {row['data']} | {row['seconds']:g} s | {row['took']:.1f} s | {row['epochs']:.1f} "
            f"| {100 * row['accuracy']:.2f}{spread} | {row['n']} |"
        )
    reached = []
    for data, marks in MARKS.items():
        for mark in marks:
            least = [row["seconds"] for row in rows if row["data"] == data and row["accuracy"] >= mark]
            if any(row["data"] == data for row in rows):
                within = f"{min(least):g} s" if least else "no budget measured here"
                reached.append(f"{100 * mark:g} % of {data}: {within}")
    return "\n".join(
        [
            "# What a training reaches in so many seconds",
            "",
            "Whole commands, `cnnlab train --minutes`, each alone on the machine; mean ± standard deviation over n "
            "seeds. Made by `python benchmarks/minutes.py`, whose text has the settings.",
            "",
            *lines,
            "",
            f"Least budget whose mean reaches {'; '.join(reached)}. The time of a command was off by "
            f"{max(row['off'] for row in rows):.1%} at most.",
            "",
            f"Machine: {runs[0]['machine']}; {runs[0]['versions']}; {max(run['date'] for run in runs)}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run the commands, print, and write the results; return the rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(TRAININGS), help="one data set (default: both)")
    parser.add_argument("--seconds", type=float, nargs="+", help="budgets in seconds (default: those of the data)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each (default 5)")
    parser.add_argument("--data-dir", type=Path, help="folder with a folder for each data set")
    parser.add_argument("--out", type=Path, default=Path("minutes_out"), help="folder that keeps the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder for the results")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for data in () if options.table else [options.only] if options.only else TRAININGS:
        for seconds in options.seconds or SECONDS[data]:
            for seed in range(options.seeds):
                run = one_run(data, seconds, seed, options.out, options.data_dir)
                print(f"{data}, {seconds:g} s, seed {seed}: {run['accuracy']:.2%} in {run['took']:.1f} s", flush=True)
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(options.out.glob("*.json"))]
    runs = [run for run in runs if run["machine"] == machine()]
    if not runs:
        raise SystemExit(f"{options.out} has no run of this machine.")
    rows = rows_of(runs)
    text = page(rows, runs)
    print(text)
    options.results.mkdir(parents=True, exist_ok=True)
    result = json.dumps({"rows": rows, "runs": runs}, indent=2)
    (options.results / "minutes.json").write_text(result + "\n", encoding="utf-8")
    (options.results / "minutes.md").write_text(text + "\n", encoding="utf-8")
    return rows


if __name__ == "__main__":
    main()
