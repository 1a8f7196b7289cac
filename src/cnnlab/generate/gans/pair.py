"""A generator and a discriminator that are trained against each other (a GAN), and the registry of such pairs.

A file of ``cnnlab.generate.gans.networks`` holds the networks of one paper or course: the generator, the discriminator,
and a registered function that builds both::

    @register_gan(paper="...", year=2014, url="https://...", sizes="any")
    def fully_connected(noise_size: int, channels: int, image_size: int, *, width: int = 1024) -> Gan: ...

The name of the function is the name of the pair, and its keyword-only parameters are the options of the pair.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.registry import Entry, Registry
from cnnlab.tracing.hooks import evaluating


class Gan(nn.Module):
    """A generator and a discriminator.

    Args:
        generator: a network from noise (N, noise_size) to images (N, C, S, S) within -1..1.
        discriminator: a network from images (N, C, S, S) within -1..1 to logits (N,), which are high for real images.
        noise_size: number of noise values that an image is made from.
        image_shape: shape (C, S, S) of an image.
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, noise_size: int, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.noise_size, self.image_shape = noise_size, image_shape

    @property
    def parameter_counts(self) -> tuple[int, int]:
        """The numbers of parameters of the generator and of the discriminator."""
        generator, discriminator = (
            sum(parameter.numel() for parameter in network.parameters())
            for network in (self.generator, self.discriminator)
        )
        return generator, discriminator


def generate(generator: nn.Module, noise: Tensor, batch_size: int = 250) -> Tensor:
    """Return the images of a generator in eval mode.

    Args:
        generator: the generator; its mode (training or eval) is restored afterwards.
        noise: float32 (N, noise_size), on the device of the generator.
        batch_size: number of images that are computed at once.

    Returns:
        uint8 (N, C, S, S) on the CPU.
    """
    with torch.inference_mode(), evaluating(generator):
        parts = [generator(part).float().cpu() for part in noise.split(batch_size)]
    return to_pixels(torch.cat(parts))


def to_pixels(images: Tensor) -> Tensor:
    """Return float images within -1..1 as uint8 images within 0..255, of the same shape."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def doublings_to(name: str, image_size: int) -> int:
    """Return how often 4x4 maps are doubled to make images whose side is 8, 16, 32, 64 or 128 pixels.

    Args:
        name: name of the pair of networks, for the message.
        image_size: side of an image in pixels.

    Raises:
        ShapeError: the side is another one.
    """
    doublings = (image_size // 4).bit_length() - 1
    if image_size != 4 << doublings or not 1 <= doublings <= 5:
        raise ShapeError(
            f"{name} makes images whose side is 8, 16, 32, 64 or 128 pixels, not {image_size}. Set image_size=32."
        )
    return doublings


# Registry ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GanFacts:
    """The facts that are registered with a pair of networks.

    Attributes:
        paper: authors and title of the publication.
        year: year of the publication.
        url: address of the publication.
        sizes: description of the sides that images of the pair can have, in pixels, such as "multiples of 4 from 16".
    """

    paper: str
    year: int
    url: str
    sizes: str


gans: Registry[GanFacts] = Registry("pair of networks", "cnnlab.generate.gans.networks")


def register_gan(**facts: Any) -> Any:
    """Return a decorator that registers a function as a pair of networks.

    Args:
        facts: the attributes of :class:`GanFacts`, as keyword arguments.
    """
    return gans.register(GanFacts(**facts))


def create_gan(name: str, *, noise_size: int = 96, channels: int = 1, image_size: int = 28, **options: Any) -> Gan:
    """Build a generator and a discriminator with random weights.

    Args:
        name: registered name of the pair.
        noise_size: number of noise values that an image is made from.
        channels: number of channels of an image, 1 for grey or 3 for colour.
        image_size: side of an image in pixels.
        options: options of the pair.

    Raises:
        UnknownNameError: there is no such pair, or it has no such option.
        UsageError: ``noise_size`` is below 1.
        ShapeError: the pair cannot make images of this size.
    """
    entry = gans.get(name)
    known_options = gan_options(entry)
    for option in options:
        if option not in known_options:
            raise UnknownNameError(f"option of {name}", option, known_options)
    if noise_size < 1:
        raise UsageError(f"noise_size is {noise_size}; an image is made from at least 1 number.")
    gan: Gan = entry.factory(noise_size, channels, image_size, **options)
    return gan


def gan_options(entry: Entry[GanFacts]) -> dict[str, Any]:
    """Return the options of a registered pair with their defaults."""
    parameters = inspect.signature(entry.factory).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
