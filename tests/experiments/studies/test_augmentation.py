"""The augmented photos, the effects and the figures of the study ``augmentation``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnnlab.data import ArraySplit, Augment, ImageData
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.augmentation import NONE, PHOTOS, Augmentation, augmented_photos, recorded_photos
from cnnlab.training import Recipe, prepare

SIDE = 16


@pytest.fixture(scope="module")
def data() -> ImageData:
    pixels = np.random.default_rng(0).integers(40, 216, (PHOTOS, 3, SIDE, SIDE)).astype(np.uint8)
    split = ArraySplit(pixels, np.arange(PHOTOS) % 2)
    return ImageData("made up", ["a", "b"], split, val=None, test=split, source="made up")


def photos(data: ImageData, **augment: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the photos (PHOTOS, 3, SIDE, SIDE) before and after augmentation, as integers."""
    fixed: dict[str, Any] = {"precision": "fp32", "channels_last": False, "device": "cpu"}
    recipe = Recipe(model="mlp", data="made up", augment=Augment(**augment), **fixed)
    assert isinstance(data.train, ArraySplit)
    return data.train.pixels.int(), augmented_photos(prepare(recipe, data), PHOTOS, seed=1).int()


def test_without_augmentation_the_photos_stay_as_they_are(data: ImageData) -> None:
    before, after = photos(data)
    assert torch.equal(before, after)


def test_flip_mirrors_some_photos(data: ImageData) -> None:
    before, after = photos(data, flip=True)
    mirrored = [torch.equal(one.flip(2), other) for one, other in zip(before, after, strict=True)]
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 0 < sum(mirrored) < PHOTOS


def test_crop_moves_photos_by_up_to_two_pixels(data: ImageData) -> None:
    before, after = photos(data, crop=2)
    padded = np.pad(before.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    places = set()
    for one, other in zip(padded, after.numpy(), strict=True):
        cuts = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(one[:, top : top + SIDE, left : left + SIDE], other)
        ]
        assert len(cuts) == 1
        places.update(cuts)
    assert len(places) > 1


def test_cutout_sets_a_square_to_the_mean_colour(data: ImageData) -> None:
    before, after = photos(data, cutout=4)
    mean = before.float().mean((0, 2, 3))
    for one, other in zip(before, after, strict=True):
        changed = (one != other).any(0)
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        assert max(len(rows), len(columns)) <= 4
        assert int(changed.sum()) == len(rows) * len(columns) > 0
        torch.testing.assert_close(other[:, changed].float(), mean[:, None].expand(3, changed.sum()), atol=1, rtol=0)


def test_recorded_photos_come_back(data: ImageData, tmp_path: Path) -> None:
    bench = Bench(0, "tiny", (NONE,), data, tmp_path)
    assert isinstance(data.train, ArraySplit)
    pixels = data.train.pixels
    bench.record_pictures("pictures", NONE, pixels.flatten(0, 1).float())
    again = recorded_photos([row for _, row in bench.records.rows])
    assert again.shape == (PHOTOS, SIDE, SIDE, 3)
    assert np.array_equal(again, pixels.permute(0, 2, 3, 1).numpy())


def test_effects_are_gains_over_no_augmentation() -> None:
    accuracies = {NONE: 0.40, "flip": 0.42, "crop": 0.45, "cutout": 0.39}
    measures: dict[str, Any] = {name: {"accuracy": value} for name, value in accuracies.items()}
    assert [claim.effect(measures) for claim in Augmentation.claims] == pytest.approx([2, 5, -1])
