"""Train every network of the zoo for the same time on CIFAR-10 and on MNIST, and write down what came out.

::

    python benchmarks/zoo.py --data-dir DIR                          # every network, one minute on each, one seed
    python benchmarks/zoo.py --data-dir DIR --minutes 2 --seeds 3    # a night: the first seeds come first
    python benchmarks/zoo.py resnet18 vgg16 --data cifar10           # only these
    python benchmarks/zoo.py --table                                 # only write the results, from the finished runs

Every training has the same minutes for its steps, so that a fast network sees more images than a slow one; the table
has their epochs. The evaluation comes after the minutes. All networks train at 32x32 pixels, or at the least that they
take, with the same settings, but for a lower learning rate of those without normalisation: AdamW with a one-cycle
learning rate that follows the clock (``minutes`` in a recipe). It shows how well and how fast each of them learns in a
short time on one machine, not what they reach when trained fully.

Finished runs are kept in ``--out``, one file for each network, data set and seed; the same command goes on where it was
cut off, and takes the seeds in turns, so that every network has one run before any has two. Runs of another machine or
of other minutes are made again and replaced. ``results/zoo.json`` and ``results/zoo.md`` are written from them, and
keep the runs of this machine and these minutes that ``--out`` does not have.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import stored_runs  # noqa: E402
from benchmarks.stored_runs import Run  # noqa: E402
from cnnlab.data import ImageData, load_data  # noqa: E402
from cnnlab.hardware import choose_device, keep_freed_memory  # noqa: E402
from cnnlab.training import Finished, Recipe, StepDone, fit, prepare  # noqa: E402
from cnnlab.training.clock import Clock  # noqa: E402
from cnnlab.zoo import create_model, models  # noqa: E402

DATA = ("cifar10", "mnist")
SIDE, TEST_IMAGES = 32, 2000
NEAR_CHANCE, FEW_STEPS = 0.13, 50


def recipe_for(name: str, data: str, minutes: float, seed: int, device: str) -> Recipe:
    """The same settings for all networks, but a lower learning rate for those without normalisation."""
    facts = models.get(name).facts
    with torch.device("meta"):
        kinds = {type(module).__name__ for module in create_model(name).modules()}
    normalised = any("Norm" in kind for kind in kinds)
    return Recipe(
        model=name,
        data=data,
        image_size=max(SIDE, facts.min_size),
        minutes=minutes,
        batch_size=64,
        lr=1e-3 if normalised else 3e-4,
        weight_decay=0.05,
        clip_norm=1.0,
        schedule="onecycle",
        augment={"crop": 2, "flip": data == "cifar10"},  # type: ignore[arg-type]
        evaluate_every=1000,
        seed=seed,
        device=device,
    )


def train(name: str, data: ImageData, minutes: float, seed: int, device: str) -> Run:
    """Train once and evaluate; return everything the table needs."""
    assert data.test is not None
    # The classes of both data sets follow one another at random, so images at equal distances are a fair sample.
    shown = min(TEST_IMAGES, len(data.test))
    data = replace(data, test=data.test.subset([i * len(data.test) // shown for i in range(shown)]))
    recipe = recipe_for(name, data.name, minutes, seed, device)
    session = prepare(recipe, data)  # builds and chooses the precision, which is not training yet
    for module in session.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = max(module.momentum or 0.0, 0.1)
    session.clock = Clock(60 * minutes, counts_evaluations=False)
    images = steps = 0
    for event in fit(session.recipe, session=session):
        if isinstance(event, StepDone):
            images, steps = images + event.images, steps + 1
    assert isinstance(event, Finished)
    return {
        "model": name,
        "data": data.name,
        "seed": seed,
        "minutes": minutes,
        "year": models.get(name).facts.year,
        "parameters": sum(p.numel() for p in session.model.parameters()),
        "image_size": session.recipe.image_size,
        "epochs": images / len(data.train),
        "steps": steps,
        "accuracy": event.accuracy,
        "test_images": len(event.labels),
        "images_per_second": images / event.seconds,
        "precision": session.precision.label,
        **stored_runs.origin(session.device),
    }


def rows_of(runs: Sequence[Run]) -> list[Run]:
    """A row for each network and data set."""
    rows = []
    for data, _, name in sorted({(run["data"], run["year"], run["model"]) for run in runs}):
        mine = [run for run in runs if (run["data"], run["model"]) == (data, name)]
        row = stored_runs.mean_and_std(mine, ("accuracy", "epochs", "steps", "images_per_second"))
        same = ("model", "data", "year", "parameters", "image_size", "minutes", "test_images")
        precision = ", ".join(sorted({run["precision"] for run in mine}))
        rows.append({key: mine[0][key] for key in same} | {"precision": precision} | row)
    return rows


def page(rows: Sequence[Run], runs: Sequence[Run]) -> str:
    """The results in Markdown."""
    uncertain = 1.96 * 100 * (0.25 / rows[0]["test_images"]) ** 0.5
    lines = [
        "# The zoo at equal time",
        "",
        f"Every network of the zoo, trained from random weights for {rows[0]['minutes']:g} min on each data set: "
        "AdamW (weight decay 0.05, gradient norm at most 1), one-cycle, batches of 64, shifts by up to two pixels, on "
        "CIFAR-10 mirrored images too, learning rate 1e-3, or 3e-4 without normalisation. Images of 32x32 pixels, or "
        "the least that a network takes. The momentum of BatchNorm's running statistics is at least 0.1: some networks "
        "use 0.01, with which the statistics would still be near their initial values after so few steps. Accuracy on "
        f"{rows[0]['test_images']:,} test images, spread evenly over the test split, mean ± standard deviation over n "
        f"seeds. Chance is 10 %; these images alone make an accuracy of 50 % uncertain by ± {uncertain:.1f} points "
        "(95 %). Parameters are for ten classes; precision: number format and memory layout, which each training "
        "chooses by a trial, of n > 1 all that occurred; images/s: training steps with the data path. It shows how "
        "well and how fast each of them learns in a short time on this machine, not what they reach when trained "
        "fully. Made by `python benchmarks/zoo.py`.",
    ]
    for data in dict.fromkeys(row["data"] for row in rows):
        lines += [
            "",
            f"## {data}",
            "",
            "| network | year | parameters | pixels | precision | images/s | epochs | steps | test accuracy (%) | n |",
            "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| `{row['model']}` | {row['year']} | {row['parameters']:,} | {row['image_size']} | {row['precision']} "
            f"| {row['images_per_second']:,.0f} | {row['epochs']:.2f} | {row['steps']:,.0f} "
            f"| {stored_runs.with_spread(row, 'accuracy', 1, 100)} | {row['n']} |"
            for row in rows
            if row["data"] == data
        ]
        near = [row for row in rows if row["data"] == data and row["accuracy"] < NEAR_CHANCE]
        if near:
            slow = sum(row["steps"] < FEW_STEPS for row in near)
            lines += [
                "",
                f"{len(near)} networks stay below {100 * NEAR_CHANCE:.0f} %, near chance; {slow} of them made fewer "
                f"than {FEW_STEPS} steps, too few to say anything about a network.",
            ]
    return "\n".join([*lines, "", stored_runs.made_on(runs)])


def runs_before(results: Path, device: torch.device, minutes: float) -> dict[tuple[str, str, int], Run]:
    """Return the runs of the last results, where they are of this machine and of as many minutes."""
    written = results / "zoo.json"
    runs = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else {}
    runs = runs["runs"] if isinstance(runs, dict) and "runs" in runs else []
    return {
        (run["model"], run["data"], run["seed"]): run for run in runs if stored_runs.fits(run, device, minutes=minutes)
    }


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Train, print, and write the results; return the rows of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="which networks (default: all, small ones first)")
    parser.add_argument("--data", choices=DATA, help="one data set (default: both)")
    parser.add_argument("--minutes", type=float, default=1.0, help="time of each training's steps (default 1)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each (default 1)")
    parser.add_argument("--data-dir", type=Path, help="folder where the data sets are looked for first")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--out", type=Path, default=Path("zoo_out"), help="folder that keeps the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder for the results")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    names = stored_runs.networks(parser, options.models, "parameters")
    loaded: dict[str, ImageData] = {}
    for seed in range(0 if options.table else options.seeds):
        for name in names:
            for data in [options.data] if options.data else DATA:
                file = options.out / f"{name}-{data}-{seed}.json"
                if stored_runs.stored(file, device, minutes=options.minutes):
                    continue
                try:
                    if data not in loaded:
                        loaded[data] = load_data(data, data_dir=options.data_dir)
                    run = train(name, loaded[data], options.minutes, seed, options.device)
                except Exception:  # one network must not cost the others
                    traceback.print_exc()
                    print(f"{name}, {data}, seed {seed}: failed", flush=True)
                    continue
                stored_runs.store(file, run)
                print(f"{name}, {data}, seed {seed}: {run['accuracy']:.1%}, {run['epochs']:.2f} epochs", flush=True)
    mine = stored_runs.all_stored(options.out, device, minutes=options.minutes)
    kept = runs_before(options.results, device, options.minutes)
    kept |= {(run["model"], run["data"], run["seed"]): run for run in mine}
    runs = [kept[key] for key in sorted(kept)]
    rows = rows_of(runs)
    stored_runs.write_results(options.results, "zoo", page(rows, runs), rows, runs)
    return rows


if __name__ == "__main__":
    keep_freed_memory()  # as in the command line
    main()
