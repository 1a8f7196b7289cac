"""The state of a network between two steps of its training: statistics of outputs and gradients, dead ReLUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules import activation, batchnorm, conv, instancenorm, normalization
from torch.overrides import TorchFunctionMode

from cnnlab.explain.methods.guided_backprop import is_relu

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The quantiles of outputs and gradients that a :class:`Spread` holds."""


@dataclass(frozen=True)
class Spread:
    """The distribution of many numbers: mean, standard deviation, and the quantiles of :data:`SHARES`."""

    mean: float
    std: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: Tensor) -> Spread:
        flat = values.detach().flatten().double().cpu()
        # torch.quantile refuses more than 16 million numbers; every n-th of them tells the same.
        some = flat[:: 1 + len(flat) // 1_000_000].numpy()
        quantiles = tuple(float(value) for value in np.quantile(some, SHARES))
        return cls(float(flat.mean()), float(flat.std(correction=0)), quantiles)


@dataclass(frozen=True)
class LayerSnapshot:
    """One call of a layer.

    Attributes:
        name: the dotted name of the layer; " (2)" and so on behind it when it runs several times.
        kind: ``"weights"`` (convolution, dense), ``"norm"``, ``"activation"`` or ``"other"``.
        outputs: the distribution of the outputs.
        gradients: the distribution of the loss's gradients with respect to the outputs; None where the loss does not
            depend on them.
        weight_norm: the root of the summed squared weights; None for a layer without weights.
    """

    name: str
    kind: str
    outputs: Spread
    gradients: Spread | None
    weight_norm: float | None


@dataclass(frozen=True)
class Rectifier:
    """One ReLU or ReLU6, module or function.

    Attributes:
        name: "ReLU after ..." with the name of the layer before it.
        dead: the share of its channels (units) that are zero for all images and positions, and so learn nothing.
        zero: the share of its outputs that are zero; about half is healthy.
    """

    name: str
    dead: float
    zero: float


@dataclass(frozen=True)
class Snapshot:
    """A network between two steps of its training.

    Attributes:
        at: the name of the moment, such as the number of the step.
        loss: the loss of the images.
        layers: the layers in the order in which they ran.
        rectifiers: the ReLUs in the order in which they ran.
    """

    at: int
    loss: float
    layers: tuple[LayerSnapshot, ...]
    rectifiers: tuple[Rectifier, ...]

    @property
    def inputs_of_activations(self) -> tuple[LayerSnapshot, ...]:
        """Each convolution and dense layer, or the normalisation that follows it."""
        inputs: list[LayerSnapshot] = []
        for layer in self.layers:
            if layer.kind == "weights":
                inputs.append(layer)
            elif layer.kind == "norm" and inputs and inputs[-1].kind == "weights":
                inputs[-1] = layer
        return tuple(inputs)

    @property
    def dead(self) -> float:
        """The mean share of dead channels over the ReLUs; NaN without any ReLU."""
        return float(np.mean([each.dead for each in self.rectifiers])) if self.rectifiers else float("nan")


_ACTIVATIONS = tuple(
    kind
    for kind in vars(activation).values()
    if isinstance(kind, type) and kind.__module__ == activation.__name__ and kind is not nn.MultiheadAttention
)
_NORMS = (batchnorm._BatchNorm, instancenorm._InstanceNorm, normalization.GroupNorm, normalization.LayerNorm)


def _kind(module: nn.Module) -> str:
    if isinstance(module, conv._ConvNd | nn.Linear):
        return "weights"
    if isinstance(module, _NORMS):
        return "norm"
    return "activation" if isinstance(module, _ACTIVATIONS) else "other"


def watched_layers(model: nn.Module) -> Iterator[str]:
    """Yield the names of the layers that have weights, or are activations."""
    for name, module in model.named_modules():
        own = next(module.parameters(recurse=False), None) is not None
        if name and next(module.children(), None) is None and (own or _kind(module) != "other"):
            yield name


class Rectifiers(TorchFunctionMode):
    """While open, measure the outputs of every ReLU and ReLU6, also of those that are functions and no modules."""

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        self.order, self.rectifiers = order, list[Rectifier]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if is_relu(func, args, kwargs or {}) and out.ndim > 1:
            zero = out.detach() == 0
            channel = out.ndim - 1 if out.ndim == 3 else 1  # tokens have their channels last
            never = zero.movedim(channel, 0).flatten(1).all(1)
            before = self.order[-1] if self.order else "the image"
            self.rectifiers.append(
                Rectifier(f"ReLU after {before}", float(never.double().mean()), float(zero.double().mean()))
            )
        return out


def layer_snapshots(
    model: nn.Module, outputs: Sequence[tuple[str, Tensor]], gradients: Sequence[Tensor | None]
) -> Iterator[LayerSnapshot]:
    """Yield the statistics of each call of a layer.

    Args:
        model: the network.
        outputs: dotted name of the layer and output of each call, in the order in which the layers ran.
        gradients: the gradient of the loss for each output, None where the loss does not depend on it.
    """
    runs: Counter[str] = Counter()
    for (name, output), gradient in zip(outputs, gradients, strict=True):
        runs[name] += 1
        module = model.get_submodule(name)
        weight = getattr(module, "weight", None)
        yield LayerSnapshot(
            name if runs[name] == 1 else f"{name} ({runs[name]})",
            _kind(module),
            Spread.of(output),
            None if gradient is None else Spread.of(gradient),
            float(weight.detach().double().norm()) if isinstance(weight, Tensor) else None,
        )
