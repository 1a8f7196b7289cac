"""DCGAN for 32x32 images.

Alec Radford, Luke Metz, Soumith Chintala: Unsupervised representation learning with deep convolutional generative
adversarial networks. ICLR 2016. https://arxiv.org/abs/1511.06434

Introduced: guidelines for stable convolutional GANs: strided convolutions instead of pooling, BatchNorm, ReLU in the
generator and leaky ReLU in the discriminator, no hidden dense layers.

Deviations from the paper:

- 32x32 images need three doublings from 4x4 instead of four; 64x64 images have the paper's four.
- ``width`` channels at half of the image's side, 32 by default (64 stands for the paper's 128): a training step then
  takes a fraction of a second on two cores.
- The discriminator has no BatchNorm: the gradient penalty of the loss is defined for single images (Gulrajani et al.
  2017, section 4), and the penalty makes the training stable in its place.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from cnnlab.generate.gans.pair import Gan, doublings_to, register_gan


class Generator(nn.Module):
    """A dense layer to 4x4 maps, then transposed convolutions that double the sides; shapes are for 32x32 images."""

    def __init__(self, noise_size: int, channels: int, doublings: int, width: int) -> None:
        super().__init__()
        widths = [width << power for power in reversed(range(doublings))]  # at 4x4, 8x8, ...
        self.start = nn.Sequential(
            nn.Linear(noise_size, widths[0] * 16, bias=False), nn.Unflatten(1, (widths[0], 4, 4)),
            nn.BatchNorm2d(widths[0]), nn.ReLU(),
        )  # fmt: skip
        self.upsample = nn.Sequential()
        for before, after in pairwise(widths):
            up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
            self.upsample.append(nn.Sequential(up, nn.BatchNorm2d(after), nn.ReLU()))
        self.image = nn.Sequential(nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        x = self.start(noise)  # (N, 4 width, 4, 4)
        x = self.upsample(x)  # (N, width, 16, 16)
        return self.image(x)  # (N, C, 32, 32)


class Discriminator(nn.Module):
    """Strided convolutions that halve the sides to 4x4, and a logit; shapes are for 32x32 images."""

    def __init__(self, channels: int, doublings: int, width: int) -> None:
        super().__init__()
        widths = [channels, *(width << power for power in range(doublings))]  # at 32x32, 16x16, ...
        self.downsample = nn.Sequential()
        for before, after in pairwise(widths):
            self.downsample.append(nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)))
        self.output = nn.Linear(widths[-1] * 16, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.downsample(images)  # (N, 4 width, 4, 4)
        return self.output(x.flatten(1)).squeeze(1)  # (N,)


@register_gan(
    paper="Radford, Metz, Chintala: Unsupervised representation learning with deep convolutional GANs",
    year=2016,
    url="https://arxiv.org/abs/1511.06434",
    sizes="8, 16, 32, 64, 128",
)
def dcgan32(noise_size: int, channels: int, image_size: int, *, width: int = 32) -> Gan:
    """DCGAN for 32x32 images, without BatchNorm in the discriminator.

    Weights are drawn from a normal distribution of standard deviation 0.02 (section 4 of the paper).

    Args:
        noise_size: number of noise values that an image is made from.
        channels: number of channels of an image.
        image_size: side of an image in pixels: 8, 16, 32, 64 or 128.
        width: number of channels at half of the image's side; it doubles with every halving of the sides.

    Raises:
        ShapeError: the networks cannot make images of this size.
    """
    doublings = doublings_to("dcgan32", image_size)
    gan = Gan(
        Generator(noise_size, channels, doublings, width),
        Discriminator(channels, doublings, width),
        noise_size,
        (channels, image_size, image_size),
    )
    for module in gan.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return gan
