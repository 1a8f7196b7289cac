"""Run folders for the tests of what comes after training: small photo folders and copies with other scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from cnnlab.runs import Run, open_run


def make_photos(root: Path, classes: tuple[str, ...] = ("ants", "bees"), n: int = 6, seed: int = 0) -> Path:
    """Write ``root/train`` and ``root/val`` with ``n`` small PNG photos per class, each class of its own colour."""
    rng = np.random.default_rng(seed)
    for split in ("train", "val"):
        for index, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for number in range(n):
                pixels = rng.integers(0, 120, (20, 24, 3), dtype=np.uint8)
                pixels[..., index % 3] += 130
                Image.fromarray(pixels).save(root / split / name / f"{name}_{number}.png")
    return root


def copy_run(run: Run, path: Path) -> Run:
    """Return a copy of a run folder that may be changed."""
    shutil.copytree(run.path, path)
    return open_run(path)


def with_scores(run: Run, logits: np.ndarray, labels: np.ndarray, names: list[str] | None = None) -> Run:
    """Replace the scores and predictions of ``run``."""
    run.write_scores(logits, labels, run.classes, run.summary["split"], names)
    return run
