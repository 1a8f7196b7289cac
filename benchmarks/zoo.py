"""Train every network of the zoo for a short while and write down what came out.

::

    python benchmarks/zoo.py --data-dir DIR                   # every network
    python benchmarks/zoo.py resnet18 vgg16 --seconds 120     # only these, longer
    python benchmarks/zoo.py --speed                          # only time the training steps again, on a quiet machine
    python benchmarks/zoo.py --table                          # only rewrite the tables

Each network gets the same time, so a fast one sees more images than a slow one: the table says how many. It is a proof
that each of them learns, and how fast it does on one machine; it is no ranking of what they reach when trained fully.
What was measured is kept per network in ``--out``; after an interruption the same command goes on with the rest.
``results/zoo.json`` and the table in ``results/zoo.md`` are written from there; networks of which ``--out`` has nothing
keep their rows.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import cnnlab
from cnnlab.data import ImageData, load_data
from cnnlab.hardware import processor_name
from cnnlab.training import Finished, Recipe, StepDone, fit, prepare
from cnnlab.training.precision import choose_precision
from cnnlab.zoo import create_model, list_models, models

RESULTS = Path(__file__).parents[1] / "results"

LEAST_IMAGES = (1600, 960)  # however slow a network is; of more than 50 M parameters
FEW_IMAGES = 3000
LEAST_TEST, MOST_EPOCHS = 500, 5


def recipe_for(name: str, device: str) -> Recipe:
    """The same settings for all, but digits instead of photos for networks made for large photos.

    A processor shows them a few thousand images in a minute, which is enough to learn digits of 16x16 pixels and not
    enough to learn CIFAR-10. Networks without normalisation get a lower learning rate.
    """
    facts = models.get(name).facts
    with torch.device("meta"):
        kinds = {type(module).__name__ for module in create_model(name).modules()}
    normalised = any("Norm" in kind for kind in kinds)
    for_photos = facts.image_size > 32
    return Recipe(
        model=name,
        data="cifar10" if facts.in_channels == 3 and not for_photos else "mnist",
        image_size=max(16, facts.min_size) if for_photos else None,
        batch_size=32,
        lr=1e-3 if normalised else 3e-4,
        weight_decay=0.01,
        clip_norm=1.0,
        schedule="onecycle",
        device=device,
    )


def timed_steps(recipe: Recipe, data: ImageData, seconds: float) -> float:
    """Images/s of training steps as ``fit`` makes them, after two that do not count."""
    seen, start = 0, 0.0
    events = fit(recipe, data=data)
    for event in events:
        if not isinstance(event, StepDone):
            continue
        float(event.loss)  # wait for the device
        if event.step == 2 and event.epoch == 1:
            seen, start = 0, time.perf_counter()
        elif start:
            seen += event.images
            if time.perf_counter() - start > seconds and seen:
                break
    events.close()  # type: ignore[attr-defined]
    return seen / (time.perf_counter() - start)


def train(name: str, data: ImageData, seconds: float, device: str) -> dict[str, Any]:
    """Train ``name`` for about ``seconds`` and evaluate it; return everything the table needs."""
    recipe = recipe_for(name, device)
    session = prepare(recipe, data)  # decides precision and memory format
    recipe = recipe.with_overrides(
        [f"precision={session.recipe.precision}", f"channels_last={str(session.recipe.channels_last).lower()}"]
    )
    rate = timed_steps(recipe, data, min(5.0, seconds / 8))
    large = sum(p.numel() for p in session.model.parameters()) > 5e7
    images = max(LEAST_IMAGES[large], int(rate * seconds))
    if images < FEW_IMAGES:
        recipe = recipe.with_overrides(["batch_size=16"])  # more steps from as many images
    epochs = min(MOST_EPOCHS, max(1, round(images / len(data.train))))
    limit = min(len(data.train), images)
    assert data.test is not None
    # Evaluation is about three times as fast as training; it may take a third of the time.
    shown = min(len(data.test), max(LEAST_TEST, int(rate * seconds)))
    data = replace(data, test=data.test.subset(spread(len(data.test), shown)))
    overrides = [f"epochs={epochs}"] + [f"train_limit={limit}"] * (limit < len(data.train))
    recipe = recipe.with_overrides(overrides)
    session = prepare(recipe, data)
    for module in session.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    *_, finished = fit(recipe, session=session)
    assert isinstance(finished, Finished)
    n = len(finished.labels)
    return {
        "model": name,
        "year": models.get(name).facts.year,
        "parameters": sum(p.numel() for p in finished.session.model.parameters()),
        "data": recipe.data,
        "classes": len(data.classes),
        "image_size": finished.session.recipe.image_size,
        "epochs": epochs,
        "images": epochs * limit,
        "batch_size": recipe.batch_size,
        "accuracy": 100 * finished.accuracy,
        "half_interval": 196 * math.sqrt(finished.accuracy * (1 - finished.accuracy) / n),
        "n": n,
        "seconds": finished.seconds,
        "lr": recipe.lr,
        "precision": recipe.precision,
        "channels_last": recipe.channels_last,
        "seed": recipe.seed,
        **where(finished.session.device),
    }


def spread(total: int, count: int) -> list[int]:
    """``count`` positions at equal distances: the classes of CIFAR-10 and MNIST follow one another at random."""
    return [position * total // count for position in range(count)]


def where(device: torch.device) -> dict[str, Any]:
    """What it ran on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "machine": gpu or f"{processor_name()}, {torch.get_num_threads()} threads",
        "versions": f"cnnlab {cnnlab.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def measure_speed(name: str, data: ImageData, device: str) -> dict[str, Any]:
    """Images/s of training steps in the setting that is fastest here."""
    fixed = ["precision=fp32", "channels_last=false"]  # one trial is enough: the one below
    session = prepare(recipe_for(name, device).with_overrides(fixed), data)
    size, channels = session.recipe.image_size, session.recipe.in_channels
    assert size
    assert channels
    precision = choose_precision(
        recipe_for(name, device),
        session.model,
        (channels, size, size),
        len(data.classes),
        session.device,
        budget=4.0,
    )
    # Nothing is tried where there is only one setting, and what the hardware decides may not have been tried.
    label = precision.label if precision.label in precision.measured else next(iter(precision.measured), "")
    rate = precision.measured[label] if label else timed_steps(session.recipe, data, 3.0)
    return {"speed": rate, "speed_setting": label or precision.label, "speed_on": where(session.device)}


def collect_rows(out: Path) -> list[dict[str, Any]]:
    """Return a row per network in the order of the table: that of ``results/zoo.json``, updated by what ``out`` has."""
    written = RESULTS / "zoo.json"
    before = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else []
    rows: dict[str, dict[str, Any]] = {row["model"]: row for row in before}
    for path in sorted(out.glob("*.json")):
        rows[path.stem] = rows.get(path.stem, {}) | json.loads(path.read_text(encoding="utf-8"))
    trained = [row for row in rows.values() if "accuracy" in row]
    return sorted(trained, key=lambda row: (row["data"], row["year"], row["model"]))


def write_tables(out: Path) -> None:
    """Write ``results/zoo.json`` and ``results/zoo.md``."""
    rows = collect_rows(out)
    titles = (
        "network",
        "year",
        "parameters",
        "trained on",
        "epochs",
        "images seen",
        "steps",
        "time",
        "test accuracy, %",
        "training images/s",
    )
    lines = ["| " + " | ".join(titles) + " |", "|---|---:|---:|---|---:|---:|---:|---:|---:|---:|"]
    for row in rows:
        steps = math.ceil(row["images"] / row["batch_size"])
        speed = f"{row['speed']:,.0f}" if "speed" in row else "–"
        cells = (
            f"`{row['model']}`",
            str(row["year"]),
            f"{row['parameters']:,}",
            f"{row['data']}, {row['image_size']} px",
            str(row["epochs"]),
            f"{row['images']:,}",
            f"{steps:,}",
            f"{row['seconds']:.0f} s",
            f"{row['accuracy']:.1f} ± {row['half_interval']:.1f} (n = {row['n']:,})",
            speed,
        )
        lines.append(f"| {' | '.join(cells)} |")
    trained = "; ".join(sorted({f"{row['machine']}, {row['versions']}" for row in rows}))
    timed = "; ".join(sorted({row["speed_on"]["machine"] for row in rows if "speed" in row})) or "not measured"
    about = (
        "Every network of the zoo, trained for a short while from random weights with one seed: AdamW, one-cycle, "
        "batches of 32 or 16, no augmentation, learning rate 1e-3, or 3e-4 without normalisation. Networks made for "
        "small images train on CIFAR-10, or on MNIST where one channel is usual; those for large photos on MNIST at "
        "16x16 pixels, or at the least that they take: a processor shows them too few images in that time to learn "
        "CIFAR-10. BatchNorm statistics follow with momentum 0.1 in all of them: at the 0.01 of some, a run of few "
        "steps would be evaluated with those of the random start. Accuracy with its 95 % interval over n test images "
        "at equal distances; chance is 10 %. It shows that each of them learns, not what they reach when trained fully "
        "and not which is better: time and images differ, and other work ran beside some of them. The time is that of "
        "the run with its evaluation. Parameters are for ten classes. Images/s: a training step at that batch or less, "
        "precision and memory format chosen by a trial. Written by `benchmarks/zoo.py`."
    )
    text = "\n".join([about, "", *lines, "", f"Trained on: {trained}. Steps timed on: {timed}."])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "zoo.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "zoo.md").write_text(f"# The zoo, trained for a short while\n\n{text}\n", encoding="utf-8")


def main() -> None:
    """Train, time, or only tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="which networks [default: all]")
    parser.add_argument("--seconds", type=float, default=45, help="training time for each network")
    parser.add_argument("--data-dir", help="where data sets are")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--threads", type=int, help="threads of the CPU to use")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="where the numbers are kept")
    parser.add_argument("--speed", action="store_true", help="only time the training steps")
    parser.add_argument("--table", action="store_true", help="only rewrite the tables")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = arguments.models or sorted(list_models(), key=lambda name: models.get(name).facts.parameters)
    loaded: dict[str, ImageData] = {}
    for name in [] if arguments.table else names:
        path = arguments.out / f"{name}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if ("speed" if arguments.speed else "accuracy") in known:
            continue
        try:
            source = recipe_for(name, arguments.device).data
            if source not in loaded:
                loaded[source] = load_data(source, data_dir=arguments.data_dir)
            started = time.perf_counter()
            if arguments.speed:
                known |= measure_speed(name, loaded[source], arguments.device)
                print(f"{name}: {known['speed']:,.0f} images/s ({known['speed_setting']})", flush=True)
            else:
                known |= train(name, loaded[source], arguments.seconds, arguments.device)
                took = time.perf_counter() - started
                print(f"{name}: {known['accuracy']:.1f} %, {known['images']:,} images, {took:.0f} s in all", flush=True)
            path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        except Exception:  # one network must not cost the others
            traceback.print_exc()
            print(f"{name}: failed", flush=True)
    write_tables(arguments.out)


if __name__ == "__main__":
    main()
