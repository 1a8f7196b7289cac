"""What happens inside a network while it trains: how its outputs and gradients are spread, which ReLUs are dead.

::

    watch = Watch(images, labels)                     # the same few images at every look
    for event in cnnlab.fit(recipe):
        if isinstance(event, StepDone) and event.step % 20 == 1:
            watch.look(event.session.model)
    watch.figure()

Outputs that grow or vanish from layer to layer, gradients that do, and units that never fire are what makes deep
networks hard to train: X. Glorot, Y. Bengio: Understanding the difficulty of training deep feedforward neural networks,
2010, https://proceedings.mlr.press/v9/glorot10a.html, figures 2 to 4; S. Ioffe, C. Szegedy: Batch normalization, 2015,
https://arxiv.org/abs/1502.03167, figure 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import activation, batchnorm, conv, instancenorm, normalization
from torch.overrides import TorchFunctionMode

from cnnlab.errors import ModelError, UsageError
from cnnlab.explain._inputs import check_logits
from cnnlab.explain._show import Shown
from cnnlab.explain.guided_backprop import rectifies
from cnnlab.explain.hooks import recording, untouched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Which quantiles of outputs and gradients are kept."""


@dataclass(frozen=True)
class Spread:
    """How many numbers are spread: mean, standard deviation, and the quantiles of :data:`SHARES`."""

    mean: float
    std: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: Tensor) -> Spread:
        flat = values.detach().flatten().double().cpu()
        # torch.quantile refuses more than 16 million numbers; every n-th of them tells the same.
        some = flat[:: 1 + len(flat) // 1_000_000].numpy()
        found = tuple(float(value) for value in np.quantile(some, SHARES))
        return cls(float(flat.mean()), float(flat.std(correction=0)), found)


@dataclass(frozen=True)
class LayerLook:
    """One call of a layer.

    Attributes:
        name: its dotted name; " (2)" and so on behind it when it runs several times.
        kind: ``"weights"`` (convolution, dense), ``"norm"``, ``"activation"`` or ``"other"``.
        outputs: how they are spread.
        gradients: of the loss with respect to them; None where the loss does not depend on them.
        weight_norm: the root of the summed squared weights; None for a layer without.
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
        dead: share of its channels (units) that are zero for all images, everywhere: they learn nothing from them.
        zero: share of its outputs that are zero; about half is healthy.
    """

    name: str
    dead: float
    zero: float


@dataclass(frozen=True)
class Look:
    """A look into a network between two steps: its layers in the order in which they ran, and its ReLUs."""

    at: int
    loss: float
    layers: tuple[LayerLook, ...]
    rectifiers: tuple[Rectifier, ...]

    @property
    def inputs_of_activations(self) -> tuple[LayerLook, ...]:
        """One for each convolution and dense layer: it, or the normalisation that follows it."""
        found: list[LayerLook] = []
        for layer in self.layers:
            if layer.kind == "weights":
                found.append(layer)
            elif layer.kind == "norm" and found and found[-1].kind == "weights":
                found[-1] = layer
        return tuple(found)

    @property
    def dead(self) -> float:
        """The mean of the shares of dead channels; NaN without any ReLU."""
        return float(np.mean([each.dead for each in self.rectifiers])) if self.rectifiers else float("nan")


class Watch(Shown):
    """Looks into a network during training, always with the same images.

    Args:
        images: (N, C, H, W), as the network takes them; a few dozen.
        labels: (N,) their classes.
        layers: dotted names of the layers to look at; all layers with weights and all activations when ``None``.
        loss: from what the network returns and the labels to a scalar; cross entropy of the logits when ``None``.

    Attributes:
        looks: what was seen, in order.

    Raises:
        UsageError: not as many labels as images.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        layers: Sequence[str] | None = None,
        loss: Callable[[Any, Tensor], Tensor] | None = None,
    ) -> None:
        if images.ndim != 4 or len(images) != len(labels) or not len(images):
            raise UsageError(
                f"Images of shape {tuple(images.shape)} and {len(labels)} labels do not fit: (N, C, H, W) and (N,)."
            )
        self.images, self.labels, self.layers = images, labels, layers
        self.loss = loss or _cross_entropy
        self.looks: list[Look] = []

    def look(self, model: nn.Module, at: int | None = None) -> Look:
        """Run the images forward and back, and keep what was seen. The network is left as it was.

        Every module runs in the mode that it is in, so that in training BatchNorm is seen with the statistics of the
        batch; its running ones are put back.

        Args:
            model: the network.
            at: what to call this moment, such as the number of the step; how many looks there were when ``None``.

        Raises:
            UnknownNameError: there is no such layer.
            ModelError: the loss is not a scalar that depends on the network.
        """
        names = list(_watched(model) if self.layers is None else self.layers)
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
        modes = [(module, module.training) for module in model.modules()]
        order: list[str] = []
        relus = _Rectifiers(order)
        with untouched(model), recording(model, names) as seen, _order(model, names, order):
            for module, mode in modes:
                module.training = mode
            torch.manual_seed(0)  # dropout is the same at every look; the caller's random state comes back
            with relus:
                returned = model(self.images.to(like).detach().clone().requires_grad_())
            loss = self.loss(returned, self.labels.to(like.device))
            if loss.numel() != 1 or not loss.requires_grad:
                raise ModelError("The loss is not a scalar that depends on the network, so there are no gradients.")
            outputs = [(name, tensor) for name in names for tensor in seen.calls[name]]
            gradients = torch.autograd.grad(loss, [tensor for _, tensor in outputs], allow_unused=True)
            found = _in_order(model, order, outputs, gradients)
        look = Look(len(self.looks) if at is None else at, float(loss.detach()), tuple(found), tuple(relus.found))
        self.looks.append(look)
        return look

    def rows(self) -> list[dict[str, Any]]:
        """Everything as a table, a row for each look and layer, ready for a CSV file."""
        table = []
        for look in self.looks:
            for layer in look.layers:
                row = {"at": look.at, "loss": look.loss, "layer": layer.name, "weight_norm": layer.weight_norm}
                for what, spread in (("output", layer.outputs), ("gradient", layer.gradients)):
                    row[f"{what}_mean"] = None if spread is None else spread.mean
                    row[f"{what}_std"] = None if spread is None else spread.std
                    for position, share in enumerate(SHARES):
                        row[f"{what}_q{share:g}"] = None if spread is None else spread.quantiles[position]
                table.append(row)
        return table

    def figure(self) -> Figure:
        """Draw how outputs, gradients, weights and dead ReLUs change from look to look."""
        return compare_trainings({"": self})


def compare_trainings(watches: Mapping[str, Watch], columns: int = 6) -> Figure:
    """Draw several trainings over each other, such as with BatchNorm and without.

    Layers are compared by their place among the convolutions and dense layers; where a normalisation follows one, its
    outputs are shown. Of more layers than ``columns``, some between the first and the last.

    Raises:
        UsageError: nothing was looked at, or networks have different numbers of layers.
    """
    from cnnlab import figures

    if not watches or any(not watch.looks for watch in watches.values()):
        raise UsageError("There is nothing to draw: call look(model) at least once.")
    depths = {name: len(watch.looks[0].inputs_of_activations) for name, watch in watches.items()}
    if len(set(depths.values())) != 1:
        raise UsageError(f"Networks of different depths cannot be compared: {depths} convolutions and dense layers.")
    return figures.distributions({name: watch.looks for name, watch in watches.items()}, columns)


def _cross_entropy(outputs: Any, labels: Tensor) -> Tensor:
    """The loss of the logits; of several outputs, as in train mode with auxiliary heads, the first counts."""
    return F.cross_entropy(check_logits(outputs[0] if isinstance(outputs, tuple | list) else outputs), labels)


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


def _watched(model: nn.Module) -> Iterator[str]:
    """The names of the layers that have weights, or are activations."""
    for name, module in model.named_modules():
        own = next(module.parameters(recurse=False), None) is not None
        if name and next(module.children(), None) is None and (own or _kind(module) != "other"):
            yield name


@contextmanager
def _order(model: nn.Module, names: Sequence[str], order: list[str]) -> Iterator[None]:
    """While open, write down the names of layers in the order in which they finish."""
    handles = []
    try:
        for name in names:
            layer = model.get_submodule(name)
            handles.append(layer.register_forward_hook(lambda *_, name=name: order.append(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Rectifiers(TorchFunctionMode):
    """While open, look at what every ReLU and ReLU6 lets through, also where it is only a function."""

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        self.order, self.found = order, list[Rectifier]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if rectifies(func, args, kwargs or {}) and out.ndim > 1:
            zero = out.detach() == 0
            channel = out.ndim - 1 if out.ndim == 3 else 1  # tokens have their channels last
            never = zero.movedim(channel, 0).flatten(1).all(1)
            before = self.order[-1] if self.order else "the image"
            self.found.append(
                Rectifier(f"ReLU after {before}", float(never.double().mean()), float(zero.double().mean()))
            )
        return out


def _in_order(
    model: nn.Module, order: Sequence[str], outputs: Sequence[tuple[str, Tensor]], gradients: Sequence[Tensor | None]
) -> Iterator[LayerLook]:
    """Yield what was seen of each call, in the order in which the layers ran."""
    calls: dict[str, list[tuple[Tensor, Tensor | None]]] = {}
    for (name, output), gradient in zip(outputs, gradients, strict=True):
        calls.setdefault(name, []).append((output, gradient))
    counts: dict[str, int] = {}
    for name in order:
        number = counts[name] = counts.get(name, 0) + 1
        if number > len(calls.get(name, ())):
            continue  # what it returned was no tensor of floating-point numbers
        output, gradient = calls[name][number - 1]
        module = model.get_submodule(name)
        weight = getattr(module, "weight", None)
        yield LayerLook(
            name if number == 1 else f"{name} ({number})",
            _kind(module),
            Spread.of(output),
            None if gradient is None else Spread.of(gradient),
            float(weight.detach().double().norm()) if isinstance(weight, Tensor) else None,
        )
