"""The task of an advice: the data, the time, the goal, and the settings that follow from the data alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from cnnlab.advisor.profile import DataProfile, profile
from cnnlab.data import FileSplit, ImageData, Split, data_sets, load_data
from cnnlab.errors import DataError
from cnnlab.hardware import choose_device
from cnnlab.training.recipe import Recipe
from cnnlab.training.shipped import recipe_for
from cnnlab.zoo import create_model, models

Goal = Literal["accuracy", "speed", "small"]

HELD_OUT, HELD_OUT_PHOTOS = 1000, 300  # images on which networks are compared, at most
SAMPLE_PHOTOS = 1000  # training photos, at most: reading files takes time
LEAST_SEEN = 3000  # images, with repetitions, before a network from random weights has learned anything
IMBALANCED, VERY_IMBALANCED = 1.5, 3.0  # largest class to smallest


@dataclass(frozen=True)
class Settings:
    """The settings with which every network is trained on the data.

    Attributes:
        batch_size: number of images per step.
        image_size: side of the images in pixels.
        augment: keys of the recipe's augmentation.
        most_epochs: number of epochs after which more are of no use.
        least_epochs: number of epochs below which a network has learned too little to be advised.
        class_weights: value of the recipe key of this name; None leaves it as it is.
        balanced: whether networks are compared by balanced accuracy.
        notes: sentences that say what was decided and why.
    """

    batch_size: int
    image_size: int
    augment: dict[str, Any]
    most_epochs: int
    least_epochs: int
    class_weights: str | None
    balanced: bool
    notes: tuple[str, ...]


def choose_settings(images: DataProfile) -> Settings:
    """Return the settings for data of this profile."""
    most_epochs = 60 if images.train < 1000 else 40 if images.train < 10_000 else 30
    image_size, augment, note = _augmentation(images)
    notes = [note]
    balanced = images.imbalance >= VERY_IMBALANCED
    if images.imbalance >= IMBALANCED:
        comparison = "; networks are compared by balanced accuracy" if balanced else ""
        notes.append(
            f"the largest class has {images.imbalance:.1f} times the images of the smallest: "
            f"class_weights=auto{comparison}"
        )
    if images.fewest < 20:
        notes.append(f"a class with {images.fewest} images says little: expect surprises, add images if you can")
    return Settings(
        batch_size=32 if images.train < 2000 else 64 if images.train < 20_000 else 128,
        image_size=image_size,
        augment=augment,
        most_epochs=most_epochs,
        # A network has to see some thousands of images to learn at all, and all of them some times.
        least_epochs=min(most_epochs, max(3, math.ceil(LEAST_SEEN / images.train))),
        class_weights="auto" if images.imbalance >= IMBALANCED else None,
        balanced=balanced,
        notes=tuple(notes),
    )


def _augmentation(images: DataProfile) -> tuple[int, dict[str, Any], str]:
    """Return the image size in pixels, the augmentation, and the sentence that says so."""
    if images.photos:
        short_side = images.short_side or 32
        size = 128 if short_side >= 128 else max(32, short_side // 16 * 16)
        note = f"photos are cropped at random, mirrored, and resized to {size}x{size}"
        return size, {"flip": True, "crop_scale": 0.35}, note
    if images.channels == 3:
        size = images.size or 32
        shift = max(1, size // 8)
        return (
            size,
            {"flip": True, "crop": shift},
            f"small colour images are mirrored and shifted by up to {_px(shift)}",
        )
    size = images.size or 28
    shift = max(1, size // 14)
    note = (
        f"grey images are shifted by up to {_px(shift)} and not mirrored, in case they are digits or letters "
        "(augment.flip=true where left and right mean the same)"
    )
    return size, {"crop": shift}, note


def _px(count: int) -> str:
    return f"{count} pixel{'s' * (count > 1)}"


@dataclass(frozen=True)
class Request:
    """The requirements of the user besides the data.

    Attributes:
        seconds: longest time that the training may take, in seconds.
        goal: quantity that the networks are ranked by.
        budget: seconds for the advice itself.
        seed: seed of samples, weights and order.
        device: name of the device, as in recipes.
        data_dir: folder where named data are looked for first.
    """

    seconds: float
    goal: Goal = "accuracy"
    budget: float = 120.0
    seed: int = 0
    device: str = "auto"
    data_dir: str | None = None


@dataclass(frozen=True)
class Task:
    """The data, the request, and the settings that follow from the data alone.

    Attributes:
        request: time, goal, budget, seed and device.
        source: the data as the user wrote them.
        spec: name of the data set, or absolute path.
        data: the images to learn from; without val and test.
        held_out: the images on which networks are compared.
        held_out_from: the split they come from, ``"val"`` or ``"train"``.
        profile: properties of the whole data set.
        settings: settings with which every network is trained on it.
    """

    request: Request
    source: str
    spec: str
    data: ImageData
    held_out: Split
    held_out_from: Literal["val", "train"]
    profile: DataProfile
    settings: Settings

    @classmethod
    def load(cls, source: str, request: Request) -> Task:
        """Load the data called ``source`` and hold some of the images out.

        Raises:
            DataError: the data cannot be used, or no image can be held out.
        """
        is_path = source not in data_sets and Path(source).expanduser().exists()
        spec = str(Path(source).expanduser().resolve()) if is_path else source
        data = load_data(spec, data_dir=request.data_dir, seed=request.seed)
        return cls.of(data, request, source, spec)

    @classmethod
    def of(cls, data: ImageData, request: Request, source: str, spec: str) -> Task:
        """Make a task of loaded data."""
        to_learn, held_out, origin = hold_out(data, request.seed)
        images = profile(data)
        return cls(request, source, spec, to_learn, held_out, origin, images, choose_settings(images))

    @cached_property
    def device(self) -> torch.device:
        """The device on which trials run."""
        return choose_device(self.request.device)

    def recipe(self, name: str, weights: str | None = None, freeze: str | None = None) -> Recipe:
        """Return the recipe for network ``name``: the shipped one for this pair, else one that suits the data."""
        start = recipe_for(name, self.spec, weights=weights, freeze=freeze)
        changes: dict[str, Any] = {
            "seed": self.request.seed,
            "device": self.request.device,
            "data_dir": self.request.data_dir,
        }
        if not start.name and not weights:
            changes |= self._training_settings(name, start)
        return Recipe.make(start.values() | changes)

    def _training_settings(self, name: str, start: Recipe) -> dict[str, Any]:
        settings, photos = self.settings, self.profile.photos
        size = max(settings.image_size, models.get(name).facts.min_size)
        augment = dict(settings.augment)
        if "crop" in augment:  # a shift of the enlarged image as far as that of the original
            augment["crop"] = max(1, round(augment["crop"] * size / settings.image_size))
        small_steps = is_deep_without_normalisation(name, self.profile.classes, self.profile.channels, size)
        return {
            "image_size": size if photos else None,
            "crop_fraction": 0.875 if photos else 1.0,
            "batch_size": settings.batch_size,
            "optimizer": "adamw",
            "lr": 3e-4 if small_steps else 1e-3,
            "weight_decay": 0.05,
            "schedule": "onecycle",
            "label_smoothing": 0.1,
            "class_weights": settings.class_weights or start.class_weights,
            "augment": augment,
        }

    def image_size(self, recipe: Recipe) -> int:
        """Return the side in pixels of the images that the network of ``recipe`` is trained on."""
        facts = models.get(recipe.model).facts
        usual = facts.image_size if self.profile.photos else max(self.settings.image_size, facts.min_size)
        return recipe.image_size or usual


def hold_out(data: ImageData, seed: int) -> tuple[ImageData, Split, Literal["val", "train"]]:
    """Return the images to learn from, those to compare on, and the split that the latter come from.

    The test split is never used.

    Raises:
        DataError: no image can be held out.
    """
    has_val = data.val is not None
    divided = data if has_val else data.with_validation(0.2 if len(data.train) < 5000 else 0.1, seed)
    photos = isinstance(data.train, FileSplit)
    sample = divided.limited(SAMPLE_PHOTOS if photos else None, val=HELD_OUT_PHOTOS if photos else HELD_OUT, seed=seed)
    if sample.val is None or not len(sample.val):
        raise DataError(f"{data.name} has no images that could be held out to compare networks. Add images.")
    return replace(sample, val=None, test=None), sample.val, "val" if has_val else "train"


def is_deep_without_normalisation(name: str, classes: int, channels: int, size: int) -> bool:
    """Return whether a network has more than five layers, no normalisation, and so needs a small learning rate."""
    with torch.device("meta"):
        modules = list(create_model(name, classes, channels, size).modules())
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm) for m in modules)
    return not normalised and sum(isinstance(m, nn.Conv2d | nn.Linear) for m in modules) > 5
