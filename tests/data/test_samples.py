"""The figure of samples against images whose values say which they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab import figures
from cnnlab.data import ArraySplit, Augment, ImageData, load_data
from cnnlab.data.samples import TrainingView, draw_samples
from cnnlab.errors import UsageError


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The (grid, classes, title) that are drawn."""
    calls: list[Any] = []
    monkeypatch.setattr(figures, "sample_grid", lambda *arguments: calls.append(arguments))
    return calls


def numbered(labels: list[int], classes: list[str], size: int = 4) -> ImageData:
    """Grey images of a single value: 10 times the position in the split."""
    pixels = torch.arange(len(labels), dtype=torch.uint8).mul(10).view(-1, 1, 1, 1).expand(-1, 1, size, size)
    return ImageData("numbered", classes, ArraySplit(pixels, labels), None, None, "made up")


def test_a_row_has_samples_of_its_class_and_white_where_there_are_too_few(drawn: list[Any]) -> None:
    draw_samples(numbered([0, 0, 1, 0, 2, 1], ["a", "b", "c"]), per_class=2)
    ((grid, classes, title),) = drawn
    assert grid.shape == (3, 2, 4, 4, 1)
    assert grid.dtype == np.uint8
    assert (grid == grid[:, :, :1, :1]).all()
    a, b, c = grid[:, :, 0, 0, 0].tolist()
    assert len(set(a)) == 2
    assert set(a) < {0, 10, 30}
    assert sorted(b) == [20, 50]
    assert c == [40, 255]
    assert classes == ["a", "b", "c"]
    assert title == "numbered, train"


def test_augmentation_is_drawn_and_named(drawn: list[Any]) -> None:
    data = numbered([0] * 5 + [1] * 5, ["a", "b"], size=8)
    draw_samples(data, view=TrainingView(Augment(cutout=4)), mean=[0.2], per_class=5)
    draw_samples(data, view=TrainingView())
    draw_samples(data, view=TrainingView(Augment(), size=6))
    assert set(drawn[0][0].ravel().tolist()) == {51, *range(0, 100, 10)}  # 51 is 0.2 of 255
    assert [title for _, _, title in drawn] == [
        "numbered, train as in training: cutout 4",
        "numbered, train as in training: crop 1",  # grey images: shifted by a fourteenth, not mirrored
        "numbered, train as in training: unchanged",
    ]
    assert drawn[2][0].shape[2:] == (6, 6, 1)


def test_a_hundred_classes_are_drawn_and_an_unknown_split_is_refused(drawn: list[Any]) -> None:
    data = numbered(list(range(103)), [f"class {i}" for i in range(103)])
    draw_samples(data)
    grid, classes, title = drawn[0]
    assert grid.shape[:2] == (100, 6)
    assert len(classes) == 100
    assert title.endswith("(the first 100 of 103 classes)")
    with pytest.raises(UsageError, match='no split "vall", only train'):
        draw_samples(data, "vall")


def test_pictures_of_ten_bits_are_drawn_as_they_are_trained_on(tmp_path: Path, drawn: list[Any]) -> None:
    for name, value in (("dark", 0), ("light", 1023)):
        for number in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / name / f"{number}.png")
    draw_samples(load_data(tmp_path), view=TrainingView(Augment(), size=8), per_class=1)
    ((grid, _, _),) = drawn
    assert [int(row.max()) for row in grid] == [0, 255]
