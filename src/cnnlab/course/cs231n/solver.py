"""``cs231n.solver``: the training loop of assignment 2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.errors import DivergedError
from cnnlab.scratch import solver
from cnnlab.scratch.saving import Net

__all__ = ["Solver"]


class Solver(solver.Solver):
    """Trains a net on ``data`` with ``X_train``, ``y_train``, ``X_val`` and ``y_val``, and prints the course's lines.

    A loss that is not finite ends the training with a message instead of an error, so that a search for a learning rate
    goes on. Checkpoints are ``.npz`` files without pickle.

    Args:
        model: net with ``params`` and ``loss(X, y)``.
        data: dictionary of arrays.
        verbose: whether losses and accuracies are printed.
        options: the other arguments of :class:`cnnlab.scratch.solver.Solver`: ``update_rule``, ``optim_config``,
            ``lr_decay``, ``batch_size``, ``num_epochs``, ``print_every``, ``num_train_samples``, ``num_val_samples``,
            ``checkpoint_name``.

    Raises:
        UnknownNameError, UsageError, DataError: see :class:`cnnlab.scratch.solver.Solver`.
    """

    def __init__(self, model: Net, data: Mapping[str, Array], verbose: bool = True, **options: Any) -> None:
        super().__init__(model, data, verbose="lines" if verbose else False, **options)

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return self.iteration // self.iterations_per_epoch

    def train(self) -> None:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                super().train()
        except DivergedError as error:
            print(f"The training ends here. {error}")
            self.loss_history.append(math.nan)
            if not self.train_acc_history:  # notebooks plot at least one accuracy
                with np.errstate(over="ignore", invalid="ignore"):
                    self._measure()
