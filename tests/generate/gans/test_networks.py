"""Generators and discriminators: the numbers of parameters of the course, shapes, and sizes that are refused."""

from __future__ import annotations

import pytest
import torch

from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.generate.gans.pair import create_gan, gans, generate, to_pixels


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [("fully_connected", 1_858_320, 267_009), ("dcgan28", 6_580_801, 1_102_721)],
)
def test_networks_of_the_course_have_its_numbers_of_parameters(name: str, generator: int, discriminator: int) -> None:
    """The numbers of the tests in CS231n, assignment 3, with 4 noise values."""
    assert create_gan(name, noise_size=4).parameter_counts == (generator, discriminator)


def test_parameters_of_dcgan32_by_hand() -> None:
    """At width 8: 4x4 maps of 32 channels, then 16 and 8 channels, each with BatchNorm, then the image."""
    start = 10 * 32 * 16 + 2 * 32
    generator = start + (32 * 16 * 16 + 2 * 16) + (16 * 8 * 16 + 2 * 8) + (8 * 3 * 16 + 3)
    discriminator = (3 * 8 * 16 + 8) + (8 * 16 * 16 + 16) + (16 * 32 * 16 + 32) + (32 * 16 + 1)
    gan = create_gan("dcgan32", noise_size=10, channels=3, image_size=32, width=8)
    assert gan.parameter_counts == (generator, discriminator)


def test_parameters_of_sngan32_by_hand() -> None:
    """At width 8: 4x4 maps of 64 channels, then 32, 16 and 8, each with BatchNorm, then the image."""
    generator = (10 * 64 * 16 + 2 * 64) + (64 * 32 * 16 + 2 * 32) + (32 * 16 * 16 + 2 * 16) + (16 * 8 * 16 + 2 * 8)
    generator += 8 * 3 * 9 + 3
    discriminator = (3 * 8 * 9 + 8) + (8 * 8 * 16 + 8) + (8 * 16 * 9 + 16) + (16 * 16 * 16 + 16) + (16 * 32 * 9 + 32)
    discriminator += (32 * 32 * 16 + 32) + (32 * 64 * 9 + 64) + (64 * 16 + 1)
    gan = create_gan("sngan32", noise_size=10, channels=3, image_size=32, width=8)
    assert gan.parameter_counts == (generator, discriminator)


def test_no_weight_of_sngan32_stretches_a_difference() -> None:
    """After some steps the largest singular value of every weight, as a matrix of its rows, is 1 (equation 9)."""
    torch.manual_seed(0)
    discriminator = create_gan("sngan32", channels=3, image_size=16, width=4).discriminator
    for _ in range(200):  # one power iteration each
        discriminator(torch.rand(1, 3, 16, 16))
    discriminator.eval()
    weights = [m.weight.detach() for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(weights) == 6
    for weight in weights:
        assert torch.linalg.svdvals(weight.flatten(1))[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", gans.names())
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32)])
def test_every_pair_makes_and_judges_images(name: str, channels: int, size: int) -> None:
    torch.manual_seed(0)
    gan = create_gan(name, noise_size=6, channels=channels, image_size=size)
    noise = torch.rand(3, 6) * 2 - 1
    images = gan.generator(noise)
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    logits = gan.discriminator(images)
    assert logits.shape == (3,)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in gan.parameters())
    # A logit depends on no other image: the gradient penalty is defined for single images only.
    gan.eval()  # in training mode every pass of a spectral normalisation moves its estimate
    logits = gan.discriminator(images)
    torch.testing.assert_close(gan.discriminator(images[1:2]), logits[1:2])


def test_generated_pixels() -> None:
    """-1 is black, 1 is white; a generator in eval mode gives an image for each noise, and keeps its mode."""
    assert to_pixels(torch.tensor([-1.0, -0.5, 0.0, 1.0, 1.2])).tolist() == [0, 64, 128, 255, 255]
    torch.manual_seed(0)
    generator = create_gan("dcgan28", noise_size=3, image_size=16).generator
    noise = torch.rand(5, 3)
    pixels = generate(generator, noise, batch_size=2)
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (5, 1, 16, 16))
    assert generator.training
    alone = generate(generator, noise[3:4]).int()
    assert (alone - pixels[3:4].int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("name", "size", "advice"),
    [
        ("dcgan28", 30, "28 or 32"),
        ("dcgan28", 8, "16 or 20"),
        ("dcgan32", 28, "image_size=32"),
        ("sngan32", 30, "image_size=32"),
    ],
)
def test_sizes_that_a_pair_cannot_make(name: str, size: int, advice: str) -> None:
    with pytest.raises(ShapeError, match=advice):
        create_gan(name, image_size=size)


def test_unknown_names_and_options() -> None:
    with pytest.raises(UnknownNameError, match='Did you mean "dcgan28"'):
        create_gan("dcgan_28")
    with pytest.raises(UnknownNameError, match='Did you mean "width"'):
        create_gan("dcgan32", image_size=32, widht=4)
    with pytest.raises(UsageError, match="at least 1"):
        create_gan("fully_connected", noise_size=0)
