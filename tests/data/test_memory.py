"""The memory of a training does not grow with a folder of photos that does not fit into the cache."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import Loader, Preprocess, base, load_data


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc tells the memory of a process")
def test_an_epoch_of_a_folder_larger_than_the_limit_stays_within_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """320 photos take 144 MiB decoded, the cache may take 16 MiB, and the process grows by less than 48 MiB."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (396, 396, 3), dtype=np.uint8))
    for label in "ab":
        (tmp_path / label).mkdir()
        photo.save(tmp_path / label / "0.bmp")
        for number in range(1, 160):
            os.link(tmp_path / label / "0.bmp", tmp_path / label / f"{number}.bmp")
    monkeypatch.setattr(base, "memory_budget", lambda: 16 << 20)
    train = load_data(tmp_path, seed=0).train
    preprocess = Preprocess(size=396, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3, resize="crop")
    loader = Loader(train, preprocess, 4, shuffle=True)
    batches = loader.epoch(0)
    for _ in range(3):
        next(batches)
    before = resident_bytes()
    most = max(resident_bytes() for _ in batches)
    assert len(train) * 3 * 396**2 > 100 << 20
    assert most - before < 48 << 20
