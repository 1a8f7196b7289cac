"""Invented images go where the objective grows: along the weights of a linear model, to the class of a trained one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import PixelRange
from cnnlab.explain.visualization import transforms
from cnnlab.explain.visualization.dream import dream, octave_sizes
from cnnlab.explain.visualization.objectives import (
    Objective,
    Observation,
    channel,
    energy,
    l2,
    logit,
    neuron,
    total_variation,
)
from cnnlab.explain.visualization.parametrizations import PARAMETRISATIONS, Fourier
from cnnlab.explain.visualization.transforms import compose
from cnnlab.explain.visualization.visualize import usual_transforms, visualize, visualize_class, visualize_unit
from cnnlab.figures import to_png
from cnnlab.runs import Run, open_classifier
from tests.explain.helpers_explain import OneConv, awkward, hooks_of, linear, random_image, state_of

STILL = compose()
ASLEEP = torch.Generator()


def seen() -> Observation:
    maps = torch.arange(24.0).reshape(1, 2, 3, 4)
    tokens = torch.arange(12.0).reshape(1, 4, 3)
    image = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    return Observation(
        image, torch.tensor([[1.0, -2.0, 4.0]]), {"conv": maps, "fc": maps[:, :, 0, 0], "tokens": tokens}
    )


@pytest.mark.parametrize(
    ("objective", "value", "name"),
    [
        (logit(2), 4.0, "class 2"),
        (logit(1, "zebra") + logit(2), 2.0, "zebra + class 2"),
        (logit(2) - 0.5 * logit(1), 5.0, "class 2 − 0.5 × class 1"),
        (2 * (logit(0) + logit(2)), 10.0, "2 × (class 0 + class 2)"),
        (-logit(1) * 3, 6.0, "3 × −class 1"),
        (logit(2) - (logit(0) - logit(1)), 1.0, "class 2 − (class 0 − class 1)"),
        (channel("conv", 1), 17.5, "conv, channel 1"),
        (channel("fc", 1), 12.0, "fc, channel 1"),
        (channel("tokens", 2), 6.5, "tokens, channel 2"),
        (neuron("conv", 1), 18.0, "conv, unit 1"),
        (neuron("conv", 0, 2, 3), 11.0, "conv, unit 0 at 2, 3"),
        (neuron("fc", 1), 12.0, "fc, unit 1"),
        (energy("conv"), float(np.square(np.arange(24)).mean()), "everything in conv"),
        (l2(), 0.125, "L2"),
        (total_variation(), (0.5 + 0.5) / 2 + (1 + 0) / 2, "total variation"),
    ],
)
def test_objectives_are_the_numbers_they_say(objective: Objective, value: float, name: str) -> None:
    assert float(objective(seen())) == pytest.approx(value)
    assert objective.name == name


def test_objectives_know_their_layers_and_refuse_what_is_not_there() -> None:
    both = channel("conv", 0) - 2 * (channel("fc", 0) + channel("conv", 1))
    assert both.layers == ("conv", "fc")
    for objective, message in (
        (logit(3), "no class with number 3: there are 3"),
        (channel("conv", 2), 'no channel of "conv" with number 2: there are 2'),
        (neuron("conv", 0, 3, 0), r"maps of 3 x 4; \(3, 0\)"),
    ):
        with pytest.raises(UsageError, match=message):
            objective(seen())


def test_jitter_rolls_and_nothing_else() -> None:
    image, moved = random_image(2, 9)[None], set()
    for seed in range(40):
        result = transforms.jitter(2)(image, torch.Generator().manual_seed(seed))
        shifts = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if torch.equal(image.roll((y, x), (2, 3)), result)]
        assert len(shifts) == 1
        moved.update(shifts)
    assert {y for y, _ in moved} == {x for _, x in moved} == {-2, -1, 0, 1, 2}


def test_scale_and_rotate_move_pixels_where_they_should() -> None:
    image = random_image(2, 8)[None]
    torch.testing.assert_close(transforms.scale(1, 1)(image, ASLEEP), image)
    torch.testing.assert_close(transforms.rotate(0)(image, ASLEEP), image)
    # atan2 has y pointing down here: a quarter turn of the sampling grid is a quarter turn of the picture
    torch.testing.assert_close(transforms._turned(image, 1.0, np.pi / 2), image.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    wide = random_image(1, 20)[None, :, 5:13]
    torch.testing.assert_close(transforms._turned(wide, 1.0, np.pi), wide.flip(2, 3), atol=1e-4, rtol=0)
    wide = torch.zeros(1, 1, 21, 41)
    wide[..., 10, 26] = 1  # 6 right of the middle
    upright = transforms._turned(wide, 1.0, np.pi / 2)[0, 0]
    assert np.unravel_index(int(upright.argmax()), upright.shape) == (4, 20), "6 above it, not fewer"
    spot = torch.zeros(1, 1, 33, 33)
    spot[..., 16, 24] = 1  # 8 right of the middle
    larger = transforms.scale(1.5, 1.5)(spot, ASLEEP)[0, 0]
    assert np.unravel_index(int(larger.argmax()), larger.shape) == (16, 28), "12 right of the middle"


def test_the_blur_is_scipys_and_keeps_the_mean_of_a_flat_image() -> None:
    image = random_image(2, 17, dtype=torch.float64)
    expected = [ndimage.gaussian_filter(each.numpy(), 1.3, mode="nearest", radius=4) for each in image]
    np.testing.assert_allclose(transforms.blur(1.3)(image[None], ASLEEP)[0].numpy(), expected, atol=1e-6)
    flat = torch.full((1, 1, 6, 6), 0.3)
    torch.testing.assert_close(transforms.blur(2)(flat, ASLEEP), flat)


def test_transforms_follow_each_other_and_repeat_by_seed() -> None:
    image = random_image(1, 32)[None]
    move = usual_transforms(32)
    first, again = (move(image, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == image.shape
    assert not torch.equal(first, move(image, torch.Generator().manual_seed(4)))
    doubled = compose(lambda x, _: x + 1, lambda x, _: x * 2)(image, ASLEEP)
    assert torch.equal(doubled, (image + 1) * 2)
    assert torch.equal(compose()(image, ASLEEP), image)
    for wrong in (lambda: transforms.jitter(-1), lambda: transforms.blur(0), lambda: transforms.scale(2, 1)):
        with pytest.raises(UsageError, match=r"makes? no sense"):
            wrong()


@pytest.mark.parametrize("start", PARAMETRISATIONS)
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 9, 12), (4, 7, 5)])
def test_every_parametrisation_starts_near_grey_and_reaches_any_image(start: str, shape: tuple[int, int, int]) -> None:
    invented = PARAMETRISATIONS[start](shape, torch.Generator().manual_seed(0), torch.zeros((), dtype=torch.float64))
    image = invented.image().detach()
    assert image.shape == (1, *shape)
    assert image.dtype == torch.float64
    assert 0.3 < float(image.min()) < float(image.max()) < 0.7
    goal = torch.rand(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    optimizer = torch.optim.Adam([invented.values], 0.05)
    for _ in range(400):
        loss = (invented.image() - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        invented.settle()
        assert float(invented.image().detach().min()) >= 0
        assert float(invented.image().detach().max()) <= 1
    assert loss < 0.01


def test_large_images_have_their_shortest_waves_damped_as_by_a_blur() -> None:
    values = torch.zeros(()).double()
    large, small = (Fourier((1, side, side), torch.Generator(), values) for side in (65, 64))
    assert torch.allclose(small.scale[1, 0], torch.tensor([64.0]).double())
    assert torch.allclose(small.scale[32, 0], torch.tensor([2.0]).double())
    waves = torch.hypot(torch.fft.fftfreq(65)[:, None], torch.fft.rfftfreq(65)[None, :]).clamp_min(1 / 65)
    expected = ndimage.fourier_gaussian(np.ones((65, 65)), 0.7)[:, :33]
    np.testing.assert_allclose(large.scale[..., 0] * waves, expected, rtol=1e-5)


def test_pixels_of_a_linear_model_go_to_the_corner_that_its_weights_point_to() -> None:
    weights = random_image(1, 6, dtype=torch.float64).flatten()
    model = linear([[0.0] * 36, weights.tolist()], size=6)
    result = visualize(model, logit(1), size=6, channels=1, start="pixels", transform=STILL, steps=60)
    np.testing.assert_array_equal(result.picture, (weights > 0).reshape(6, 6).numpy())
    assert result.history[-1] == pytest.approx(float(weights.clamp_min(0).sum()))


def test_waves_of_a_linear_model_go_along_its_weights() -> None:
    weights = random_image(1, 12, dtype=torch.float64)[0]
    model = linear([[0.0] * 144, weights.flatten().tolist()], size=12)
    result = visualize_class(model, 1, size=12, channels=1, transform=STILL, steps=30, penalty=0 * l2())
    assert np.corrcoef((result.picture - 0.5).ravel(), weights.numpy().ravel())[0, 1] > 0.6, "large waves come first"
    assert result.history[-1] > result.history[0]
    assert result.answer == result.target == 1


def test_the_network_sees_the_image_normalised_and_bounds_say_the_same() -> None:
    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 1, 1)
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(x.detach())
            return self.conv(x).mean((2, 3)).repeat(1, 2)

    torch.manual_seed(0)
    model = Spy()
    options: dict[str, Any] = {"size": 5, "steps": 8, "start": "pixels", "rate": 0.3}
    first = visualize(model, logit(0), pixels=PixelRange.normalised((0.5, 0.2), (0.25, 2.0)), **options)
    low, high = (0 - 0.5) / 0.25, (1 - 0.5) / 0.25
    assert min(float(x[:, 0].min()) for x in model.seen) >= low - 1e-6
    assert max(float(x[:, 0].max()) for x in model.seen) <= high + 1e-6
    np.testing.assert_allclose(first.image, model.seen[-1][0].numpy())
    again = visualize(model, logit(0), pixels=PixelRange((low, -0.1), (high, 0.4)), **options)
    np.testing.assert_allclose(again.image, first.image, atol=1e-6)
    with pytest.raises(UsageError, match="low has 2 values and high 3"):
        PixelRange((0, 0), (1, 1, 1))
    with pytest.raises(UsageError, match="3 values for 2 channels"):
        visualize(model, logit(0), size=5, pixels=PixelRange.normalised((1, 2, 3), 1))


def test_the_seed_decides_and_nothing_else() -> None:
    model = awkward()
    runs = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        runs.append(visualize_unit(model, "last", 2, size=20, steps=4, seed=seed))
    assert np.array_equal(runs[0].image, runs[1].image)
    assert not np.array_equal(runs[0].image, runs[2].image)
    assert runs[0].history == runs[1].history


def test_a_unit_in_the_middle_of_a_network_grows_and_the_network_is_left_as_it_was() -> None:
    model = awkward()
    before = state_of(model)
    result = visualize_unit(model, "twice", 1, size=(16, 24), steps=25, penalty=0.01 * total_variation())
    assert state_of(model) == before
    assert result.history[-1] > result.history[0]
    assert result.picture.shape == (16, 24, 3)
    assert result.target is None
    assert result.objective == "twice, channel 1"
    assert to_png(result.figure())
    assert result._repr_png_().startswith(b"\x89PNG")


def test_no_hook_remains_after_an_error() -> None:
    model = awkward()
    model.broken = True
    before = state_of(model)
    with pytest.raises(ModelError, match="broken on purpose"):
        visualize_unit(model, "twice", 0, size=16, steps=2)
    with pytest.raises(ModelError, match="broken on purpose"):
        dream(model, random_image(3, 40).sigmoid(), "twice")
    assert hooks_of(model) == 0
    assert state_of(model) == before


def test_what_makes_no_sense_is_refused() -> None:
    model = awkward()
    with pytest.raises(UnknownNameError, match="twice"):
        visualize_unit(model, "twise", 0, size=16)
    with pytest.raises(UsageError, match='no channel of "twice" with number 6'):
        visualize_unit(model, "twice", 6, size=16)
    with pytest.raises(UsageError, match="no class with number 9"):
        visualize_class(model, 9, size=16)
    with pytest.raises(UnknownNameError, match='Did you mean "cat"'):
        visualize_class(model, "kat", classes=["cat", "dog", "owl", "bee"], size=16)
    with pytest.raises(UsageError, match="steps is 0"):
        visualize_class(model, 0, size=16, steps=0)
    with pytest.raises(UsageError, match="at least 1 pixel"):
        visualize_class(model, 0, size=(0, 16))
    with pytest.raises(UsageError, match="fourier, pixels"):
        visualize_class(model, 0, size=16, start="noise")
    with pytest.raises(UsageError, match="channels="):
        visualize_class(linear([[1, 2, 3, 4]]), 0, size=2)
    with pytest.raises(ModelError, match="does not depend on the image"):
        visualize(model, Objective("nothing", lambda _: torch.zeros(()).requires_grad_()), size=16)


@pytest.fixture(scope="module")
def digits() -> nn.Module:
    """A small network that knows scikit-learn's digits."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(150):
        part = torch.randperm(len(x), generator=torch.Generator().manual_seed(step))[:128]
        loss = nn.functional.cross_entropy(model(x[part]), y[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).double().mean() > 0.97
    return model


def test_every_class_of_a_trained_network_is_reached(digits: nn.Module) -> None:
    for target in range(10):
        result = visualize_class(digits, target, size=8, seed=target, steps=64)
        assert result.confidence > 0.9, target
        assert result.answer == result.target == target


def test_the_shown_confidence_is_what_the_network_says_to_the_image(digits: nn.Module) -> None:
    result = visualize_class(digits, 3, size=8, steps=20, pixels=PixelRange.normalised(0.0, 1.0))
    with torch.no_grad():
        expected = digits(torch.from_numpy(result.image)[None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-5)
    assert result.confidence == pytest.approx(expected[3], abs=1e-5)
    np.testing.assert_allclose(result.picture, result.image[0], atol=1e-6)


def test_a_run_is_visualised(tiny_run: Run) -> None:
    preprocess = tiny_run.preprocess
    pixels = PixelRange.normalised(preprocess.mean, preprocess.std)
    options: dict[str, Any] = {"size": preprocess.size, "steps": 60, "penalty": 0 * l2(), "transform": STILL}
    result = visualize_class(tiny_run.model(), 2, pixels=pixels, classes=tiny_run.classes, **options)
    assert result.history[-1] > result.history[0]
    assert result.caption().startswith("2\n")


def test_deep_dream_gives_more_of_what_there_is_inside_the_range() -> None:
    model = OneConv()
    image = torch.rand(1, 64, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = dream(model, image, "relu", octaves=2, steps=5, pixels=PixelRange.normalised(0.2, 0.5))
    assert result.sizes == ((46, 34), (64, 48))
    assert len(result.history) == 10
    assert result.history[4] > result.history[0]
    assert result.history[9] > result.history[5]
    assert result.image.shape == (1, 64, 48)
    assert float(result.image.min()) >= -0.4 - 1e-6
    assert float(result.image.max()) <= 1.6 + 1e-6
    assert np.array_equal(
        result.image, dream(model, image, "relu", octaves=2, steps=5, pixels=PixelRange.normalised(0.2, 0.5)).image
    )
    assert to_png(result.figure())


def test_octaves_and_what_a_dream_refuses() -> None:
    assert octave_sizes((224, 112), 4, 1.4) == ((82, 41), (114, 57), (160, 80), (224, 112))
    assert octave_sizes((40, 60), 3, 1.5) == ((40, 60),), "nothing below 32 pixels"
    assert octave_sizes((16, 16), 2, 2) == ((16, 16),), "but always the image itself"
    model, image = awkward(), torch.rand(3, 40, 40)
    with pytest.raises(UsageError, match="outside the range"):
        dream(model, image * 3, "twice")
    with pytest.raises(UsageError, match="ratio is 1"):
        dream(model, image, "twice", ratio=1)
    with pytest.raises(UsageError, match="octaves is 0"):
        dream(model, image, "twice", octaves=0)
    with pytest.raises(UnknownNameError, match="twice"):
        dream(model, image, "twise")
    before = state_of(model)
    dream(model, image, 2 * logit(1) - channel("last", 0), octaves=1, steps=1)
    assert state_of(model) == before


@pytest.mark.slow
@pytest.mark.parametrize("target", ["flamingo", "zebra", "lion"])
def test_classes_of_imagenet_are_reached_within_a_minute(target: str) -> None:
    network = open_classifier("efficientnet_lite0")
    result = visualize_class(network.model, target, classes=network.classes, pixels=network.pixel_range)
    assert result.confidence > 0.9
    assert result.seconds < 60
    assert network.classes[result.answer] == target
