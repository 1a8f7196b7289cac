"""What a recipe, its data and its network must have in common: checked before anything is trained."""

from __future__ import annotations

import torch
from torch import nn

from cnnlab.data import ImageData
from cnnlab.errors import RecipeError, TrainingError
from cnnlab.tracing.hooks import evaluating
from cnnlab.training import distributed
from cnnlab.training.recipe import Recipe
from cnnlab.training.transfer import Freeze
from cnnlab.zoo import Network, imagenet_classes, located_weights, models, weights_facts


def check_kept_head(recipe: Recipe, data: ImageData) -> None:
    """Refuse to keep a last layer whose outputs mean other classes, where it is known what they mean."""
    if recipe.weights is None or recipe.head == "reset":
        return
    if recipe.weights == "imagenet":
        classes = imagenet_classes()
    else:
        classes = weights_facts(located_weights(models.get(recipe.model).name, recipe.weights)).get(
            "classes", data.classes
        )
    if list(classes) != list(data.classes):
        raise RecipeError(
            f"head=keep: the weights tell apart {_few(classes)}, and {data.name} has {_few(data.classes)}. "
            "Their last layer is of use for the same classes in the same order only; set head=reset."
        )


def _few(names: list[str]) -> str:
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def check_sizes(recipe: Recipe, model: Network, shape: tuple[int, int, int]) -> None:
    """Refuse sizes of the training images that the network does not take."""
    device = next(model.parameters()).device
    for size in sorted(set(recipe.image_sizes)):
        try:
            with evaluating(model), torch.no_grad():
                model(torch.zeros(1, shape[0], size, size, device=device))
        except (RuntimeError, ValueError):
            least = models.get(recipe.model).facts.min_size
            takes = f"images of {least} pixels and more" if size < least else f"images of {shape[1]} pixels only"
            raise TrainingError(
                f"image_sizes: {recipe.model} here takes {takes}, not of {size}. Leave {size} out."
            ) from None


def check_batch_size(recipe: Recipe, model: nn.Module, freeze: Freeze | None) -> None:
    frozen = set(freeze.evaluating) if freeze and not recipe.unfreeze_at else set()
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules() if m not in frozen)
    least = 2 if recipe.sync_batchnorm else 2 * distributed.world()
    if normalised and recipe.batch_size < least:
        raise TrainingError(
            f"{recipe.model} has BatchNorm, which cannot learn from single images: batch_size={recipe.batch_size} "
            f"over {distributed.world()} process(es). Set batch_size={least} or more."
        )
