"""Training: recipes, the loop and its events, optimizers, precision, checkpoints, several processes.

::

    for event in fit(load_recipe("lenet5-mnist5k")):
        if isinstance(event, EpochDone):
            print(event.epoch, event.val_accuracy)

What this package offers is loaded when first used: recipes need no torch, and a command that lists them answers at
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.training.build import prepare
    from cnnlab.training.checkpoint import ModelFile
    from cnnlab.training.evaluation import evaluate
    from cnnlab.training.events import EpochDone, Event, FeaturesComputed, Finished, Started, StepDone
    from cnnlab.training.loop import fit
    from cnnlab.training.recipe import Measured, Recipe
    from cnnlab.training.session import Session
    from cnnlab.training.shipped import list_recipes, load_recipe, recipe_for

_MODULE_OF = {
    "EpochDone": ".events",
    "Event": ".events",
    "FeaturesComputed": ".events",
    "Finished": ".events",
    "Measured": ".recipe",
    "ModelFile": ".checkpoint",
    "Recipe": ".recipe",
    "Session": ".session",
    "Started": ".events",
    "StepDone": ".events",
    "evaluate": ".evaluation",
    "fit": ".loop",
    "list_recipes": ".shipped",
    "load_recipe": ".shipped",
    "prepare": ".build",
    "recipe_for": ".shipped",
}

__all__ = [
    "EpochDone",
    "Event",
    "FeaturesComputed",
    "Finished",
    "Measured",
    "ModelFile",
    "Recipe",
    "Session",
    "Started",
    "StepDone",
    "evaluate",
    "fit",
    "list_recipes",
    "load_recipe",
    "prepare",
    "recipe_for",
]

__getattr__ = attributes_from(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
