"""Parametrisations of an image: gradient ascent optimises waves or pixels.

:class:`Fourier` optimises the amplitudes of waves, large waves faster than small ones, and colours along the axes in
which photos vary (C. Olah, A. Mordvintsev, L. Schubert: Feature visualization, 2017,
https://distill.pub/2017/feature-visualization). The direction of steepest ascent then is no longer a pattern of single
pixels. :class:`Pixels` are the pixels themselves, as in Simonyan et al. 2013.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# How the colours of photos vary, measured on 201 of them: principal axes (columns: light and dark, warm and cold, green
# and magenta) times standard deviations, for red, green, blue of 0..1; divided by the largest.
_COLOURS = torch.tensor([[0.592, 0.247, -0.128], [0.551, 0.050, 0.213], [0.587, -0.295, -0.071]])


class Pixels:
    """The pixels themselves; the start is mid-grey with a little noise.

    Attributes:
        values: the tensor of parameters.
        rate: a learning rate of Adam that suits them.
    """

    rate = 0.02

    def __init__(self, shape: tuple[int, int, int], generator: torch.Generator, like: Tensor) -> None:
        noise = torch.randn(1, *shape, generator=generator)
        self.values = (0.5 + 0.02 * noise).to(like).requires_grad_()

    def image(self) -> Tensor:
        """Return the image (1, C, H, W) of 0..1 that ``values`` stand for."""
        return self.values

    @torch.no_grad()
    def settle(self) -> None:
        """Bring ``values`` back into their range after a step."""
        self.values.clamp_(0, 1)


class Fourier:
    """Amplitudes of waves, in uncorrelated colours where there are three; a sigmoid keeps the pixels in 0..1.

    Waves of two or three pixels are damped where the image is large: they raise activations, but show people nothing.
    """

    rate = 0.018

    def __init__(self, shape: tuple[int, int, int], generator: torch.Generator, like: Tensor) -> None:
        channels, height, width = self.shape = shape
        waves = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :])
        # Photos have amplitudes that fall with the frequency; the mean of the image counts as the longest wave.
        blur = 0.7 if min(height, width) > 64 else 0.0  # standard deviation in pixels of the Gaussian it amounts to
        damping = torch.exp(-2 * (math.pi * blur * waves) ** 2)
        self.scale = (damping / waves.clamp_min(1 / max(height, width)))[..., None].to(like)
        start = 0.01 * torch.randn(1, channels, height, width // 2 + 1, 2, generator=generator)
        self.values = start.to(like).requires_grad_()
        self.colours = (_COLOURS if channels == 3 else torch.eye(channels)).to(like)

    def image(self) -> Tensor:
        spectrum = torch.view_as_complex(self.values * self.scale)
        waves = torch.fft.irfft2(spectrum, s=self.shape[1:], norm="ortho")
        return torch.einsum("dc,nchw->ndhw", self.colours, waves).sigmoid()

    def settle(self) -> None:
        pass


PARAMETRISATIONS: dict[str, type[Fourier] | type[Pixels]] = {"fourier": Fourier, "pixels": Pixels}
