"""Time the prediction of a folder of photos, and the forms in which a network can compute.

::

    python benchmarks/predict.py efficientnet_lite0 photos/
    python benchmarks/predict.py efficientnet_lite0 photos/ --forms resnet18:224,mobilenet_v2:224,resnet20:32

The photos are copied until there are ``--count`` of them. Decoding alone (all cores), computing alone, and both as
``cnnlab predict`` does them take turns; ratios are medians over rounds. On a CPU decoding and computing share the
cores, so that no program can take less than the sum of both times: that sum is the other yardstick, beside the slower
of the two. OpenMP's threads wait for each other as in the command. ``--forms`` times networks with random weights in
fp32 and bf16, as they are and with BatchNorm folded, in both memory layouts. ``results/predict.md`` and
``results/predict.json`` are written from the measurements.
"""

from __future__ import annotations

import argparse
import copy
import json
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from cnnlab.hardware import Precision, has_fast_bf16, processor_name, wait_briefly  # noqa: E402

wait_briefly()  # before torch is loaded

import torch  # noqa: E402

from benchmarks import stored_runs  # noqa: E402
from cnnlab.data.scanning import workers  # noqa: E402
from cnnlab.data.walk import image_files  # noqa: E402
from cnnlab.files import write_text  # noqa: E402
from cnnlab.runs import open_classifier  # noqa: E402
from cnnlab.runs.predict import predict  # noqa: E402
from cnnlab.tracing.batchnorm_folding import folded  # noqa: E402
from cnnlab.training.precision import to_memory_format  # noqa: E402
from cnnlab.zoo import create_model  # noqa: E402

RESULTS = ROOT / "results"


def seconds_of(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def copies(photos: Path, folder: Path, count: int) -> list[Path]:
    """Copy the photos of a folder again and again until there are ``count``."""
    sources = image_files([photos]).paths
    targets = [folder / f"{number:05d}{sources[number % len(sources)].suffix}" for number in range(count)]
    for number, target in enumerate(targets):
        shutil.copyfile(sources[number % len(sources)], target)
    return targets


def pipeline(network: str, photos: Path, count: int, rounds: int) -> dict[str, Any]:
    """Time decoding alone, computing alone, and both, in the form that so many photos are predicted in."""
    plain = open_classifier(network)
    classifier = plain.for_many(count)
    times: dict[str, list[float]] = {"decoding alone": [], "computing alone": [], "predict": []}
    with tempfile.TemporaryDirectory() as folder:
        paths = copies(photos, Path(folder), count)

        def decode_all() -> list[torch.Tensor]:
            with ThreadPoolExecutor(workers()) as pool:
                return list(pool.map(classifier.preprocess.pixels, paths))

        batches = torch.stack(decode_all()).split(64)

        def compute_all() -> None:
            for batch in batches:
                classifier.probabilities(batch)

        predict(plain, paths[:64])
        calls: dict[str, Callable[[], object]] = {
            "decoding alone": decode_all,
            "computing alone": compute_all,
            "predict": lambda: predict(plain, paths),
        }
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(seconds_of(call))
    turns = list(zip(*times.values(), strict=True))
    return {
        "network": network,
        "photos": count,
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "of the slower": statistics.median(max(decode, compute) / both for decode, compute, both in turns),
        "of the sum": statistics.median((decode + compute) / both for decode, compute, both in turns),
    }


def forms(name: str, size: int, batch: int, rounds: int) -> dict[str, Any]:
    """Time a network in every form; the rounds alternate between the forms."""
    torch.manual_seed(0)
    plain = create_model(name, image_size=size).eval()
    shape = (batch, plain.arch["in_channels"], size, size)
    twin, pairs = folded(plain, shape)
    images, calls = torch.rand(shape), {}
    for bf16 in (False, True) if has_fast_bf16(torch.device("cpu")) else (False,):
        for last in (False, True):
            for label, model in (("", plain), (" folded", twin)):
                precision = Precision(bf16, last)
                calls[precision.label + label] = forward(model, images, precision)
    times: dict[str, list[float]] = {label: [] for label in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for label, call in calls.items():
            times[label].append(seconds_of(call))
    rates = {label: batch / min(values) for label, values in times.items()}
    return {"network": name, "size": size, "batch": batch, "folded": pairs, "images per second": rates}


def forward(model: torch.nn.Module, images: torch.Tensor, precision: Precision) -> Callable[[], object]:
    own = to_memory_format(copy.deepcopy(model), precision.memory_format)
    stored = images.contiguous(memory_format=precision.memory_format)

    def call() -> None:
        with torch.inference_mode(), precision.autocast(torch.device("cpu")):
            own(stored)

    return call


def page(result: dict[str, Any]) -> str:
    """The page of results."""
    lines = [
        "# Prediction: how fast",
        "",
        f"Made by `{result['command']}` on {result['date']}: {result['processor']}, "
        f"{result['threads']} threads, bf16 "
        f"{'in hardware' if result['fast_bf16'] else 'emulated'}, torch {torch.__version__}.{result['note']}",
        "",
    ]
    if one := result.get("pipeline"):
        lines += [
            f"## {one['photos']} photos, {one['network']}",
            "",
            "| | seconds |",
            "|---|---:|",
            *(f"| {name} | {seconds:.2f} |" for name, seconds in one["seconds"].items()),
            "",
            f"Speed of `cnnlab predict`: {one['of the slower']:.2f} of the slower of both alone, and "
            f"{one['of the sum']:.2f} of what cores can do that have to do both.",
            "",
        ]
    if rows := result.get("forms"):
        labels = list(rows[0]["images per second"])
        lines += [
            "## Forms: speed against fp32 as it is",
            "",
            f"| network | size | folded | {labels[0]}, images/s | {' | '.join(labels[1:])} |",
            f"|---|---:|---:|{'---:|' * len(labels)}",
        ]
        for row in rows:
            rates = row["images per second"]
            ratios = " | ".join(f"{rates[label] / rates[labels[0]]:.2f}" for label in labels[1:])
            lines.append(f"| {row['network']} | {row['size']} | {row['folded']} | {rates[labels[0]]:.0f} | {ratios} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a run, or the name of a network with public weights")
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forms", default="", help="NAME:SIZE,... of networks")
    parser.add_argument("--batch", type=int, default=32, help="images of a pass of --forms")
    parser.add_argument("--note", default="", help="a sentence for the page, such as what else ran")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for predict.json and predict.md")
    options = parser.parse_args(arguments)
    if not options.photos.is_dir():
        parser.error(f"{options.photos} is no folder.")
    words = shlex.join([options.network, f"{options.photos.resolve().name}/"])
    command = stored_runs.command(__file__, parser, options, ("count", "rounds", "forms", "batch"))
    result = {
        "command": command.replace("predict.py", f"predict.py {words}", 1),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "fast_bf16": has_fast_bf16(torch.device("cpu")),
        "note": f" {options.note}" if options.note else "",
    }
    if options.count:
        result["pipeline"] = pipeline(options.network, options.photos, options.count, options.rounds)
    names = [text.split(":") for text in options.forms.split(",") if text]
    result["forms"] = [forms(name, int(size), options.batch, options.rounds) for name, size in names]
    options.out.mkdir(parents=True, exist_ok=True)
    write_text(options.out / "predict.json", json.dumps(result, indent=2) + "\n")
    write_text(options.out / "predict.md", page(result))
    print(page(result))
    return result


if __name__ == "__main__":
    main()
