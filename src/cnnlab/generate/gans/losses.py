"""Losses of discriminator and generator, from logits; and the R1 penalty on the discriminator's gradient.

A discriminator's logit is high for an image that it takes for real. Each loss is a mean over the images of a batch.
:data:`LOSSES` maps names to pairs of losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class GanLoss:
    """The losses of discriminator and generator, which belong together.

    Attributes:
        discriminator: a function from the logits (N,) of real and of generated images to the discriminator's loss.
        generator: a function from the logits (N,) of generated images to the generator's loss.
        paper: authors and year of the publication.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    paper: str


# The original loss -------------------------------------------------------------------------------------------------


def vanilla_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return -mean log D(x) - mean log(1 - D(G(z))) with D = sigmoid(logit) (Goodfellow et al. 2014, equation 1).

    softplus(-s) is -log sigmoid(s) and softplus(s) is -log(1 - sigmoid(s)), without overflow for logits of any size.
    """
    return softplus(-real).mean() + softplus(fake).mean()


def vanilla_generator_loss(fake: Tensor) -> Tensor:
    """Return -mean log D(G(z)), which does not saturate while D is right (Goodfellow et al. 2014, section 3)."""
    return softplus(-fake).mean()


# Least squares -----------------------------------------------------------------------------------------------------


def least_squares_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return half of the mean square of the logits' distances from 1 (real) and 0 (Mao et al. 2017, equation 9)."""
    return (real - 1).square().mean() / 2 + fake.square().mean() / 2


def least_squares_generator_loss(fake: Tensor) -> Tensor:
    """Return half of the mean square of the logits' distances from 1 (Mao et al. 2017, equation 9)."""
    return (fake - 1).square().mean() / 2


# Hinge ---------------------------------------------------------------------------------------------------------------


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return mean max(0, 1 - real) + mean max(0, 1 + fake) (Miyato et al. 2018, equation 16)."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """Return the negative mean logit of generated images (Miyato et al. 2018, equation 17)."""
    return -fake.mean()


LOSSES = {
    "vanilla": GanLoss(vanilla_discriminator_loss, vanilla_generator_loss, "Goodfellow et al. 2014"),
    "least_squares": GanLoss(least_squares_discriminator_loss, least_squares_generator_loss, "Mao et al. 2017"),
    "hinge": GanLoss(hinge_discriminator_loss, hinge_generator_loss, "Miyato et al. 2018"),
}


# The penalty -------------------------------------------------------------------------------------------------------


def r1_penalty(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Return half of the mean squared norm of the gradient of D at real images (Mescheder et al. 2018, equation 9).

    The gradient is that of the logit with respect to the image. With this penalty the training converges near its
    equilibrium; without it, it need not (section 4 of the paper).

    Args:
        discriminator: a network whose logit for an image depends on no other image of the batch.
        images: real images (N, C, S, S), as the discriminator takes them.
    """
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean() / 2
