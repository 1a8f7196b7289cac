"""A network during its training: the distributions of its outputs and gradients, and its dead ReLUs.

::

    watch = Watch(images, labels)                     # the same few images every time
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

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import figures
from cnnlab.errors import ModelError, UsageError
from cnnlab.explain.activations.snapshots import SHARES, Rectifiers, Snapshot, layer_snapshots, watched_layers
from cnnlab.explain.checks import check_logits
from cnnlab.figures import Drawable
from cnnlab.tracing.hooks import recording, uncompiled, untouched

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Watch(Drawable):
    """Snapshots of a network during its training, always with the same images.

    Args:
        images: the images (N, C, H, W) as the network takes them; a few dozen.
        labels: the classes (N,) of the images.
        layers: the dotted names of the layers; all layers with weights and all activations when ``None``.
        loss: a function from the output of the network and the labels to a scalar; cross entropy of the logits when
            ``None``.

    Attributes:
        snapshots: the snapshots, in order.

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
        self.snapshots: list[Snapshot] = []

    def look(self, model: nn.Module, at: int | None = None) -> Snapshot:
        """Run the images forward and back, and keep a snapshot. The network is left as it was.

        Every module runs in its own mode, so that in training BatchNorm uses the statistics of the batch; its running
        statistics are restored.

        Args:
            model: the network.
            at: the name of this moment, such as the number of the step; the number of snapshots so far when ``None``.

        Raises:
            UnknownNameError: there is no such layer.
            ModelError: the loss is not a scalar that depends on the network.
        """
        model = uncompiled(model)
        names = list(watched_layers(model) if self.layers is None else self.layers)
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
        with untouched(model, evaluate=False), recording(model, names) as record:
            relus = Rectifiers(record.order)
            torch.manual_seed(0)  # dropout is the same every time; the caller's random state comes back
            with relus:
                returned = model(self.images.to(like).detach().clone().requires_grad_())
            loss = self.loss(returned, self.labels.to(like.device))
            if loss.numel() != 1 or not loss.requires_grad:
                raise ModelError("The loss is not a scalar that depends on the network, so there are no gradients.")
            calls = {name: iter(tensors) for name, tensors in record.calls.items()}
            outputs = [(name, next(calls[name])) for name in record.order]
            gradients = torch.autograd.grad(loss, [tensor for _, tensor in outputs], allow_unused=True)
            layers = layer_snapshots(model, outputs, gradients)
        moment = len(self.snapshots) if at is None else at
        snapshot = Snapshot(moment, float(loss.detach()), tuple(layers), tuple(relus.rectifiers))
        self.snapshots.append(snapshot)
        return snapshot

    def rows(self) -> list[dict[str, Any]]:
        """Return a table with a row for each snapshot and layer, ready for a CSV file."""
        table = []
        for snapshot in self.snapshots:
            for layer in snapshot.layers:
                row = {"at": snapshot.at, "loss": snapshot.loss, "layer": layer.name, "weight_norm": layer.weight_norm}
                for what, spread in (("output", layer.outputs), ("gradient", layer.gradients)):
                    row[f"{what}_mean"] = None if spread is None else spread.mean
                    row[f"{what}_std"] = None if spread is None else spread.std
                    for position, share in enumerate(SHARES):
                        row[f"{what}_q{share:g}"] = None if spread is None else spread.quantiles[position]
                table.append(row)
        return table

    def figure(self) -> Figure:
        """Draw how outputs, gradients, weights and dead ReLUs change from snapshot to snapshot."""
        return compare_trainings({"": self})


def compare_trainings(watches: Mapping[str, Watch], columns: int = 6) -> Figure:
    """Draw several trainings over each other, such as with BatchNorm and without.

    Layers are compared by their index among the convolutions and dense layers; where a normalisation follows one, its
    outputs are shown. Of more layers than ``columns``, some between the first and the last.

    Raises:
        UsageError: no snapshot was taken, or networks have different numbers of layers.
    """
    if not watches or any(not watch.snapshots for watch in watches.values()):
        raise UsageError("There is nothing to draw: call look(model) at least once.")
    depths = {name: len(watch.snapshots[0].inputs_of_activations) for name, watch in watches.items()}
    if len(set(depths.values())) != 1:
        raise UsageError(f"Networks of different depths cannot be compared: {depths} convolutions and dense layers.")
    return figures.distributions({name: watch.snapshots for name, watch in watches.items()}, columns)


def _cross_entropy(outputs: Any, labels: Tensor) -> Tensor:
    """Return the loss of the logits; of several outputs, as in train mode with auxiliary heads, the first counts."""
    return F.cross_entropy(check_logits(outputs[0] if isinstance(outputs, tuple | list) else outputs), labels)
