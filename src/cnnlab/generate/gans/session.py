"""The state of the training of a GAN in memory, and the function that builds it from a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cnnlab.data import Augment, ImageData, Loader, Preprocess, Split, load_data
from cnnlab.errors import DataError, DivergedError, UsageError
from cnnlab.generate.gans.losses import LOSSES, GanLoss
from cnnlab.generate.gans.pair import Gan, create_gan
from cnnlab.generate.gans.recipe import GanRecipe
from cnnlab.hardware import Precision, choose_device
from cnnlab.training import distributed
from cnnlab.training.optim import EMA
from cnnlab.training.precision import to_memory_format
from cnnlab.training.seeding import seeded
from cnnlab.training.session import AtPosition, Position, all_finite
from cnnlab.training.step import sum_type

# Random numbers are a function of the seed and a position. Steps are numbered from 0; no step has this number.
FIXED_NOISE = 2**40

#: The number of sums over an epoch: discriminator's loss, generator's loss, logits of real and of generated images,
#: penalty, number of images, number of images whose penalty was computed.
SUMS = 7


@dataclass
class GanSession(AtPosition):
    """The state of a training in memory: everything that changes, and what it was built from."""

    gan: Gan  #: the two networks
    generator_optimizer: torch.optim.Optimizer  #: the optimizer of the generator's parameters
    discriminator_optimizer: torch.optim.Optimizer  #: the optimizer of the discriminator's parameters
    loss: GanLoss  #: the losses of both
    ema: EMA[nn.Module] | None  #: the EMA of the generator's weights; None where the recipe has none
    recipe: GanRecipe  #: the recipe, with image size, channels and device decided
    data: ImageData  #: the images
    device: torch.device  #: the device on which both networks compute
    precision: Precision  #: the number format and memory layout of the forward passes
    preprocess: Preprocess  #: the preprocessing of images to values within -1..1
    train_loader: Loader  #: the batches of real images
    position: Position  #: the position in the training: epoch, step, seconds and sums
    fixed_noise: Tensor  #: noise (samples, noise_size) whose images are drawn after every epoch
    #: checksums of the pixels of each split, once a state has been saved or restored
    contents: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  #: remarks on data, networks and device for people, a line each

    @property
    def sampler(self) -> nn.Module:
        """The generator that makes the samples: the one with the EMA of the weights where there is one."""
        return self.ema.model if self.ema else self.gan.generator


def prepare_gan(recipe: GanRecipe, data: ImageData | None = None) -> GanSession:
    """Build everything that a recipe names: data, networks, optimizers, batches.

    Args:
        recipe: the recipe of the training.
        data: the images to use instead of loading ``recipe.data``.

    Raises:
        UsageError: several processes were launched.
        DataError: the data cannot be loaded, or has fewer than two training images.
        ShapeError: the networks cannot make images of this size.
        DeviceError: the device is not on this machine.
    """
    if distributed.launched():
        raise UsageError("A GAN is trained by one process; start `cnnlab gan` without torchrun.")
    device = choose_device(recipe.device)
    data = _load(recipe, data)
    preprocess = image_preprocess(recipe, data.train)
    size, channels = preprocess.size, preprocess.channels
    with seeded(device, recipe.seed):
        gan = create_gan(
            recipe.networks, noise_size=recipe.noise_size, channels=channels, image_size=size, **recipe.options
        )
    precision = Precision(recipe.precision == "bf16", recipe.channels_last)
    to_memory_format(gan.to(device), precision.memory_format)
    loader = Loader(
        data.train,
        preprocess,
        recipe.batch_size,
        augment=Augment(flip=recipe.flip),
        shuffle=True,
        seed=recipe.seed,
        device=device,
        channels_last=precision.channels_last,
    )
    notes = [
        f"data: {data.name}, {len(data.train):,} {'grey' if channels == 1 else 'colour'} images, {size}x{size} pixels",
        f"networks: {recipe.networks}",
        "parameters: generator (G) {:,}, discriminator (D) {:,}".format(*gan.parameter_counts),
        f"device: {device}, {precision.describe()}",
    ]
    return GanSession(
        gan=gan,
        generator_optimizer=torch.optim.Adam(gan.generator.parameters(), recipe.lr, recipe.betas),
        discriminator_optimizer=torch.optim.Adam(gan.discriminator.parameters(), recipe.lr, recipe.betas),
        loss=LOSSES[recipe.loss],
        ema=EMA(gan.generator, recipe.ema) if recipe.ema else None,
        recipe=recipe.model_copy(update={"image_size": size, "channels": channels, "device": str(device)}),
        data=data,
        device=device,
        precision=precision,
        preprocess=preprocess,
        train_loader=loader,
        position=Position(torch.zeros(SUMS, dtype=sum_type(device), device=device)),
        fixed_noise=seeded_noise(recipe.samples, recipe.noise_size, recipe.seed, FIXED_NOISE).to(device),
        notes=notes,
    )


def _load(recipe: GanRecipe, data: ImageData | None) -> ImageData:
    if data is None:
        data = load_data(recipe.data, data_dir=recipe.data_dir, seed=recipe.seed)
    if recipe.train_limit:
        data = data.limited(recipe.train_limit, seed=recipe.seed)
    if len(data.train) < 2:
        raise DataError(f"{data.name} has {len(data.train)} training images; at least 2 are needed.")
    return data


def image_preprocess(recipe: GanRecipe, split: Split) -> Preprocess:
    """Return the preprocessing of a split to values within -1..1, with the size and channels of the recipe.

    Where the recipe does not set them, they are those of the split; photos, which differ in size, become 64x64 pixels.
    """
    own = 64 if split.photos or split.size is None else max(split.size)
    channels = recipe.channels or split.channels
    half = (0.5,) * channels  # (x - 0.5) / 0.5 of pixels within 0..1 lies within -1..1, as tanh does
    return Preprocess(recipe.image_size or own, channels, half, half, "crop" if split.photos else "stretch")


def draw_noise(count: int, size: int) -> Tensor:
    """Draw noise (count, size), uniform in -1..1, from torch's global random generator of the CPU."""
    return torch.rand(count, size) * 2 - 1


def seeded_noise(count: int, size: int, *position: int) -> Tensor:
    """Return noise (count, size), uniform in -1..1, as a pure function of ``position``, the same on every device."""
    with seeded(torch.device("cpu"), *position):
        return draw_noise(count, size)


def check_weights(session: GanSession) -> None:
    """Refuse to save weights that are not finite over good ones.

    Raises:
        DivergedError: a weight is not finite; the message has the epoch, and settings to try.
    """
    if not all_finite(session.gan):
        raise diverged(session, "The weights are not numbers any more")


def diverged(session: GanSession, what: str) -> DivergedError:
    """Return the error whose message has the problem ``what``, the step, and settings to try."""
    advice = [f"lr={session.recipe.lr / 10:g}"]
    advice += ["r1=1.0"] if not session.recipe.r1 else []
    advice += ["precision=fp32"] if session.precision.bf16 else []
    return DivergedError(f"{what} in epoch {session.epoch + 1}, step {session.step}. Try {', '.join(advice)}.")
