"""``cs231n.captioning_solver``: the training loop of assignment 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnlab.course._arrays import Array
from cnnlab.course.cs231n.solver import Solver
from cnnlab.scratch.nets import CaptioningRNN

__all__ = ["CaptioningSolver"]


class CaptioningSolver(Solver):
    """Trains a captioning network on the dictionary that ``coco_utils.load_coco_data`` returns.

    Args:
        model: network with ``params`` and ``loss(features, captions)``.
        data: dictionary with ``train_captions`` (M, T), ``train_image_idxs`` (M,) and ``train_features`` (N, D).
        verbose: whether losses are printed.
        options: ``update_rule``, ``optim_config``, ``lr_decay``, ``batch_size``, ``num_epochs``, ``print_every``; see
            :class:`cnnlab.scratch.solver.Solver`.

    Raises:
        UnknownNameError, UsageError, DataError: see :class:`cnnlab.scratch.solver.Solver`.
    """

    def __init__(self, model: CaptioningRNN, data: Mapping[str, Any], verbose: bool = True, **options: Any) -> None:
        # The "images" of this Solver are positions in the features, which are too large to be repeated per caption.
        captions = {"X_train": data["train_image_idxs"], "y_train": data["train_captions"]}
        net = _NetOfPositions(model, data["train_features"])
        super().__init__(net, captions, verbose, num_train_samples=0, **options)


class _NetOfPositions:
    """A captioning network whose loss takes positions of images in ``features`` (N, D)."""

    def __init__(self, model: CaptioningRNN, features: Array) -> None:
        self.model, self.features, self.params = model, features, model.params

    def loss(self, positions: Array, captions: Array) -> tuple[Any, dict[str, Array]]:
        return self.model.loss(self.features[positions], captions)
