"""Transfer learning: which part of a network is frozen, and how fast each stage learns.

A frozen part runs as it does at evaluation: its weights get no gradient, its BatchNorm uses and keeps the statistics
it came with, its dropout is off.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from cnnlab.errors import RecipeError
from cnnlab.tracing import trace
from cnnlab.training.recipe import Recipe
from cnnlab.zoo import Network


@dataclass(frozen=True)
class Freeze:
    """The frozen part of a network."""

    parameters: frozenset[str]  #: the names of the parameters that get no gradient, without those that never have one
    evaluating: tuple[nn.Module, ...]  #: the modules that stay in eval mode

    def apply(self, model: nn.Module) -> None:
        """Let the frozen parameters have no gradient."""
        for name in self.parameters:
            model.get_parameter(name).requires_grad_(False)

    def undo(self, model: nn.Module) -> None:
        """Let the frozen parameters have a gradient again."""
        for name in self.parameters:
            model.get_parameter(name).requires_grad_(True)

    def set_modes(self, model: nn.Module) -> None:
        """Put the network into train mode and its frozen part into eval mode."""
        model.train()
        for module in self.evaluating:
            module.training = False


def module_stages(model: Network, input_shape: tuple[int, int, int]) -> dict[str, str]:
    """Return the stage in which each submodule runs, by its dotted name.

    A stage reaches from the end of the one before it to the end of its own submodule (see :class:`Network.stages`).
    Submodules that do not run at evaluation, which are the auxiliary heads, belong to the head.

    Args:
        model: the network; left as it was.
        input_shape: shape (C, H, W) of an image.
    """
    ends = list(model.stages.items())
    stages: dict[str, str] = {}
    reached = 0
    for call in trace(model, (1, *input_shape)).root.finished():
        stage, end = ends[min(reached, len(ends) - 1)]
        stages.setdefault(call.path, stage)
        reached += call.path == end
    return {name: stages.get(name, "head") for name, _ in model.named_modules()}


def make_freeze(recipe: Recipe, model: Network, input_shape: tuple[int, int, int]) -> Freeze | None:
    """Return the part of ``model`` that ``recipe.freeze`` names; None where nothing is frozen.

    Raises:
        RecipeError: there is no such stage, or nothing is left to be trained.
    """
    if recipe.freeze == "none":
        return None
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if recipe.freeze == "backbone":
        last = model.last_layer + "."
        parameters = frozenset(name for name in trained if not name.startswith(last))
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
    names = frozenset(name for name in trained if stages[name.rpartition(".")[0]] in frozen)
    return Freeze(names, tuple(module for name, module in model.named_modules() if stages[name] in frozen))


def trained_tail(model: Network) -> nn.Module:
    """Return the part of the network that runs after the frozen part when all but the last layer is frozen.

    It is the last layer with the layers around it in the head, such as dropout before it and pooling after it. Its
    modules are the network's own.
    """
    head = model.get_submodule(model.stages["head"])
    if not isinstance(head, nn.Sequential):
        return head
    return head[tail_start(head) :]


def tail_start(head: nn.Sequential) -> int:
    """Return the position after the last frozen layer with parameters in the head; 0 without one."""
    learning = [position for position, child in enumerate(head) if any(True for _ in child.parameters())]
    return learning[-2] + 1 if len(learning) > 1 else 0


def layer_factors(recipe: Recipe, model: Network, input_shape: tuple[int, int, int]) -> dict[str, float]:
    """Return the factor of each parameter's learning rate; empty where all learn at the full rate.

    The head learns at the full rate, the stage below it at ``layer_decay`` times that, and so on down to the stem
    (Howard and Ruder 2018, "Universal language model fine-tuning", section 3.2, there called discriminative). Biases,
    scales and shifts have ``bias_factor`` besides, and the weights of the layers that give the classes ``head_factor``.
    """
    if recipe.layer_decay == recipe.bias_factor == recipe.head_factor == 1:
        return {}
    factors = dict.fromkeys((name for name, _ in model.named_parameters()), 1.0)
    if recipe.layer_decay != 1:
        order = list(model.stages)
        depth = {stage: len(order) - 1 - position for position, stage in enumerate(order)}
        stages = module_stages(model, input_shape)
        factors = {name: recipe.layer_decay ** depth[stages[name.rpartition(".")[0]]] for name in factors}
    last = {f"{name}.weight" for name in model.class_layers}
    for name, parameter in model.named_parameters():
        if parameter.ndim <= 1:
            factors[name] *= recipe.bias_factor
        elif name in last:
            factors[name] *= recipe.head_factor
    return factors
