"""The convolutional generator and discriminator of CS231n, assignment 3, question 5.

The generator is that of: Xi Chen, Yan Duan, Rein Houthooft, John Schulman, Ilya Sutskever, Pieter Abbeel: InfoGAN.
NeurIPS 2016, appendix C.1. https://arxiv.org/abs/1606.03657

Introduced (with DCGAN, Radford et al. 2016): transposed convolutions and BatchNorm in the generator.

Deviations from the paper: the discriminator is the course's, two 5x5 convolutions, each with max-pooling after it, and
no BatchNorm. Both networks take images of other sizes than 28x28 and of three channels too.
"""

from __future__ import annotations

from torch import Tensor, nn

from cnnlab.errors import ShapeError
from cnnlab.generate.gans.pair import Gan, register_gan


class Generator(nn.Module):
    """Two dense layers, then two transposed convolutions that double the sides; shapes are for 28x28 images."""

    def __init__(self, noise_size: int, channels: int, image_size: int) -> None:
        super().__init__()
        side = image_size // 4
        self.dense = nn.Sequential(
            nn.Linear(noise_size, 1024), nn.ReLU(), nn.BatchNorm1d(1024),
            nn.Linear(1024, 128 * side * side), nn.ReLU(), nn.BatchNorm1d(128 * side * side),
            nn.Unflatten(1, (128, side, side)),
        )  # fmt: skip
        self.upsample = nn.Sequential(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(), nn.BatchNorm2d(64))
        self.image = nn.Sequential(nn.ConvTranspose2d(64, channels, 4, 2, 1), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        x = self.dense(noise)  # (N, 128, 7, 7)
        x = self.upsample(x)  # (N, 64, 14, 14)
        return self.image(x)  # (N, C, 28, 28)


class Discriminator(nn.Module):
    """Two convolutions with max-pooling, a hidden layer and a logit; shapes are for 28x28 images."""

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__()
        side = ((image_size - 4) // 2 - 4) // 2
        self.conv1 = nn.Sequential(nn.Conv2d(channels, 32, 5), nn.LeakyReLU(0.01), nn.MaxPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(32, 64, 5), nn.LeakyReLU(0.01), nn.MaxPool2d(2))
        self.hidden = nn.Sequential(nn.Linear(64 * side * side, 64 * side * side), nn.LeakyReLU(0.01))
        self.output = nn.Linear(64 * side * side, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images)  # (N, 32, 12, 12)
        x = self.conv2(x)  # (N, 64, 4, 4)
        x = self.hidden(x.flatten(1))  # (N, 1024)
        return self.output(x).squeeze(1)  # (N,)


@register_gan(
    paper="Chen et al.: InfoGAN, appendix C.1",
    year=2016,
    url="https://arxiv.org/abs/1606.03657",
    sizes="multiples of 4 from 16",
)
def dcgan28(noise_size: int, channels: int, image_size: int) -> Gan:
    """Convolutional networks for 28x28 images, as in CS231n.

    Weights of dense layers and transposed convolutions are drawn as Glorot and Bengio (2010, equation 16) propose.

    Args:
        noise_size: number of noise values that an image is made from.
        channels: number of channels of an image.
        image_size: side of an image in pixels, a multiple of 4 from 16.

    Raises:
        ShapeError: the networks cannot make images of this size.
    """
    if image_size < 16 or image_size % 4:
        sides = f"{max(16, image_size // 4 * 4)} or {max(16, image_size // 4 * 4) + 4}"
        raise ShapeError(
            f"dcgan28 makes images whose side is a multiple of 4 and at least 16, not {image_size}. "
            f"Set image_size to {sides}."
        )
    gan = Gan(
        Generator(noise_size, channels, image_size),
        Discriminator(channels, image_size),
        noise_size,
        (channels, image_size, image_size),
    )
    for module in gan.modules():
        if isinstance(module, nn.Linear | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
    return gan
