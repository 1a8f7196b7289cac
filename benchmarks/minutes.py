"""What a training reaches in so many seconds: whole commands, ``cnnlab train --minutes``, on CIFAR-10 and MNIST.

::

    python benchmarks/minutes.py --data-dir DATA                     # every budget, five seeds each
    python benchmarks/minutes.py --only mnist --seconds 10 20        # some of them
    python benchmarks/minutes.py --busy 1 --seconds 30 60 --seeds 3  # while another process computes without end
    python benchmarks/minutes.py --table                             # only write the results, from the finished runs

Each command runs alone, on a machine that does nothing else but what ``--busy`` says. The time is that of the command
from its start to its end, with Python, the report and all that it prints. Finished runs are kept in ``--out``, and the
same command goes on where it was cut off. The tables use the runs of this machine only; a run of another machine is
trained again and replaced. ``results/minutes.md`` and ``results/minutes.json`` (``minutes_busy`` with ``--busy``) are
written from them, with the smallest budget whose mean accuracy reaches 99 and 99.5 % (MNIST) and 90 and 94 %
(CIFAR-10). There the recipe asks for test-time augmentation, whose time counts, and whose accuracy is compared.

The settings were chosen on training images that were held out, not on test images.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import stored_runs  # noqa: E402
from benchmarks.stored_runs import Run  # noqa: E402
from cnnlab.runs import open_run  # noqa: E402

CPU = torch.device("cpu")
TRAININGS = {
    "mnist": [
        "convnet", "--data", "mnist", "model_options.widths=[16,32,64]", "optimizer=muon", "lr=0.02",
        "weight_decay=0.1", "batch_size=250", "schedule=onecycle", "warmup_fraction=0.1", "augment.crop=2",
    ],
    "cifar10": ["--recipe", "speed-cifar10"],
}  # fmt: skip
SECONDS = {"mnist": (10, 15, 20, 30, 60), "cifar10": (30, 60, 120, 240, 480)}
MARKS = {"mnist": (0.99, 0.995), "cifar10": (0.9, 0.94)}


@contextmanager
def busy_machine(processes: int) -> Iterator[None]:
    """Keep so many processes computing."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def one_run(data: str, seconds: float, seed: int, busy: int, out: Path, data_dir: Path | None) -> Run:
    """Run one command beside so many busy processes, or return what is stored of it."""
    folder = out / f"{data}-{seconds:g}s-seed{seed}"
    file = out / f"{folder.name}.json"  # the name of the folder may have a point
    if known := stored_runs.stored(file, CPU):
        return known
    command = [sys.executable, "-m", "cnnlab", "train", *TRAININGS[data], f"seed={seed}"]
    command += ["--minutes", f"{seconds / 60}", "--out", str(folder)]
    command += [f"data_dir={data_dir / data}"] if data_dir else []
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was cut off
    with busy_machine(busy):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took = time.perf_counter() - start
    run = open_run(folder)
    record = {
        "data": data,
        "seconds": seconds,
        "seed": seed,
        "busy": busy,
        "took": took,
        "accuracy": run.summary["accuracy"],
        "tta_accuracy": run.summary.get("tta_accuracy"),
        "epochs": run.summary["epochs_done"],
        "precision": f"{run.recipe.precision}{' channels_last' if run.recipe.channels_last else ''}",
        **stored_runs.origin(CPU),
    }
    stored_runs.store(file, record)
    return record


def rows_of(runs: Sequence[Run]) -> list[Run]:
    """A row for each data set and budget."""
    rows = []
    for data, seconds in sorted({(run["data"], run["seconds"]) for run in runs}):
        mine = [run for run in runs if (run["data"], run["seconds"]) == (data, seconds)]
        numbers = ["took", "accuracy", "epochs", *(["tta_accuracy"] if mine[0].get("tta_accuracy") else [])]
        row = {"data": data, "seconds": seconds} | stored_runs.mean_and_std(mine, numbers)
        row["off"] = max(abs(run["took"] / seconds - 1) for run in mine)
        rows.append(row)
    return rows


def final_accuracy(row: Run) -> float:
    """The accuracy of a row, with test-time augmentation where there is one."""
    accuracy: float = row.get("tta_accuracy") or row["accuracy"]
    return accuracy


def page(rows: Sequence[Run], runs: Sequence[Run]) -> str:
    """The results in Markdown."""
    busy = runs[0].get("busy", 0)
    beside = f"beside {busy} busy process{'es' if busy > 1 else ''}" if busy else "alone on the machine"
    lines = [
        "| data | budget | command took | epochs begun | test accuracy (%) | n |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        right = stored_runs.with_spread(row, "accuracy", scale=100)
        if "tta_accuracy" in row:
            right += f"; {stored_runs.with_spread(row, 'tta_accuracy', scale=100)} with test-time augmentation"
        lines.append(
            f"| {row['data']} | {row['seconds']:g} s | {row['took']:.1f} s | {row['epochs']:.1f} "
            f"| {right} | {row['n']} |"
        )
    reached = []
    data_sets = sorted({row["data"] for row in rows})
    for data, marks in MARKS.items():
        for mark in marks:
            least = [row["seconds"] for row in rows if row["data"] == data and final_accuracy(row) >= mark]
            if data in data_sets:
                within = f"{min(least):g} s" if least else "no budget measured here"
                reached.append(f"{100 * mark:g} % on {data}: {within}")
    return "\n".join(
        [
            "# What a training reaches in so many seconds",
            "",
            f"Whole commands, each {beside}; mean ± standard deviation over n seeds. Epochs begun: the last one may be "
            f"incomplete. Made by `python benchmarks/minutes.py{f' --busy {busy}' if busy else ''}`. The commands, "
            "with the budget as `--minutes`:",
            "",
            *[f"- {data}: `cnnlab train {' '.join(TRAININGS[data])}`" for data in data_sets],
            "",
            *lines,
            "",
            "Smallest budget with a mean test accuracy (with test-time augmentation where there is one) of at least "
            f"{'; '.join(reached)}. The time of a command differed from its budget by "
            f"{100 * max(row['off'] for row in rows):.1f} % at most.",
            "",
            stored_runs.made_on(runs),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Run the commands, print, and write the results; return the rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(TRAININGS), help="one data set (default: both)")
    parser.add_argument("--seconds", type=float, nargs="+", help="budgets in seconds (default: those of the data)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each (default 5)")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute beside each command (default 0)")
    parser.add_argument("--data-dir", type=Path, help="folder with a folder for each data set")
    parser.add_argument("--out", type=Path, default=Path("minutes_out"), help="folder that keeps the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder for the results")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    if options.busy < 0:
        parser.error(f"--busy takes a number from 0 on, not {options.busy}.")
    out = options.out / f"busy{options.busy}" if options.busy else options.out
    out.mkdir(parents=True, exist_ok=True)
    for data in () if options.table else [options.only] if options.only else TRAININGS:
        for seconds in options.seconds or SECONDS[data]:
            for seed in range(options.seeds):
                run = one_run(data, seconds, seed, options.busy, out, options.data_dir)
                print(f"{data}, {seconds:g} s, seed {seed}: {run['accuracy']:.2%} in {run['took']:.1f} s", flush=True)
    runs = stored_runs.all_stored(out, CPU)
    rows = rows_of(runs)
    name = "minutes_busy" if options.busy else "minutes"
    stored_runs.write_results(options.results, name, page(rows, runs), rows, runs)
    return rows


if __name__ == "__main__":
    main()
