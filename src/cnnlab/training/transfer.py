"""Transfer learning: which part of a network is frozen, how fast each stage learns, and features computed once.

A frozen part runs as it does at evaluation: its weights get no gradient, its BatchNorm uses and keeps the statistics
it came with, its dropout is off. When everything but the last layer is frozen and images are not augmented, what
reaches that layer is the same in every epoch: it is computed once, and an epoch takes as long as a dense layer does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnlab.data import Batch, Loader
from cnnlab.errors import RecipeError
from cnnlab.tracing import trace
from cnnlab.tracing.hooks import evaluating, recording, recording_inputs
from cnnlab.training import distributed
from cnnlab.training.recipe import Recipe
from cnnlab.zoo import Network

FEATURE_SHARE = 4  # cached features may take one part in so many of the memory


@dataclass(frozen=True)
class Freeze:
    """What is frozen.

    Attributes:
        parameters: names of the parameters that get no gradient.
        evaluating: the modules that stay in eval mode.
    """

    parameters: frozenset[str]
    evaluating: tuple[nn.Module, ...]

    def apply(self, model: nn.Module) -> None:
        """Take the gradients from the frozen parameters."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in self.parameters)

    def set_modes(self, model: nn.Module) -> None:
        """Put the network into train mode and its frozen part into eval mode."""
        model.train()
        for module in self.evaluating:
            module.training = False


def _black(model: nn.Module, input_shape: tuple[int, int, int]) -> Tensor:
    """A black image (1, C, H, W), as the network takes it."""
    parameter = next(model.parameters())
    return torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype)


def module_stages(model: Network, input_shape: tuple[int, int, int]) -> dict[str, str]:
    """Return in which stage each submodule runs: dotted name -> stage.

    A stage reaches from the end of the one before it to the end of its own submodule (see :class:`Network.stages`).
    Submodules that do not run at evaluation, which are the auxiliary heads, belong to the head.

    Args:
        model: the network; left as it was.
        input_shape: (C, H, W) of an image.
    """
    ends = list(model.stages.items())
    stages: dict[str, str] = {}
    reached = 0
    for call in trace(model, (1, *input_shape)).finished():
        stage, end = ends[min(reached, len(ends) - 1)]
        stages.setdefault(call.path, stage)
        reached += call.path == end
    return {name: stages.get(name, "head") for name, _ in model.named_modules()}


def parameter_stages(model: Network, input_shape: tuple[int, int, int]) -> dict[str, str]:
    """Return in which stage each parameter is used: name -> stage; arguments as :func:`module_stages`."""
    stages = module_stages(model, input_shape)
    return {name: stages[name.rpartition(".")[0]] for name, _ in model.named_parameters()}


def make_freeze(recipe: Recipe, model: Network, input_shape: tuple[int, int, int]) -> Freeze | None:
    """Return what ``recipe.freeze`` freezes of ``model``, None for nothing.

    Raises:
        RecipeError: there is no such stage, or nothing is left to be trained.
    """
    if recipe.freeze == "none":
        return None
    if recipe.freeze == "backbone":
        last = model.last_layer + "."
        parameters = frozenset(name for name, _ in model.named_parameters() if not name.startswith(last))
        tail = set(trained_tail(model).modules())
        return Freeze(parameters, tuple(module for module in model.modules() if module not in tail))
    order = list(model.stages)
    if recipe.freeze not in order[:-1]:
        raise RecipeError(
            f'freeze="{recipe.freeze}": {recipe.model} has no such part. Expected none, backbone (all but the last '
            f"layer) or the last stage to freeze: {', '.join(order[:-1])}."
        )
    frozen = order[: order.index(recipe.freeze) + 1]
    stages = module_stages(model, input_shape)
    names = frozenset(name for name, _ in model.named_parameters() if stages[name.rpartition(".")[0]] in frozen)
    return Freeze(names, tuple(module for name, module in model.named_modules() if stages[name] in frozen))


def trained_tail(model: Network) -> nn.Module:
    """Return what runs after the frozen part when all but the last layer is frozen.

    This is the last layer with what stands around it in the head: dropout before it, pooling after it. The modules
    are the network's own.
    """
    head = model.get_submodule(model.stages["head"])
    if not isinstance(head, nn.Sequential):
        return head
    return head[_tail_start(head) :]


def _tail_start(head: nn.Sequential) -> int:
    """Position after the last frozen layer with parameters in the head; 0 without one."""
    learning = [position for position, child in enumerate(head) if any(True for _ in child.parameters())]
    return learning[-2] + 1 if len(learning) > 1 else 0


class Body(nn.Module):
    """The network up to :func:`trained_tail`: images (N, C, S, S) in, what the tail takes out."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model
        self.layer = model.stages["head"]
        self.record = recording_inputs
        head = model.get_submodule(self.layer)
        if isinstance(head, nn.Sequential) and _tail_start(head):
            last_frozen = list(head._modules)[_tail_start(head) - 1]
            self.layer, self.record = f"{self.layer}.{last_frozen}", recording

    def forward(self, images: Tensor) -> Tensor:
        with self.record(self.model, [self.layer]) as features:
            self.model(images)
        return features[self.layer]


def caches_features(recipe: Recipe) -> bool:
    """Whether what reaches the trained part is the same in every epoch."""
    return recipe.freeze == "backbone" and recipe.unfreeze_at is None and not recipe.augment.active


@torch.no_grad()
def feature_shape(model: Network, input_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the shape of what :class:`Body` makes of one image; arguments as :func:`module_stages`."""
    with evaluating(model):
        return tuple(Body(model)(_black(model, input_shape)).shape[1:])


def feature_limit(device: torch.device) -> int:
    """How many bytes of features a process may keep on ``device``.

    This is a share of the memory that is free on a GPU; else of this machine's, which is taken to be 8 GiB if it does
    not say. Each of the processes on a machine keeps all features.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // FEATURE_SHARE
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        memory = 8 * 2**30
    return memory // FEATURE_SHARE // distributed.on_this_machine()


class FeatureLoader:
    """Batches of features instead of images, in the order and with the batches of the loader they replace.

    Args:
        loader: over the images.
        features: (N, ...) float32, in the order of the split.
    """

    def __init__(self, loader: Loader, features: Tensor) -> None:
        self.loader, self.features = loader, features
        self.labels = loader.split.labels.to(features.device)

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self.loader)

    def images_in(self, step: int) -> int:
        """Images of a step over all processes."""
        return self.loader.images_in(step)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from ``start_step`` on."""
        order = self.loader.order(epoch)
        for step in range(start_step, len(self)):
            indices = self.loader.share_of(order, step)
            if len(indices):
                where = indices.to(self.features.device)
                labels = self.labels[where]
                yield Batch(self.features[where], labels, labels, indices)


def layer_factors(recipe: Recipe, model: Network, input_shape: tuple[int, int, int]) -> dict[str, float]:
    """Return the factor of each parameter's learning rate: ``layer_decay`` to the power of the stages above it.

    The head learns at the full rate, the stage below it at ``layer_decay`` times that, and so on down to the stem
    (Howard and Ruder 2018, "Universal language model fine-tuning", section 3.2, there called discriminative).
    """
    order = list(model.stages)
    depth = {stage: len(order) - 1 - position for position, stage in enumerate(order)}
    stages = parameter_stages(model, input_shape)
    return {name: recipe.layer_decay ** depth[stage] for name, stage in stages.items()}
