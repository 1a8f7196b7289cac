"""A recipe of a captioning network: data, encoder, decoder, optimizer, seed; and the recipes of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from cnnlab.training.settings import DeviceName, Settings
from cnnlab.training.shipped import read_recipe, shipped_names


class CaptionRecipe(Settings):
    """Every setting of the training of a captioning network.

    Raises:
        RecipeError: see :class:`cnnlab.training.settings.Settings`.
    """

    keys_hint: ClassVar[str] = "`cnnlab caption train --keys` lists them."

    # What it is
    name: str = Field("", description="name of the recipe")
    about: str = Field("", description="purpose of the recipe, in a sentence")
    reproduces: str = Field("", description="paper or document whose result it reproduces")

    # What is learned from
    data: str = Field(
        "scenes", description="scenes, coco, or a folder of Flickr8k, of photos with captions.txt, or of COCO"
    )
    data_dir: str | None = Field(None, description="folder in which the data is looked for")
    data_options: dict[str, Any] = Field(
        default_factory=dict, description="options of the data, such as count of scenes"
    )
    train_limit: int | None = Field(None, ge=1, description="number of training images that are used; null: all")
    image_size: int | None = Field(None, ge=8, le=1024, description="side in pixels; null: that of data or weights")

    # The network
    encoder: str = Field(
        "small", description="small (trained with the decoder), given (features of the data), or a network"
    )
    encoder_options: dict[str, Any] = Field(default_factory=dict, description="options of the encoder small: widths")
    weights: str | None = Field(None, description="weights of that network: imagenet, or a path; null: random")
    layer: str | None = Field(
        None, description="layer of that network whose output is the map; null: the last one with positions"
    )
    decoder: Literal["rnn", "lstm", "attention"] = Field("attention", description="kind of the recurrent network")
    word_size: int = Field(64, ge=1, description="length of a word's vector")
    hidden_size: int = Field(192, ge=1, description="length of the decoder's state")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of values set to 0 before the output layer")
    coverage: float = Field(
        0.0, ge=0, description="weight of the penalty on uneven attention (Xu et al. 2015, section 4.2.1)"
    )

    # How it is trained
    epochs: int = Field(8, ge=1, description="passes over the training images")
    batch_size: int = Field(32, ge=1, description="images per step")
    captions_per_image: int = Field(1, ge=1, description="number of captions per image in an epoch")
    lr: float = Field(3e-3, gt=0, description="largest learning rate of Adam")
    warmup_fraction: float = Field(
        0.15, ge=0, lt=1, description="share of the training in which the learning rate rises to lr"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of AdamW")
    clip_norm: float = Field(5.0, ge=0, description="largest norm of the gradient; 0: not clipped")

    # How it is judged
    val_limit: int = Field(200, ge=1, description="number of validation images after every epoch")
    max_length: int | None = Field(
        None, ge=1, description="largest number of words of a sentence; null: that of the captions"
    )

    # On what it runs
    seed: int = Field(0, ge=0, description="seed of weights and order")
    device: DeviceName = Field("auto", description="device to run on: auto, cpu, cuda, cuda:N or mps")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="number format of the forward passes")

    def check_consistency(self) -> None:
        """Refuse values that do not go together.

        Raises:
            ValueError: two keys contradict each other; :class:`Settings` reports it as a ``RecipeError``.
        """
        of_network = {"weights": self.weights, "layer": self.layer}
        for key, value in of_network.items():
            if value is not None and self.encoder in ("small", "given"):
                raise ValueError(f"{key}={value} is for a network as the encoder, and the encoder is {self.encoder}")
        if self.coverage and self.decoder != "attention":
            raise ValueError(
                f"coverage={self.coverage} is a penalty of attention, and the decoder {self.decoder} has none"
            )
        if self.encoder != "given" and self.decoder != "attention" and self.batch_size * self.captions_per_image == 1:
            raise ValueError("batch_size=1 is too little for the BatchNorm of the first state; take 2 or more")
        if self.encoder == "given" and self.decoder == "attention":
            raise ValueError(
                "decoder=attention needs a map to look at, and given features have no positions; take lstm"
            )

    @property
    def decoder_options(self) -> dict[str, Any]:
        """The options of the decoder."""
        return {"word_size": self.word_size, "hidden_size": self.hidden_size, "dropout": self.dropout}


NAMED_DATA = ("scenes", "coco")  # the names of load_captions, which needs torch
PACKAGE = "cnnlab.generate.captions.recipes"


def list_caption_recipes() -> list[str]:
    """Return the names of the recipes of captioning networks that ship with the package."""
    return shipped_names(PACKAGE)


def load_caption_recipe(name: str | Path) -> CaptionRecipe:
    """Load a shipped recipe of a captioning network by name, or a YAML file by path.

    Raises:
        UnknownNameError: neither a shipped recipe nor a file.
        RecipeError: the file is not valid.
    """
    return CaptionRecipe.make(*read_recipe(name, PACKAGE, "recipe of captions"))
