"""The convolutional networks of spectral normalisation (SN-GAN), for 32x32 images.

Takeru Miyato, Toshiki Kataoka, Masanori Koyama, Yuichi Yoshida: Spectral normalization for generative adversarial
networks. ICLR 2018, appendix B.4, table 3. https://arxiv.org/abs/1802.05957

Introduced: every weight of the discriminator is divided by its largest singular value, so that no layer stretches a
difference between two images (Lipschitz constant 1).

Deviations from the paper:

- ``width`` channels at the full side, 32 by default (64 in the paper): training takes an hour or two on one core.
- BatchNorm and ReLU follow the dense layer of the generator too, as in DCGAN.
- Images of other sizes have a block less or more for every halving or doubling of the side.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cnnlab.generate.gans.pair import Gan, doublings_to, register_gan


class Generator(nn.Module):
    """A dense layer to 4x4 maps, then transposed convolutions that double the sides; shapes are for 32x32 images."""

    def __init__(self, noise_size: int, channels: int, doublings: int, width: int) -> None:
        super().__init__()
        widths = [width << power for power in reversed(range(doublings + 1))]  # at 4x4, 8x8, ..., 32x32
        self.start = nn.Sequential(
            nn.Linear(noise_size, widths[0] * 16, bias=False), nn.Unflatten(1, (widths[0], 4, 4)),
            nn.BatchNorm2d(widths[0]), nn.ReLU(),
        )  # fmt: skip
        self.upsample = nn.Sequential()
        for before, after in pairwise(widths):
            up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
            self.upsample.append(nn.Sequential(up, nn.BatchNorm2d(after), nn.ReLU()))
        self.image = nn.Sequential(nn.Conv2d(width, channels, 3, padding=1), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        x = self.start(noise)  # (N, 8 width, 4, 4)
        x = self.upsample(x)  # (N, width, 32, 32)
        return self.image(x)  # (N, C, 32, 32)


class Discriminator(nn.Module):
    """Pairs of a 3x3 convolution and a strided one that halves the sides to 4x4; shapes are for 32x32 images."""

    def __init__(self, channels: int, doublings: int, width: int) -> None:
        super().__init__()
        widths = [width << power for power in range(doublings + 1)]  # at 32x32, 16x16, ..., 4x4
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.1)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, before, 4, 2, 1), nn.LeakyReLU(0.1)]
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(0.1)]
        self.features = nn.Sequential(*layers)
        self.output = nn.Linear(widths[-1] * 16, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)  # (N, 8 width, 4, 4)
        return self.output(x.flatten(1)).squeeze(1)  # (N,)


@register_gan(
    paper="Miyato, Kataoka, Koyama, Yoshida: Spectral normalization for generative adversarial networks",
    year=2018,
    url="https://arxiv.org/abs/1802.05957",
    sizes="8, 16, 32, 64, 128",
)
def sngan32(noise_size: int, channels: int, image_size: int, *, width: int = 32) -> Gan:
    """SN-GAN's convolutional networks for 32x32 images, with spectral normalisation in the discriminator.

    Args:
        noise_size: number of noise values that an image is made from.
        channels: number of channels of an image.
        image_size: side of an image in pixels: 8, 16, 32, 64 or 128.
        width: number of channels at the full side of the image; it doubles with every halving of the sides.

    Raises:
        ShapeError: the networks cannot make images of this size.
    """
    doublings = doublings_to("sngan32", image_size)
    gan = Gan(
        Generator(noise_size, channels, doublings, width),
        Discriminator(channels, doublings, width),
        noise_size,
        (channels, image_size, image_size),
    )
    for module in gan.discriminator.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            spectral_norm(module)
    return gan
