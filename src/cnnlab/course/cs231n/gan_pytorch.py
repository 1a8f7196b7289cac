"""``cs231n.gan_pytorch``: the functions of assignment 3, generative adversarial networks, in PyTorch.

Notebooks before 2020 ask for these functions in their cells: there, ``from cs231n.gan_pytorch import *`` stands for the
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import Sampler

from cnnlab.course._arrays import Array
from cnnlab.generate.gans import losses
from cnnlab.generate.gans.networks import dcgan28, fully_connected
from cnnlab.scratch import rel_error

__all__ = [
    "NOISE_DIM",
    "ChunkSampler",
    "Flatten",
    "Unflatten",
    "bce_loss",
    "build_dc_classifier",
    "build_dc_generator",
    "count_params",
    "deprocess_img",
    "discriminator",
    "discriminator_loss",
    "generator",
    "generator_loss",
    "get_optimizer",
    "initialize_weights",
    "ls_discriminator_loss",
    "ls_generator_loss",
    "preprocess_img",
    "rel_error",
    "run_a_gan",
    "sample_noise",
]

NOISE_DIM = 96

_IMAGE = (1, 28, 28)


def preprocess_img(x: Any) -> Any:
    """Return an image of 0..1 in -1..1."""
    return 2 * x - 1


def deprocess_img(x: Any) -> Any:
    """Return an image of -1..1 in 0..1."""
    return (x + 1) / 2


def count_params(model: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


class ChunkSampler(Sampler[int]):
    """The positions ``start`` to ``start + num_samples - 1``, in order."""

    def __init__(self, num_samples: int, start: int = 0) -> None:
        self.num_samples, self.start = num_samples, start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.start + self.num_samples))

    def __len__(self) -> int:
        return self.num_samples


class Flatten(nn.Module):
    """Images (N, C, H, W) as rows (N, C * H * W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Unflatten(nn.Module):
    """Rows as images (N, C, H, W).

    Args:
        N: number of images, -1 for as many as there are.
        C, H, W: channels, height and width.
    """

    def __init__(self, N: int = -1, C: int = 128, H: int = 7, W: int = 7) -> None:
        super().__init__()
        self.shape = (N, C, H, W)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.shape)


class _Column(nn.Module):
    """Logits (N,) as a column (N, 1), as the course's networks end."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None]


def initialize_weights(m: nn.Module) -> None:
    """Draw the weights of a dense layer or a transposed convolution anew (Glorot and Bengio 2010, equation 16)."""
    if isinstance(m, nn.Linear | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(m.weight)


def sample_noise(batch_size: int, dim: int, seed: int | None = None) -> Tensor:
    """Return noise (batch_size, dim), uniform in -1..1.

    Args:
        batch_size: number of rows.
        dim: number of values in a row.
        seed: seed of torch's random numbers; None leaves them as they are.
    """
    _seed(seed)
    return 2 * torch.rand(batch_size, dim) - 1


def discriminator(seed: int | None = None) -> nn.Sequential:
    """Return a fully connected discriminator: images (N, 784) or (N, 1, 28, 28) in, logits (N, 1) out."""
    _seed(seed)
    return nn.Sequential(Flatten(), fully_connected.Discriminator(_IMAGE, 256), _Column())


def generator(noise_dim: int = NOISE_DIM, seed: int | None = None) -> nn.Sequential:
    """Return a fully connected generator: noise (N, noise_dim) in, images (N, 784) of -1..1 out."""
    _seed(seed)
    return nn.Sequential(fully_connected.Generator(noise_dim, _IMAGE, 1024), Flatten())


def build_dc_classifier(batch_size: int = 128, seed: int | None = None) -> nn.Sequential:
    """Return a convolutional discriminator: images (N, 784) or (N, 1, 28, 28) in, logits (N, 1) out.

    Args:
        batch_size: number of images of a batch; batches of other sizes are taken too.
        seed: seed of torch's random numbers; None leaves them as they are.
    """
    _seed(seed)
    return nn.Sequential(Unflatten(-1, *_IMAGE), dcgan28.Discriminator(1, 28), _Column())


def build_dc_generator(noise_dim: int = NOISE_DIM, seed: int | None = None) -> nn.Sequential:
    """Return a convolutional generator: noise (N, noise_dim) in, images (N, 784) of -1..1 out."""
    _seed(seed)
    return nn.Sequential(dcgan28.Generator(noise_dim, 1, 28), Flatten())


def bce_loss(input: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits ``input`` with ``target`` of 0..1, of the same shape."""
    return binary_cross_entropy_with_logits(input, target)


def discriminator_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """Return the discriminator's loss (Goodfellow et al. 2014) for logits of real and of generated images."""
    return losses.vanilla_discriminator_loss(logits_real, logits_fake)


def generator_loss(logits_fake: Tensor) -> Tensor:
    """Return the generator's loss (Goodfellow et al. 2014), the one that does not saturate."""
    return losses.vanilla_generator_loss(logits_fake)


def ls_discriminator_loss(scores_real: Tensor, scores_fake: Tensor) -> Tensor:
    """Return the discriminator's least-squares loss (Mao et al. 2017)."""
    return losses.least_squares_discriminator_loss(scores_real, scores_fake)


def ls_generator_loss(scores_fake: Tensor) -> Tensor:
    """Return the generator's least-squares loss (Mao et al. 2017)."""
    return losses.least_squares_generator_loss(scores_fake)


def get_optimizer(model: nn.Module) -> torch.optim.Adam:
    """Return Adam with a learning rate of 1e-3, beta1 of 0.5 and beta2 of 0.999."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999))


def run_a_gan(
    D: nn.Module,
    G: nn.Module,
    D_solver: torch.optim.Optimizer,
    G_solver: torch.optim.Optimizer,
    discriminator_loss: Callable[[Tensor, Tensor], Tensor],
    generator_loss: Callable[[Tensor], Tensor],
    loader_train: Iterable[tuple[Tensor, Tensor]],
    show_every: int = 250,
    batch_size: int = 128,
    noise_size: int = NOISE_DIM,
    num_epochs: int = 10,
) -> list[Array]:
    """Train discriminator and generator against each other, print losses, and return generated images.

    The signature is the course's.

    Args:
        D, G: the networks, as :func:`discriminator` and :func:`generator` return them.
        D_solver, G_solver: their optimizers.
        discriminator_loss: function from the logits of real and of generated images to a loss.
        generator_loss: function from the logits of generated images to a loss.
        loader_train: batches of images of 0..1, with labels that are not used.
        show_every: number of iterations from one printed line to the next.
        batch_size: number of images of a batch; smaller ones are left out.
        noise_size: number of noise values that an image is made from.
        num_epochs: number of passes through ``loader_train``.

    Returns:
        16 images (16, 784) of -1..1 for every printed line.
    """
    device = next(D.parameters()).device
    images, iteration = [], 0
    for _ in range(num_epochs):
        for x, _labels in loader_train:
            if len(x) != batch_size:
                continue
            real = preprocess_img(x.to(device))
            with torch.no_grad():
                fake = G(sample_noise(batch_size, noise_size).to(device))
            d_loss = discriminator_loss(D(real), D(fake))
            D_solver.zero_grad()
            d_loss.backward()
            D_solver.step()
            fake = G(sample_noise(batch_size, noise_size).to(device))
            g_loss = generator_loss(D(fake))
            G_solver.zero_grad()
            g_loss.backward()
            G_solver.step()
            if iteration % show_every == 0:
                print(f"Iter: {iteration}, D: {d_loss.item():.4}, G: {g_loss.item():.4}")
                images.append(np.asarray(fake[:16].detach().cpu()))
            iteration += 1
    return images


def _seed(seed: int | None) -> None:
    if seed is not None:
        torch.manual_seed(seed)
