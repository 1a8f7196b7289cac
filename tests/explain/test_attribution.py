"""What an explanation answers: plain arrays, a figure, a file, a notebook's picture."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from cnnlab import explain
from cnnlab.errors import UsageError
from cnnlab.explain import Attribution
from tests.explain.helpers_explain import OneConv, random_image

CLASSES = ["a cat for $5", "dog"]


@pytest.fixture(scope="module")
def answer() -> Attribution:
    return explain.integrated_gradients(OneConv(), random_image(1, 32, dtype=torch.float64), 0, classes=CLASSES)


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_arrays_are_plain_and_facts_are_fixed(answer: Attribution) -> None:
    assert type(answer.values) is type(answer.map) is type(answer.image) is np.ndarray
    assert answer.values.shape == (1, 32, 32)
    assert answer.map.shape == (32, 32)
    with pytest.raises(FrozenInstanceError):
        answer.score = 1.0  # type: ignore[misc]


def test_the_figure_says_what_it_shows(answer: Attribution) -> None:
    said = words(answer.figure())
    assert "Integrated gradients for “a cat for $5”" in said
    assert "Red pixels raise the score of “a cat for $5” above that of the baseline" in said
    assert f"score {answer.score:.3g}" in said
    assert "Completeness gap" in said
    assert "contribution to the score" in said
    trusted = words(replace(answer, faithfulness={"deletion": 0.125}).figure())
    assert "deletion 0.125" in trusted


def test_a_picture_of_ones_own_is_drawn_under_the_map(answer: Attribution) -> None:
    picture = np.full((64, 64, 3), (250, 10, 10), np.uint8)
    figure = answer.figure(picture)
    assert (np.asarray(figure.axes[0].images[0].get_array())[0, 0] == (250, 10, 10)).all()
    with pytest.raises(UsageError, match="Crop the picture to the network's input"):
        answer.figure(picture[:30])


def test_files(answer: Attribution, tmp_path: Path) -> None:
    path = answer.save(tmp_path / "new" / "map.png")
    assert path == tmp_path / "new" / "map.png"
    with Image.open(path) as drawn:
        assert drawn.size[0] > 1000
    assert answer.save(str(tmp_path / "map.svg")).read_text(encoding="utf-8").startswith("<?xml")
    with pytest.raises(UsageError, match=r"\.png, \.svg or \.pdf"):
        answer.save(tmp_path / "map.what")


def test_notebooks_show_the_figure(answer: Attribution) -> None:
    assert answer._repr_png_().startswith(b"\x89PNG")
    assert "\n" not in repr(answer)


def test_an_attribution_made_by_hand_can_be_drawn(answer: Attribution) -> None:
    own = replace(answer, method="my own", facts=None, values=np.ones((32, 32), np.float32), signed=False, notes=())
    assert "my own for “a cat for $5”" in words(own.figure())
