"""From images in memory to 94 % of CIFAR-10: the recipe ``speed-cifar10`` beside the fastest public trainings.

::

    python benchmarks/speed_cifar.py --rounds 5 --data-dir DATA     # writes results/speed_cifar.md and .json
    python benchmarks/speed_cifar.py --table                        # only writes the results, from the finished runs

The trainings take turns, each in a process of its own: in round k all with seed k. Finished runs are kept in ``--out``;
the same command goes on where it was cut off. Only trainings on one machine can be compared: a run of another machine,
with other changes to the recipe (``--set``) or on another number of images is trained again and replaced.

The time goes from the pixels in memory to the test accuracies: whatever is computed from the images, the trial of
number formats, all steps, and the answers to the test images with test-time augmentation. Reading the data, starting
Python and a report are not in it. The column GEMM is the rate of the training (floating-point operations of
convolutions and dense layers in forward and backward passes, divided by the time) as a share of the rate of a square
matrix product in the same number format (side 2048 on a CPU, 8192 on a GPU; the higher one of two measurements, just
before and just after the training).

Some copies of CIFAR-10 hold JPEGs in place of a few images; a file ``APPROXIMATE.json`` beside the data names them, and
the accuracies are given without them too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import cifar_records, stored_runs  # noqa: E402
from benchmarks.stored_runs import Run  # noqa: E402
from cnnlab.advisor.machine import matrix_product_speed  # noqa: E402
from cnnlab.data import ImageData, load_data  # noqa: E402
from cnnlab.hardware import choose_device, has_fast_bf16, keep_freed_memory  # noqa: E402
from cnnlab.training import Finished, fit, load_recipe  # noqa: E402
from cnnlab.training.loop import tta_logits  # noqa: E402

RECIPE, GOAL = "speed-cifar10", 0.94
TRAININGS = (RECIPE, *cifar_records.RECORDS)


def operations(side: int, model_options: Mapping[str, object] | None = None) -> float:
    """The operations on an image of ``side`` pixels in a training step of the network; the ports have no options.

    Nothing in or before the first layer has a gradient, as in all but the first steps of the ports, whose first bias
    learns for 0.19 to 3 epochs: up to 4 % more in those steps.
    """
    from cnnlab.tracing import summarise
    from cnnlab.zoo import create_model

    summary = summarise(create_model("airbench", **(model_options or {})), torch.zeros(1, 3, side, side))
    whitening, first = [layer.own_macs for layer in summary.layers if layer.own_macs][:2]
    passes = 3 * summary.macs - 2 * whitening - first  # forwards, and backwards for the weights and for the inputs
    return 2 * passes


def approximate(data_dir: Path | None) -> list[int]:
    """The positions of test images that are not the original ones, where the data say so."""
    file = (data_dir or Path()) / "APPROXIMATE.json"
    return json.loads(file.read_text())["approximate_jpeg_images"]["test"] if data_dir and file.is_file() else []


def train_recipe(data: ImageData, seed: int, changes: Sequence[str], device: str) -> Run:
    """Train the recipe once."""
    recipe = load_recipe(RECIPE).with_overrides([*changes, f"seed={seed}", f"device={device}"])
    start = time.perf_counter()
    *_, finished = fit(recipe, data=data)
    seconds = time.perf_counter() - start
    assert isinstance(finished, Finished)
    session = finished.session
    # Each size is used for the same number of images.
    per_image = [operations(side, recipe.model_options) for side in session.recipe.image_sizes or (32,)]
    # Once more, outside of the time, for each image's answer.
    logits = tta_logits(session, data.test, finished.logits) if session.recipe.tta else finished.logits  # type: ignore[arg-type]
    return {
        "seconds": seconds,
        "plain": (finished.logits.argmax(1) == finished.labels).tolist(),
        "tta": (logits.argmax(1) == finished.labels).tolist(),
        "operations": statistics.mean(per_image) * session.recipe.epochs * len(data.train),
        "precision": session.precision.label,
    }


def train_port(name: str, data: ImageData, seed: int, device: torch.device) -> Run:
    """Train a port once."""
    torch.manual_seed(seed)
    bf16 = has_fast_bf16(device)
    test = data.test
    assert test is not None
    pixels = [(split.pixels, split.labels) for split in (data.train, test)]  # type: ignore[attr-defined]
    start = time.perf_counter()
    *_, last = cifar_records.train(name, *pixels, device, bf16)
    seconds = time.perf_counter() - start
    record = cifar_records.RECORDS[name]
    steps = int(np.ceil(record.epochs * (len(data.train) // record.batch)))
    return {
        "seconds": seconds,
        "plain": (last["plain_logits"].argmax(1) == test.labels).tolist(),
        "tta": (last["logits"].argmax(1) == test.labels).tolist(),
        "operations": operations(32) * steps * record.batch,
        "precision": "bf16 channels_last" if bf16 else "fp32 channels_last",
    }


def settings_of(name: str, options: argparse.Namespace) -> Run:
    """Return what a run of a training notes of the options: changes are those of the recipe, the ports have none."""
    return {"changes": options.set if name == RECIPE else [], "images": options.images}


def one_run(name: str, seed: int, options: argparse.Namespace) -> Run:
    """Train once in this process, and add what belongs to the run."""
    keep_freed_memory()  # as in the command line
    device = choose_device(options.device)
    data = load_data("cifar10", data_dir=options.data_dir)
    if options.images:
        data = data.limited(options.images, test=options.images)
    dtype = torch.bfloat16 if has_fast_bf16(device) else torch.float32
    gemm = matrix_product_speed(device, dtype, 1.0)
    run = (
        train_recipe(data, seed, options.set, options.device)
        if name == RECIPE
        else train_port(name, data, seed, device)
    )
    gemm = max(gemm, matrix_product_speed(device, dtype, 1.0))  # a core may be busy elsewhere for a second
    kept = np.setdiff1d(np.arange(len(run["tta"])), approximate(options.data_dir) if not options.images else [])
    plain, augmented = (np.array(run.pop(key)) for key in ("plain", "tta"))
    return run | {
        "training": name,
        "seed": seed,
        **settings_of(name, options),
        "accuracy": float(plain.mean()),
        "accuracy_tta": float(augmented.mean()),
        "accuracy_originals": float(plain[kept].mean()),
        "accuracy_tta_originals": float(augmented[kept].mean()),
        "originals": len(kept),
        "gemm": gemm,
        "share": run["operations"] / run["seconds"] / gemm,
        **stored_runs.origin(device),
    }


def summarise_runs(runs: Sequence[Run]) -> list[Run]:
    """A row for each training: its times, its accuracies, and p of the hypothesis that their mean is below the goal."""
    from scipy import stats

    rows = []
    for name in TRAININGS:
        mine = [run for run in runs if run["training"] == name]
        if not mine:
            continue
        keys = ("seconds", "share", *(key for key in mine[0] if key.startswith("accuracy")))
        row = {"training": name, "precision": mine[0]["precision"]} | stored_runs.mean_and_std(mine, keys)
        accuracies = [run["accuracy_tta"] for run in mine]
        if len(set(accuracies)) > 1:
            row["p"] = float(stats.ttest_1samp(accuracies, GOAL, alternative="greater").pvalue)
        rows.append(row)
    ours = {run["seed"]: run["seconds"] for run in runs if run["training"] == RECIPE}
    for row in rows:
        theirs = {run["seed"]: run["seconds"] for run in runs if run["training"] == row["training"]}
        # Within a round: a machine may be slower on another day.
        ratios = [ours[seed] / seconds for seed, seconds in theirs.items() if seed in ours]
        row["ratio"] = statistics.mean(ratios) if ratios else None
    return rows


def page(rows: Sequence[Run], runs: Sequence[Run]) -> str:
    """The results in Markdown."""

    def percent(row: Run, key: str) -> str:
        return stored_runs.with_spread(row, key, scale=100)

    lines = [
        "| training | seconds | our time / its time | test accuracy (%) | with test-time augmentation (%) | p "
        "| GEMM (%) | n |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ratio = f"{row['ratio']:.2f}" if row["ratio"] and row["training"] != RECIPE else ""
        p = f"{row['p']:.2g}" if "p" in row else ""
        lines.append(
            f"| {row['training']} | {stored_runs.with_spread(row, 'seconds', 0)} | {ratio} "
            f"| {percent(row, 'accuracy')} | {percent(row, 'accuracy_tta')} | {p} "
            f"| {100 * row['share']:.0f} | {row['n']} |"
        )
    changes = next((run["changes"] for run in runs if run["training"] == RECIPE), [])
    changed = f", changed by `{' '.join(changes)}`," if changes else ""
    images = runs[0]["images"]
    few = f"Every training has only {images:,} training images and at most as many test images. " if images else ""
    left_out = 10_000 - runs[0]["originals"]
    originals = (
        f"Without the {left_out} test images that are JPEGs in this copy, with test-time augmentation: "
        + ", ".join(f"{row['training']} {percent(row, 'accuracy_tta_originals')}" for row in rows)
        + "."
        if 0 < left_out < 100
        else ""
    )
    return "\n".join(
        [
            "# To 94 % of CIFAR-10",
            "",
            f"The recipe `{RECIPE}`{changed} beside ports of the fastest public trainings, each alone on one machine. "
            f"{few}Our time / its time: the seconds of the recipe divided by those of the port with the same seed, "
            "which was trained in the same round; above 1 the recipe is slower. The ports are as long as published; "
            "the settings of the recipe were chosen by 10,000 held-out training images, when the test accuracies of "
            "the ports, of its former settings and of three trainings with other widths and lengths were known "
            "(`results/LOG.md`). p: one-sided t test of the null hypothesis that the mean accuracy with test-time "
            "augmentation is at most 94 %. GEMM: floating-point operations per second of the training as a share of "
            "those of a large matrix product in the same number format. Mean ± standard deviation over n seeds; of a "
            "single run there is no spread. Made by `python benchmarks/speed_cifar.py`, whose text says what is timed; "
            "`--only` and `--rounds` decide which trainings are made how often.",
            "",
            *lines,
            "",
            *([originals, ""] if originals else []),
            stored_runs.made_on(runs),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Train, print, and write the results; return the rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each training (default 5)")
    parser.add_argument("--only", default=",".join(TRAININGS), help="trainings, with commas between")
    parser.add_argument("--data-dir", type=Path, help="folder where CIFAR-10 is looked for first")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("speed_cifar_out"), help="folder that keeps the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder for the results")
    parser.add_argument(
        "--images", type=int, help="only so many images, at least 2,000, to try this script with an --out of its own"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--run", nargs=2, metavar=("TRAINING", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        name, seed = options.run
        stored_runs.store(options.out / f"{name}-{seed}.json", one_run(name, int(seed), options))
        return []
    device = choose_device(options.device)
    names = options.only.split(",")
    if unknown := sorted(set(names).difference(TRAININGS)):
        parser.error(f"There is no training {', '.join(unknown)}; there are {', '.join(TRAININGS)}.")
    for seed in range(0 if options.table else options.rounds):
        for name in names:
            if stored_runs.stored(options.out / f"{name}-{seed}.json", device, **settings_of(name, options)):
                continue
            print(f"{name}, seed {seed} ...", flush=True)
            stored_runs.in_own_process(__file__, arguments, name, str(seed))
    runs = stored_runs.all_stored(options.out, device, images=options.images)
    runs = [run for run in runs if stored_runs.fits(run, device, **settings_of(run["training"], options))]
    if not runs:
        parser.error(f"{options.out} has no run with these changes. Leave out --table to make them.")
    rows = summarise_runs(runs)
    stored_runs.write_results(options.results, "speed_cifar", page(rows, runs), rows, runs)
    return rows


if __name__ == "__main__":
    main()
