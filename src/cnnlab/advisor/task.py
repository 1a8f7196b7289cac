"""The task of an advice: the data, the time, the goal, and the settings that follow from the data alone."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from cnnlab.advisor.profile import DataProfile, profile
from cnnlab.data import FileSplit, ImageData, Split, data_sets
from cnnlab.errors import DataError
from cnnlab.hardware import choose_device
from cnnlab.training.build import load_recipe_data
from cnnlab.training.recipe import Recipe
from cnnlab.training.shipped import absolute_data, recipe_for
from cnnlab.zoo import create_model, models

Goal = Literal["accuracy", "speed", "small"]

HELD_OUT, HELD_OUT_PHOTOS = 1000, 300  # images on which networks are compared, at most
SAMPLE_PHOTOS = 1000  # training photos, at most: reading files takes time
LEAST_SEEN = 3000  # images, with repetitions, before a network from random weights has learned anything
IMBALANCED, VERY_IMBALANCED = 1.5, 3.0  # largest class to smallest


@dataclass(frozen=True)
class Settings:
    """The settings with which every network is trained on the data."""

    batch_size: int  #: number of images per step
    image_size: int  #: side of the images in pixels
    augment: dict[str, Any]  #: keys of the recipe's augmentation
    most_epochs: int  #: number of epochs after which more are of no use
    least_epochs: int  #: number of epochs below which a network has learned too little to be advised
    class_weights: str | None  #: value of the recipe key of this name; None leaves it as it is
    balanced: bool  #: whether networks are compared by balanced accuracy
    notes: tuple[str, ...]  #: sentences that say what was decided and why


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
    colour = images.channels == 3
    size = images.size or (32 if colour else 28)
    shift = max(1, size // (8 if colour else 14))
    shifted = f"shifted by up to {shift} pixel{'s' * (shift > 1)}"
    if colour:
        return size, {"flip": True, "crop": shift}, f"small colour images are mirrored and {shifted}"
    note = (
        f"grey images are {shifted} and not mirrored, in case they are digits or letters "
        "(augment.flip=true where left and right mean the same)"
    )
    return size, {"crop": shift}, note


@dataclass(frozen=True)
class AdviceStep:
    """A step of the advice: something that it did or measured."""

    text: str  #: one line that describes the step
    share: float  #: share of the time for the advice that has passed, 0..1
    passing: bool = False  #: whether the line only reports progress and is of no interest afterwards


@dataclass(frozen=True)
class Request:
    """What the user asked for, and since when the advice has been running."""

    source: str  #: name or path of the data as the user wrote it
    seconds: float  #: longest time that the training may take, in seconds
    goal: Goal = "accuracy"  #: quantity that the networks are ranked by
    budget: float = 120.0  #: time for the advice itself, in seconds
    options: Mapping[str, Any] = field(default_factory=dict)  #: recipe settings of every network, such as seed, device
    started: float = field(default_factory=time.perf_counter)  #: moment at which the advice began

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the options alone, with the absolute path of data that is not registered."""
        return Recipe.make({"data": absolute_data(self.source, data_sets), **self.options}, "advise")

    @property
    def elapsed(self) -> float:
        """The seconds since the advice began."""
        return time.perf_counter() - self.started

    def step(self, text: str, passing: bool = False) -> AdviceStep:
        """Return a step with the share of the time that has passed by now."""
        return AdviceStep(text, min(1.0, self.elapsed / self.budget), passing)


@dataclass(frozen=True)
class Task:
    """The request, the data, and the settings that follow from the data alone."""

    request: Request  #: data, time, goal, budget and options that were asked for
    data: ImageData  #: images to learn from; without val and test
    held_out: Split  #: images on which networks are compared
    held_out_from: Literal["val", "train"]  #: split that they come from
    profile: DataProfile  #: properties of the whole data set
    settings: Settings  #: settings with which every network is trained on it

    @classmethod
    def of(cls, request: Request, data: ImageData | None = None) -> Task:
        """Load the data that is asked for, unless it is given, and hold some of the images out.

        Raises:
            RecipeError: an option is no setting of a recipe, or is wrong.
            DataError: the data cannot be used, or no image can be held out.
        """
        data = data or load_recipe_data(request.recipe)
        to_learn, held_out, origin = hold_out(data, request.recipe.seed)
        images = profile(data)
        return cls(request, to_learn, held_out, origin, images, choose_settings(images))

    @cached_property
    def device(self) -> torch.device:
        """The device on which trials run."""
        return choose_device(self.request.recipe.device)

    def recipe(self, name: str, weights: str | None = None, freeze: str | None = None) -> Recipe:
        """Return the recipe for network ``name``: the shipped one for this pair, else one that suits the data."""
        start = recipe_for(name, self.request.recipe.data, weights=weights, freeze=freeze)
        settings = self._training_settings(name, start) if not start.name and not weights else {}
        return Recipe.make(start.values() | settings | dict(self.request.options))

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
