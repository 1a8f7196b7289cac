"""Fooling images: closed forms on linear models, limits that are kept, photos that are taken for something else."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from torch import nn

from cnnlab import figures
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain.adversarial import fgsm, fool, pgd
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.runs import open_classifier
from tests.explain.helpers_explain import awkward, hooks_of, linear, random_image, state_of

W = [[3.0, -1, 0, 2], [1.0, 1, 0, -1]]


def photo(*shape: int, seed: int = 0) -> torch.Tensor:
    """An image of 0..1."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_fgsm_of_a_linear_model_is_known() -> None:
    image = torch.tensor([[[0.5, 0.5], [0.5, 0.99]]], dtype=torch.float64)
    result = fgsm(linear(W), image, epsilon=0.1)
    # The network says class 0. The loss of class 0 rises along w1 - w0 = (-2, 2, 0, -3).
    np.testing.assert_allclose(result.changed[0], [[0.4, 0.6], [0.5, 0.89]], atol=1e-6)
    assert (result.label, result.target, result.steps) == (0, None, 1)
    towards = fgsm(linear(W), image, 0, epsilon=0.1)
    np.testing.assert_allclose(towards.changed[0], [[0.6, 0.4], [0.5, 1.0]], atol=1e-6), "white stays white"
    np.testing.assert_allclose(towards.difference[0], [[0.1, -0.1], [0, 0.01]], atol=1e-6)
    assert towards.success, "it was class 0 before"
    wrong_label = fgsm(linear(W), image, label=1, epsilon=0.1)
    np.testing.assert_allclose(wrong_label.changed, towards.changed, atol=1e-6)


def test_steps_count_in_grey_levels_whatever_the_normalisation() -> None:
    """A model that takes normalised images gives the same picture as one that takes the pixels."""
    pixels = photo(2, 3, 3)
    mean, std = torch.tensor([0.3, 0.6]).view(2, 1, 1), torch.tensor([0.5, 0.1]).view(2, 1, 1)

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner((x * std + mean).double())

    model = linear(torch.randn(3, 18, generator=torch.Generator().manual_seed(1)).tolist(), channels=2, size=3)
    options: dict[str, Any] = {"pixels": PixelRange.normalised((0.3, 0.6), (0.5, 0.1))}
    for attack in (fgsm, pgd, lambda m, x, **o: fool(m, x, 2, steps=5, confidence=2.0, **o)):
        plain = attack(model, pixels)
        shifted = attack(Normalised(), (pixels - mean) / std, **options)
        np.testing.assert_allclose(shifted.difference, plain.difference, atol=1e-5)
        np.testing.assert_allclose(shifted.changed * std.numpy() + mean.numpy(), plain.changed, atol=1e-5)
        by_bounds = {"pixels": PixelRange((0 - mean) / std, (1 - mean) / std)}
        np.testing.assert_allclose(attack(Normalised(), (pixels - mean) / std, **by_bounds).changed, shifted.changed)


def test_a_step_of_gradient_ascent_has_the_length_that_was_asked_for() -> None:
    image = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    result = fool(linear(W), image, 1, steps=1, rate=0.25)
    direction = np.array([[-2, 2], [0, -3]]) / np.sqrt(17)
    np.testing.assert_allclose(result.difference[0], 0.25 * direction, atol=1e-6)
    assert np.linalg.norm(result.difference) == pytest.approx(0.25, abs=1e-6)
    assert result.steps == 1


def test_gradient_ascent_stops_when_the_target_is_likely_enough() -> None:
    image = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    weights = (10 * np.array(W)).tolist()
    result = fool(linear(weights), image, 1, rate=0.1, confidence=0.8)
    assert result.success
    assert result.history[-1] >= 0.8 > result.history[-2]
    assert result.after[1] == pytest.approx(result.history[-1])
    assert result.confidence == (pytest.approx(result.before[0]), pytest.approx(result.after[1]))
    already = fool(linear(weights), image, 0, confidence=0.5)
    assert already.steps == 0
    assert not already.difference.any()
    hopeless = fool(linear(W), image, 1, steps=3, rate=0.001)
    assert not hopeless.success
    assert hopeless.steps == 3


@settings(max_examples=40, deadline=None)
@given(
    epsilon=st.floats(0.002, 0.5),
    steps=st.integers(1, 6),
    rate=st.one_of(st.none(), st.floats(0.001, 1.0)),
    seed=st.integers(0, 50),
    aimed=st.booleans(),
    std=st.floats(0.05, 3.0),
)
def test_pgd_stays_within_epsilon_and_the_range(
    epsilon: float, steps: int, rate: float | None, seed: int, aimed: bool, std: float
) -> None:
    image = (photo(3, 6, 6, seed=seed) - 0.4) / std
    pixels = PixelRange.normalised(0.4, std)
    result = pgd(
        awkward(), image, 2 if aimed else None, epsilon=epsilon, steps=steps, rate=rate, seed=seed, pixels=pixels
    )
    low, high = (0 - 0.4) / std, (1 - 0.4) / std
    assert result.changed.min() >= low - 1e-6 / std
    assert result.changed.max() <= high + 1e-6 / std
    assert np.abs(result.changed - image.numpy()).max() * std <= epsilon + 1e-6
    assert result.largest <= epsilon + 1e-6
    assert result.steps == steps


def test_pgd_on_a_linear_model_reaches_the_corner_that_fgsm_goes_to_at_once() -> None:
    image = photo(1, 2, 2).double()
    far, near = pgd(linear(W), image, epsilon=0.1, steps=10), fgsm(linear(W), image, epsilon=0.1)
    moving = near.difference != 0  # where the gradient is zero, PGD keeps its random start
    np.testing.assert_allclose(far.difference[moving], near.difference[moving], atol=1e-6)
    first, again, other = (pgd(linear(W), image, epsilon=0.1, steps=1, rate=0.01, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.changed, again.changed)
    assert not np.array_equal(first.changed, other.changed)


def test_rounding_to_a_file_is_tried() -> None:
    image = torch.full((1, 2, 2), 100 / 255, dtype=torch.float64)
    result = fgsm(linear(W), image, epsilon=0.4 / 255)
    np.testing.assert_allclose(result.saved, result.before, rtol=1e-6), "less than half a level is lost in a file"
    assert not np.allclose(result.after, result.before)
    kept = fgsm(linear(W), image, epsilon=2 / 255)
    np.testing.assert_allclose(kept.saved, kept.after, rtol=1e-5)


def test_the_model_is_left_as_it_was_also_after_an_error() -> None:
    model, image = awkward(), photo(3, 16, 16)
    before = state_of(model)
    for result in (fgsm(model, image), pgd(model, image, 1, steps=2), fool(model, image, 3, steps=2)):
        assert result.image.shape == result.changed.shape == (3, 16, 16)
        assert state_of(model) == before
    torch.testing.assert_close(image, photo(3, 16, 16))
    model.broken = True
    with pytest.raises(ModelError, match="broken on purpose"):
        fool(model, image, 3)
    assert hooks_of(model) == 0
    assert state_of(model) == before


def test_the_figure_says_what_was_done() -> None:
    classes = ["cat", "$5", "owl", "bee"]
    result = fool(awkward(), photo(3, 16, 16), "owl", classes=classes, steps=200, rate=0.5)
    figure = result.figure()
    words = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    assert f"{classes[result.label]}, {result.confidence[0]:.0%}" in words
    assert "times magnified" in words
    assert "…" not in words
    assert f"{result.steps} steps" in words
    assert "of 255 levels" in words
    assert result._repr_png_().startswith(b"\x89PNG")
    assert figures.to_png(fgsm(linear(W), photo(1, 2, 2).double()).figure())
    unsuccessful = fool(awkward(), photo(3, 16, 16), 3, steps=1, rate=1e-6)
    assert "It is not taken for class 3" in unsuccessful.caption() or unsuccessful.success
    assert figures.to_png(fool(awkward(), photo(3, 16, 16), result.label, confidence=0.01).figure()), "no difference"


def test_what_makes_no_sense_is_refused() -> None:
    model, image = awkward(), photo(3, 16, 16)
    with pytest.raises(UsageError, match=r"outside the range 0 to 1.*PixelRange\.normalised\(mean, std\)"):
        fgsm(model, random_image())
    with pytest.raises(UsageError, match="epsilon is 0"):
        fgsm(model, image, epsilon=0)
    with pytest.raises(UsageError, match="steps is 0"):
        pgd(model, image, steps=0)
    with pytest.raises(UsageError, match="std is"):
        PixelRange.normalised(0.5, 0)
    with pytest.raises(UsageError, match="leave no room"):
        PixelRange(1, 0)
    with pytest.raises(UsageError, match="The target 4 is no class"):
        fool(model, image, 4)
    with pytest.raises(UnknownNameError, match='Did you mean "owl"'):
        fool(model, image, "owk", classes=["cat", "dog", "owl", "bee"])
    with pytest.raises(UsageError, match="single output"):
        fool(linear([[1, 2, 3, 4]]), photo(1, 2, 2), 0)


def test_a_range_is_found_in_every_way() -> None:
    images = torch.tensor([[[[0.2]], [[-1.0]]]])
    for pixels in (
        PixelRange.normalised((0.2, 0.5), (0.4, 0.5)),
        PixelRange((-0.5, -1.0), (2.0, 1.0)),
        PixelRange.normalised(np.array([0.2, 0.5]), torch.tensor([0.4, 0.5])).on(images),
    ):
        torch.testing.assert_close(pixels.to_unit(images).flatten(), torch.tensor([0.28, 0.0]))
        torch.testing.assert_close(pixels.from_unit(pixels.to_unit(images)), images)
        torch.testing.assert_close(pixels.clip(images * 9).flatten(), torch.tensor([1.8, -1.0]))
    assert PixelRange.of_images(images).picture(images).tolist() == pytest.approx(np.array([[0.5]]))


@pytest.mark.slow
def test_nine_of_ten_photos_are_taken_for_what_one_wants(real_data: Path) -> None:
    network = open_classifier("efficientnet_lite0")
    model, preprocess = network.model, network.preprocess
    with open(real_data / "imagenet" / "photos" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:10]
    done = []
    for number, row in enumerate(rows):
        image = preprocess([real_data / "imagenet" / "photos" / row["file"]])[0]
        target = (int(row["imagenet_index"]) + 500 + 7 * number) % 1000
        result = fool(model, image, target, pixels=network.pixel_range)
        assert result.steps <= 100
        done.append(result.success and result.saved.argmax() == target and result.confidence[1] > 0.9)
        assert result.largest < 32 / 255, "nobody sees it"
    assert sum(done) >= 9


def test_gradient_ascent_stops_at_the_first_answer_that_is_the_target() -> None:
    """Class 1 leads when the change along w1 - w0 = (-2, 2, 0, -3) makes up for the lead of class 0."""
    image = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    result = fool(linear(W), image, 1, rate=0.05, confidence=None)
    lead = 0.5 * (3 - 1 + 0 + 2) - 0.5 * (1 + 1 + 0 - 1)
    assert result.answer == 1
    assert result.steps == int(lead / (0.05 * np.sqrt(17))) + 1
    assert result.history[-1] > 0.5 > result.history[-2]
