"""A training step of a GAN: a step of the discriminator, then a step of the generator."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.generate.gans.losses import r1_penalty
from cnnlab.generate.gans.session import GanSession, draw_noise


def gan_step(session: GanSession, images: Tensor, penalised: bool) -> Tensor:
    """Make a step of the discriminator and then of the generator, each with new noise, as in CS231n, assignment 3.

    Args:
        session: the networks and their optimizers, which change. Noise comes from torch's random numbers.
        images: real images (N, C, S, S) within -1..1, on the device.
        penalised: whether the R1 penalty is added to the discriminator's loss in this step.

    Returns:
        Seven numbers on the device, float64 where the device has it: sums over the N images of the discriminator's
        loss without the penalty, the generator's loss, the logits of real images, those of generated ones, and the
        penalty; N; and the number of images whose penalty was computed.
    """
    gan, count = session.gan, len(images)
    gan.train()
    fake = _generated(session, count, learning=False)
    with session.precision.autocast(session.device):
        real_logits, fake_logits = gan.discriminator(images).float(), gan.discriminator(fake).float()
    loss = session.loss.discriminator(real_logits, fake_logits)
    penalty = r1_penalty(gan.discriminator, images) if penalised else loss.new_zeros(())
    session.discriminator_optimizer.zero_grad(set_to_none=True)
    # Lazy regularisation: every r1_every steps, with r1_every times the weight (Karras et al. 2020, appendix B).
    (loss + session.recipe.r1 * session.recipe.r1_every * penalty).backward()
    session.discriminator_optimizer.step()
    generator_loss = _generator_step(session, count)
    means = torch.stack([loss.detach(), generator_loss, real_logits.detach().mean(), fake_logits.detach().mean()])
    sums = torch.cat([means, penalty.detach()[None], torch.ones_like(means[:1]), means.new_full((1,), penalised)])
    return sums.to(session.position.sums) * count


def _generator_step(session: GanSession, count: int) -> Tensor:
    gan = session.gan
    gan.discriminator.requires_grad_(False)  # its gradients are not needed now
    fake = _generated(session, count, learning=True)
    with session.precision.autocast(session.device):
        logits = gan.discriminator(fake).float()
    loss = session.loss.generator(logits)
    session.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    session.generator_optimizer.step()
    gan.discriminator.requires_grad_(True)
    return loss.detach()


def _generated(session: GanSession, count: int, *, learning: bool) -> Tensor:
    """Return generated images (count, C, S, S) of new noise, with a graph only when the generator is learning."""
    noise = draw_noise(count, session.recipe.noise_size).to(session.device)
    with torch.set_grad_enabled(learning), session.precision.autocast(session.device):
        images: Tensor = session.gan.generator(noise)
    return images.contiguous(memory_format=session.precision.memory_format)
