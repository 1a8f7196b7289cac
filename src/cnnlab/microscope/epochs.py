"""The epochs of a run under the microscope: the network with the weights of an epoch, and how good it was then.

A training keeps the weights of epochs with the recipe key ``keep_epochs``; see :mod:`cnnlab.runs.folder`.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from cnnlab.errors import CheckpointError, ProtocolError, RunError
from cnnlab.files import finite_values
from cnnlab.runs.classifier import Classifier
from cnnlab.runs.folder import RunFolder


def at_epoch(classifier: Classifier, run: RunFolder | None, epoch: int) -> Classifier:
    """Return a network with the weights that it had after an epoch of its training.

    Args:
        classifier: the network with any weights; it stays as it is.
        run: the run that the network comes from; None for a network that comes from none.
        epoch: the number of the epoch, 0 for before the training.

    Raises:
        ProtocolError: ``not_found``: the weights of the epoch were not kept, or their file is damaged.
    """
    if run is None:
        raise ProtocolError(
            "not_found", f"{classifier.name} comes from no run, so that only its present weights exist."
        )
    try:
        weights = run.epoch_weights(epoch)
        model = copy.deepcopy(classifier.model)  # building it anew would draw random weights first
        model.load_state_dict(weights)
    except (RunError, CheckpointError) as error:
        raise ProtocolError("not_found", str(error)) from None
    except RuntimeError as error:
        raise ProtocolError("not_found", f"The weights of epoch {epoch} do not fit the network: {error}") from None
    return replace(classifier, model=model)


def history(run: RunFolder | None) -> list[dict[str, Any]]:
    """Return how good a network was after each epoch: its losses and accuracies; nothing without a run.

    Args:
        run: the run.

    Returns:
        For each epoch its number, ``train_loss``, ``train_accuracy``, ``val_loss``, ``val_accuracy`` (None where they
        are not known), and ``split``, the name of the split that ``val_`` stands for, ``""`` for none.
    """
    names = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "split")
    rows = [] if run is None else run.metrics
    return [finite_values({name: row[name] for name in names}) for row in rows]
