"""What a network of the zoo is: stages, auxiliary heads, and how both are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from cnnlab.errors import ModelError
from cnnlab.tracing.hooks import recording, uncompiled
from cnnlab.tracing.stages import declared_stages

SMALL_IMAGE = 64
"""Images up to this size in pixels get the small stem that is customary on CIFAR, where one is."""


class Network(nn.Module):
    """A network of the zoo: images ``(N, C, S, S)`` in, logits ``(N, num_classes)`` out.

    With auxiliary heads, ``forward`` returns in train mode the tuple ``(logits, *auxiliary logits)``, in the order of
    ``auxiliary``, and in eval mode the logits alone; :func:`split_outputs` takes both.

    Attributes:
        stages: stage name -> dotted name of the submodule whose output ends the stage, from input to head. Each of
            these submodules runs exactly once in ``forward``, and nothing changes its output in place afterwards.
            The stage ``"head"`` is a single layer, or a ``Sequential`` that ends with the last layer and at most
            layers without parameters after it; its output is the logits.
        auxiliary: dotted name of an auxiliary head -> weight of its loss; empty for most networks.
        first_images: number of training images from which :meth:`start_from` computes first weights; 0 for networks
            that begin with random ones alone.
        arch: what :func:`create_model` was asked for, ready for JSON; ``create_model(**model.arch)`` builds it again.
    """

    stages: Mapping[str, str]
    auxiliary: Mapping[str, float] = {}
    first_images: int = 0
    arch: dict[str, Any]

    def start_from(self, images: Tensor) -> None:
        """Compute the first weights that depend on the training images; a training without weights begins with it.

        Args:
            images: :attr:`first_images` normalised training images (N, C, H, W) float32, or all where there are less.
        """

    @property
    def last_layer(self) -> str:
        """Dotted name of the layer whose outputs are the classes."""
        return _last_layer(self, self.stages["head"])

    @property
    def class_layers(self) -> list[str]:
        """Dotted names of every layer with an output per class: the last one and those of the auxiliary heads."""
        return [self.last_layer, *(_last_layer(self, name) for name in self.auxiliary)]


def numbered_stages(stem: str, *ends: str, head: str) -> dict[str, str]:
    """Return ``Network.stages`` from the submodules that end the stem, the stages 1, 2, ..., and the network."""
    return {"stem": stem, **{f"stage{i}": end for i, end in enumerate(ends, 1)}, "head": head}


def _last_layer(model: nn.Module, head: str) -> str:
    """Dotted name of the last dense layer or convolution in the submodule ``head``."""
    layers = [
        f"{head}.{name}".rstrip(".")
        for name, module in model.get_submodule(head).named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    if not layers:
        raise ModelError(f"{type(model).__name__} has no dense layer or convolution in its head {head}.")
    return layers[-1]


def split_outputs(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the logits and the (often empty) tuple of auxiliary logits from what a network returned."""
    return (outputs, ()) if isinstance(outputs, Tensor) else (outputs[0], tuple(outputs[1:]))


def loss_with_auxiliary(
    model: nn.Module,
    outputs: Tensor | tuple[Tensor, ...],
    targets: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return the training loss: the loss of the logits, plus the losses of auxiliary heads times their weights.

    Args:
        model: network whose ``auxiliary`` has the weights; a module without it has no auxiliary heads.
        outputs: the network's outputs, (N, num_classes), with auxiliary logits in a tuple.
        targets: (N,) class indices or (N, num_classes) probabilities.
        criterion: function from float32 logits (N, num_classes) and targets to a loss.
    """
    logits, auxiliary = split_outputs(outputs)
    loss = criterion(logits.float(), targets)
    # In eval mode, and with a frozen backbone, auxiliary heads give no logits.
    weights = getattr(model, "auxiliary", {}).values()
    for weight, extra in zip(weights, auxiliary, strict=len(auxiliary) > 0):
        loss = loss + weight * criterion(extra.float(), targets)
    return loss


def stage_outputs(model: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the network and return the output of each of its stages.

    Args:
        model: a network with ``stages``; its mode (train, eval) and gradients are left as they are.
        images: ``(N, C, S, S)``.

    Returns:
        The logits ``(N, num_classes)``, without auxiliary ones, and a dict stage name -> output, in the order of
        ``model.stages``.

    Raises:
        ModelError: the model declares no stages.
    """
    model = uncompiled(model)
    stages = declared_stages(model)
    if not stages:
        raise ModelError(
            f"{type(model).__name__} declares no stages. Build the model with create_model, or set `stages` on it: "
            "a dict of stage name -> dotted submodule name."
        )
    with recording(model, stages.values()) as outputs:
        logits, _ = split_outputs(model(images))
    return logits, {stage: outputs[path] for stage, path in stages.items()}
