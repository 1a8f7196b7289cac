"""A recipe of a GAN: networks, data, loss, optimizers, precision, seed; and the recipes that ship with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from cnnlab.errors import did_you_mean
from cnnlab.training.settings import DeviceName, Settings
from cnnlab.training.shipped import read_recipe, shipped_names

Decay = Annotated[float, Field(ge=0, lt=1)]

LOSS_NAMES = ("vanilla", "least_squares", "hinge")


class GanRecipe(Settings):
    """Every setting of the training of a generator and a discriminator.

    Raises:
        RecipeError: see :class:`cnnlab.training.settings.Settings`.
    """

    keys_hint: ClassVar[str] = "`cnnlab gan --keys` lists them."

    # What it is
    name: str = Field("", description="name of the recipe")
    about: str = Field("", description="purpose of the recipe, in a sentence")
    reproduces: str = Field("", description="paper or document whose result it reproduces")

    # What is trained on what
    networks: str = Field("dcgan28", description="registered name of the pair of networks")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the pair")
    noise_size: int = Field(96, ge=1, description="number of noise values per image, each uniform in -1..1")
    data: str = Field("mnist5k", description="registered name of a data set, a folder of photos, or a CSV file")
    data_dir: str | None = Field(None, description="folder to look for data sets in")
    image_size: int | None = Field(None, ge=4, le=128, description="side in pixels; null: that of the data")
    channels: Literal[1, 3] | None = Field(None, description="channels: 1 grey, 3 colour; null: those of the data")
    train_limit: int | None = Field(None, ge=1, description="size of a stratified sample to train on; null: all images")
    flip: bool = Field(False, description="random mirroring of the real images, left and right")

    # How it is trained
    loss: str = Field("vanilla", description=f"loss of both networks: {', '.join(LOSS_NAMES)}")
    epochs: int = Field(10, ge=1, description="passes over the training split")
    batch_size: int = Field(128, ge=2, description="real images, and as many generated ones, per step")
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam, for both networks")
    betas: tuple[Decay, Decay] = Field((0.5, 0.999), description="decay rates of Adam's two moments")
    r1: float = Field(0.0, ge=0, description="weight of the R1 penalty on the discriminator's gradient; 0: off")
    r1_every: int = Field(
        1, ge=1, description="steps from one penalty to the next; its weight is multiplied by this number"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the EMA of the generator's weights, used for the samples; 0: off"
    )

    # What is shown
    samples: int = Field(
        64, ge=1, le=400, description="number of fixed noise vectors whose images are drawn after every epoch"
    )

    # On what it runs
    seed: int = Field(0, ge=0, description="seed of weights, noise and order")
    device: DeviceName = Field("auto", description="device to run on: auto, cpu, cuda, cuda:N or mps")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="number format of the forward passes")
    channels_last: bool = Field(False, description="memory layout NHWC")

    @field_validator("loss")
    @classmethod
    def _name_of_a_loss(cls, value: str) -> str:
        if value not in LOSS_NAMES:
            near = did_you_mean(value, LOSS_NAMES)
            raise ValueError(f"expected {', '.join(LOSS_NAMES)}, got {value!r}. {near}".rstrip(". "))
        return value

    def changed(self) -> dict[str, Any]:
        """Return only the values that differ from the defaults, and always networks, data, loss and epochs."""
        defaults = GanRecipe().values()
        always = {"networks", "data", "loss", "epochs"}
        return {key: value for key, value in self.values().items() if key in always or value != defaults[key]}


PACKAGE = "cnnlab.generate.gans.recipes"


def list_gan_recipes() -> list[str]:
    """Return the names of the recipes of GANs that ship with the package."""
    return shipped_names(PACKAGE)


def load_gan_recipe(name: str | Path) -> GanRecipe:
    """Load a shipped recipe of a GAN by name, or a YAML file by path.

    Raises:
        UnknownNameError: neither a shipped recipe nor a file.
        RecipeError: the file is not valid.
    """
    return GanRecipe.make(*read_recipe(name, PACKAGE, "GAN"))
