"""The fully connected generator and discriminator of CS231n, assignment 3, question 5.

Ian Goodfellow, Jean Pouget-Abadie, Mehdi Mirza, Bing Xu, David Warde-Farley, Sherjil Ozair, Aaron Courville, Yoshua
Bengio: Generative adversarial nets. NeurIPS 2014. https://arxiv.org/abs/1406.2661

Introduced: a network that makes images, trained against a network that tells them from real ones.

Deviations from the paper: leaky ReLU in the discriminator instead of maxout and dropout, two hidden layers in both
networks, as in the course. The weights are drawn as torch draws those of linear layers.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from cnnlab.generate.gans.pair import Gan, register_gan


class Generator(nn.Module):
    """Noise, two hidden layers with ReLU, and an image squashed by tanh."""

    def __init__(self, noise_size: int, image_shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.layers = nn.Sequential(
            nn.Linear(noise_size, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, math.prod(image_shape)), nn.Tanh(),
        )  # fmt: skip

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise).unflatten(1, self.image_shape)  # (N, C, S, S)


class Discriminator(nn.Module):
    """An image, two hidden layers with leaky ReLU, and a logit."""

    def __init__(self, image_shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(math.prod(image_shape), width), nn.LeakyReLU(0.01),
            nn.Linear(width, width), nn.LeakyReLU(0.01),
            nn.Linear(width, 1),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.flatten(1)).squeeze(1)  # (N,)


@register_gan(
    paper="Goodfellow et al.: Generative adversarial nets",
    year=2014,
    url="https://arxiv.org/abs/1406.2661",
    sizes="any",
)
def fully_connected(
    noise_size: int, channels: int, image_size: int, *, width: int = 1024, discriminator_width: int = 256
) -> Gan:
    """Fully connected networks (Goodfellow et al. 2014, in the form of CS231n).

    Args:
        noise_size: number of noise values that an image is made from.
        channels: number of channels of an image.
        image_size: side of an image in pixels.
        width: number of units in each hidden layer of the generator.
        discriminator_width: number of units in each hidden layer of the discriminator.
    """
    shape = (channels, image_size, image_size)
    return Gan(Generator(noise_size, shape, width), Discriminator(shape, discriminator_width), noise_size, shape)
