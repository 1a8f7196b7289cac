"""From images in memory to augmented, normalised batches: how many times faster is cnnlab's loader than the usual one?

::

    python benchmarks/data_path.py --data-dir DATA        # writes results/data_path.json and results/data_path.md

Two loaders take turns, pass after pass, over the same training images of CIFAR-10, random where they are not at hand,
with the same augmentation (4 pixels of padding, a crop, a flip) and normalisation, in shuffled batches of 128:

- ``cnnlab``: :class:`cnnlab.data.Loader`, which augments whole batches of pixels.
- ``DataLoader + PIL``: a ``torch.utils.data.DataLoader`` over a data set that turns each image into a PIL image, pads,
  crops and mirrors it, turns it into a tensor and normalises that: the transforms of torchvision's examples, written
  out with PIL and torch, since torchvision is not needed here. With no workers and with one per core; the faster
  counts.

The ratio is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import stored_runs  # noqa: E402
from cnnlab.data import ArraySplit, Augment, Loader, Preprocess, load_data  # noqa: E402
from cnnlab.errors import DataError  # noqa: E402

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BATCH = 128


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images that are augmented one after the other with PIL."""

    def __init__(self, split: ArraySplit) -> None:
        self.pixels = split.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels.tolist()
        self.mean, self.std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = ImageOps.expand(Image.fromarray(self.pixels[index]), 4)
        left, top = random.randint(0, 8), random.randint(0, 8)
        image = image.crop((left, top, left + 32, top + 32))
        if random.random() < 0.5:
            image = ImageOps.mirror(image)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.sub(self.mean).div(self.std), self.labels[index]


def images(data_dir: Path | None, count: int) -> tuple[ArraySplit, bool]:
    """The first training images of CIFAR-10, and whether they are real."""
    try:
        train = load_data("cifar10", data_dir=data_dir).train
        return train.subset(torch.arange(count)), True  # type: ignore[return-value]
    except DataError:
        pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
        return ArraySplit(pixels, torch.arange(count) % 10), False


def rate(batches: Callable[[], Iterable[Any]], count: int) -> float:
    """Images per second of one pass."""
    start = time.perf_counter()
    for _ in batches():
        pass
    return count / (time.perf_counter() - start)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, and write the results; return them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder where CIFAR-10 is looked for first")
    parser.add_argument("--images", type=int, default=10_000, help="images in a pass (default 10,000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "results", help="folder for the results")
    options = parser.parse_args(arguments)
    split, real = images(options.data_dir, options.images)
    loader = Loader(split, Preprocess(32, 3, MEAN, STD), BATCH, augment=Augment(flip=True, crop=4), shuffle=True)
    usual = {
        f"DataLoader + PIL, {workers} workers": DataLoader(PilImages(split), BATCH, shuffle=True, num_workers=workers)
        for workers in sorted({0, os.cpu_count() or 1})
    }
    passes: dict[str, Callable[[], Iterable[Any]]] = {"cnnlab": lambda: loader.epoch(0)}
    passes |= {name: (lambda usual=each: usual) for name, each in usual.items()}
    rates: dict[str, list[float]] = {name: [] for name in passes}
    for position in range(options.rounds + 1):
        for name, batches in passes.items():
            value = rate(batches, len(split))
            if position:  # the first round warms up
                rates[name].append(value)
    ratio = statistics.median(ours / max(others) for ours, *others in zip(*rates.values(), strict=True))
    result = {
        "images": len(split),
        "real": real,
        "rounds": options.rounds,
        "images_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "ratio": ratio,
        **stored_runs.origin(torch.device("cpu")),
    }
    rows = [f"| {name} | {value:,.0f} |" for name, value in result["images_per_second"].items()]
    text = "\n".join(
        [
            "# From images in memory to batches",
            "",
            f"{len(split):,} {'images of CIFAR-10' if real else 'random images'} of 32x32 pixels, padded, cropped, "
            f"mirrored and normalised, in batches of {BATCH}; medians of {options.rounds} passes in turns. Made by "
            "`python benchmarks/data_path.py`, whose text says what is compared.",
            "",
            "| loader | images/s |",
            "|---|---:|",
            *rows,
            "",
            f"cnnlab makes {ratio:.1f} times the images/s of the faster DataLoader.",
            "",
            stored_runs.made_on([result]),
        ]
    )
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "data_path.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "data_path.md").write_text(text + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
