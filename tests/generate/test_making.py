"""Style transfer, texture synthesis and feature inversion with a tiny network."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.errors import DataError, DivergedError, ModelError, UnknownNameError, UsageError
from cnnlab.generate.descent import Canvas, Descent, noise, optimise
from cnnlab.generate.events import Finished, Started, StepDone
from cnnlab.generate.inversion import InversionSettings, inversion_job
from cnnlab.generate.losses import tv_loss
from cnnlab.generate.photos import luminance, read_photo
from cnnlab.generate.style import StyleSettings, style_job, stylise
from cnnlab.generate.texture import texture_job
from tests.generate.helpers_generate import tiny_network, write_picture

QUICK = Descent(size=24, smallest=16, steps=3, first_steps=3)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "photo.png", seed=1)


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "painting.png", 32, 32, seed=2)


def test_sizes_grow_by_the_root_of_two() -> None:
    assert Descent(size=512, smallest=128).sides == (128, 181, 256, 362, 512)
    assert Descent(size=100, smallest=128).sides == (100,)


def test_events_come_in_order_and_the_loss_falls(photo: Path, painting: Path) -> None:
    settings = StyleSettings(descent=replace(QUICK, steps=8, first_steps=8), from_noise=True)
    events = list(stylise(tiny_network(), photo, [painting], settings))
    started, *steps, finished = events
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert started.sizes == ((13, 17), (18, 24))
    assert started.steps == len(steps) == 16
    assert all(isinstance(step, StepDone) for step in steps)
    first, last = steps[0], steps[-1]
    assert isinstance(first, StepDone)
    assert isinstance(last, StepDone)
    assert last.loss < 0.7 * first.loss
    assert finished.image.shape == (1, 3, 18, 24)
    assert finished.image.min() >= 0
    assert finished.image.max() <= 1
    assert set(finished.losses) == {"content", "style", "tv"}


def test_losses_of_the_first_step_are_those_of_the_photo(photo: Path, painting: Path) -> None:
    """The photo itself has no content loss; its style loss is worked out with NumPy from the layer outputs."""
    network = tiny_network()
    settings = StyleSettings(kind="gram", tv_weight=2.0, descent=replace(QUICK, size=16))
    step = next(event for event in stylise(network, photo, [painting], settings) if isinstance(event, StepDone))
    content, style = read_photo(photo, 3, 16), read_photo(painting, 3, 16)
    layers = network.style_layers
    extractor = network.extractor(layers)
    total = 0.0
    for layer in layers:
        grams = []
        for image in (content, style):
            flat = extractor(image)[layer][0].flatten(1).numpy().astype(float)
            grams.append(flat @ flat.T / flat.size)
        total += ((grams[0] - grams[1]) ** 2).sum() / (grams[1] ** 2).sum() / len(layers)
    assert float(step.losses["content"]) == pytest.approx(0, abs=1e-6)
    assert float(step.losses["style"]) == pytest.approx(total, rel=1e-3)
    assert float(step.losses["tv"]) == pytest.approx(float(tv_loss(content, 2.0 / content.numel())), rel=1e-4)


def test_the_first_step_of_adam_changes_every_pixel_by_the_rate() -> None:
    """Adam's first step is the sign of the gradient times the rate (Kingma & Ba 2015, section 2.1)."""
    canvas = Canvas(torch.full((1, 1, 2, 2), 0.5), Descent(rate=0.1, averaging=0.0))
    canvas.step(lambda image: {"loss": (image * torch.tensor([[1.0, -2.0], [3.0, -4.0]])).sum()})
    torch.testing.assert_close(canvas.image(), torch.tensor([[[[0.4, 0.6], [0.4, 0.6]]]]))


def test_the_image_is_the_weighted_average_of_iterates() -> None:
    canvas = Canvas(torch.full((1, 1, 1, 1), 0.5), Descent(rate=0.1, averaging=0.75))
    iterates = []
    for _ in range(3):
        canvas.step(lambda image: {"loss": image.sum()})
        iterates.append(canvas.pixels.item())
    weights = np.array([0.75**2, 0.75, 1.0])
    assert canvas.image().item() == pytest.approx((weights * iterates).sum() / weights.sum(), rel=1e-5)


@pytest.mark.parametrize("carry", [True, False])
def test_moments_are_carried_to_the_next_size_or_not(carry: bool) -> None:
    canvas = Canvas(torch.full((1, 1, 4, 4), 0.5), Descent(carry_moments=carry))
    canvas.step(lambda image: {"loss": 3 * image.sum()})
    canvas.resize((8, 6))
    state = canvas.adam.state[canvas.pixels]
    assert canvas.image().shape == (1, 1, 8, 6)
    if not carry:
        assert not state
        return
    torch.testing.assert_close(state["exp_avg"], torch.full((1, 1, 8, 6), 0.1 * 3))
    torch.testing.assert_close(state["exp_avg_sq"], torch.full((1, 1, 8, 6), 0.01 * 9))
    canvas.step(lambda image: {"loss": 3 * image.sum()})
    assert state["step"] == 2


def test_weights_of_paintings_mix_their_losses(photo: Path, painting: Path, tmp_path: Path) -> None:
    other, network = write_picture(tmp_path / "other.png", seed=3), tiny_network()

    def first(styles: list[Path], weights: tuple[float, ...]) -> float:
        settings = StyleSettings(style_weights=weights, descent=QUICK)
        return float(
            next(e for e in stylise(network, photo, styles, settings) if isinstance(e, StepDone)).losses["style"]
        )

    mixed = first([painting, other], (3, 1))
    assert mixed == pytest.approx(0.75 * first([painting], ()) + 0.25 * first([other], ()), rel=1e-4)


def test_original_colours_are_those_of_the_photo(photo: Path, painting: Path) -> None:
    """I and Q of YIQ (FCC 1953) are the photo's wherever no channel is cut off at black or white."""
    settings = StyleSettings(original_colours=True, descent=QUICK)
    *_, finished = stylise(tiny_network(), photo, [painting], settings)
    assert isinstance(finished, Finished)
    image, wanted = finished.image[0], read_photo(photo, 3, 24)[0]
    to_iq = torch.tensor([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    inside = ((image > 0) & (image < 1)).all(0)
    assert inside.float().mean() > 0.5
    chroma = [torch.einsum("dc,chw->dhw", to_iq, values)[:, inside] for values in (image, wanted)]
    torch.testing.assert_close(*chroma, atol=0.01, rtol=0)


def test_luminance_is_pillows() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = torch.from_numpy(colours).permute(2, 0, 1)[None].float() / 255
    grey = np.asarray(Image.fromarray(colours).convert("L")) / 255
    np.testing.assert_allclose(luminance(tensor)[0, 0], grey, atol=1 / 255)


def test_a_texture_is_made_in_any_proportions(painting: Path) -> None:
    settings = StyleSettings(descent=replace(QUICK, steps=15, first_steps=15))
    started, first, *_, finished = optimise(texture_job(tiny_network(), painting, settings, (1, 2)))
    assert isinstance(started, Started)
    assert started.sizes == ((8, 17), (12, 24))
    assert isinstance(first, StepDone)
    assert isinstance(finished, Finished)
    assert finished.losses["style"] < 0.5 * float(first.losses["style"])


def test_inversion_brings_a_photo_back_from_an_early_layer(photo: Path) -> None:
    """From noise, the image comes nearer to the photo, although only the layer's outputs were compared."""
    descent = Descent(size=16, smallest=16, first_steps=60, rate=0.05)
    job = inversion_job(tiny_network(), photo, "conv1", InversionSettings(tv_weight=0.01, descent=descent))
    *_, finished = optimise(job)
    assert isinstance(finished, Finished)
    wanted = read_photo(photo, 3, 16)
    start = noise(3, (12, 16), 0, wanted)
    assert (finished.image - wanted).square().mean() < 0.1 * (start - wanted).square().mean()


def test_an_inversion_is_smoothed_by_the_pixels_per_position(photo: Path) -> None:
    """conv2 halves height and width: 4 pixels per position, and the weight is 0.04 for each of them."""
    network, descent = tiny_network(), Descent(size=16, smallest=16, first_steps=1)
    image = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    for layer, weight in (("conv1", 0.04), ("conv2", 0.16)):
        job = inversion_job(network, photo, layer, InversionSettings(descent=descent))
        tv = job.objective((12, 16))(image)["tv"]
        assert float(tv) == pytest.approx(float(tv_loss(image, weight / image.numel())), rel=1e-5)


def test_the_same_seed_gives_the_same_image(painting: Path) -> None:
    def image(seed: int) -> torch.Tensor:
        job = texture_job(tiny_network(), painting, StyleSettings(descent=replace(QUICK, seed=seed)))
        *_, finished = optimise(job)
        assert isinstance(finished, Finished)
        return finished.image

    assert torch.equal(image(1), image(1))
    assert not torch.equal(image(1), image(2))


def test_gradients_are_taken_where_the_caller_takes_none(photo: Path, painting: Path) -> None:
    with torch.no_grad():
        *_, finished = stylise(tiny_network(), photo, [painting], StyleSettings(descent=QUICK))
    assert isinstance(finished, Finished)


def test_bad_settings_are_refused(photo: Path, painting: Path, tmp_path: Path) -> None:
    network = tiny_network()
    with pytest.raises(UnknownNameError, match='Did you mean "swag"'):
        StyleSettings(kind="swagg")
    with pytest.raises(UsageError, match="negative"):
        StyleSettings(content_weight=-1)
    with pytest.raises(UsageError, match="at least 1"):
        Descent(steps=0)
    with pytest.raises(UsageError, match="rate"):
        Descent(rate=0)
    with pytest.raises(UsageError, match="at least one painting"):
        style_job(network, photo, [])
    with pytest.raises(UsageError, match="one weight for each painting"):
        style_job(network, photo, [painting], StyleSettings(style_weights=(1, 2)))
    with pytest.raises(UnknownNameError, match='Did you mean "conv1"'):
        style_job(network, photo, [painting], StyleSettings(content_layer="conf1"))
    with pytest.raises(DataError, match=r"missing\.png"):
        style_job(network, photo, [tmp_path / "missing.png"])
    small = write_picture(tmp_path / "dot.png", 2, 1)
    with pytest.raises(DataError, match=r"dot\.png has 2 x 1 pixels"):
        style_job(network, photo, [small])


def test_losses_that_are_no_numbers_and_memory_that_ends_are_said() -> None:
    canvas = Canvas(torch.full((1, 1, 64, 64), 0.5), Descent())
    with pytest.raises(DivergedError, match="nan"):
        canvas.step(lambda image: {"loss": math.nan * image.sum()})

    def full(image: torch.Tensor) -> dict[str, torch.Tensor]:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(ModelError, match="Try 45 pixels"):
        canvas.step(full)
    with pytest.raises(RuntimeError, match="another"):
        canvas.step(lambda image: (_ for _ in ()).throw(RuntimeError("another")))
