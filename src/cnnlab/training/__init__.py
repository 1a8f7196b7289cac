"""Training: recipes, the loop and its events, optimizers, speed, checkpoints, several processes.

::

    for event in fit(load_recipe("lenet5-mnist5k")):
        if isinstance(event, EpochDone):
            print(event.epoch, event.val_accuracy)
"""

from cnnlab.training.checkpoint import ModelFile
from cnnlab.training.events import EpochDone, Event, FeaturesComputed, Finished, Started, StepDone
from cnnlab.training.loop import evaluate, fit
from cnnlab.training.recipe import Measured, Recipe, list_recipes, load_recipe, recipe_for
from cnnlab.training.session import Session, prepare

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
