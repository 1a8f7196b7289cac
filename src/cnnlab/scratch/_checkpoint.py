"""A Solver in a file: all that it needs to go on to the same bits.

The ``.npz`` file holds ``model/...`` (parameters and buffers), ``best/...`` (those that were best on validation),
``optim/<parameter>/...`` (settings and memory of the update rule), the histories, the state of the global NumPy stream,
and the rest as JSON under ``facts``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.errors import CheckpointError
from cnnlab.scratch._checks import Array
from cnnlab.scratch.saving import net_state, read_arrays, set_net_state, write_arrays

if TYPE_CHECKING:
    from cnnlab.scratch.solver import Solver

FORMAT = 1  # raised when an older cnnlab could not read a newer file

_HISTORIES = ("loss_history", "train_acc_history", "val_acc_history")


def write_checkpoint(solver: Solver, path: str | Path) -> Path:
    """Write the state of ``solver`` between two steps."""
    random: dict[str, Any] = dict(np.random.get_state(legacy=False))
    stream = random.pop("state")
    facts = {
        "format": FORMAT,
        "iteration": solver.iteration,
        "best_val_acc": solver.best_val_acc,
        "random": random | {"pos": stream["pos"]},
        "made with": _made_with(solver),
    }
    arrays = {"facts": np.array(json.dumps(facts)), "random": stream["key"]}
    arrays |= {name: np.array(getattr(solver, name), dtype=float) for name in _HISTORIES}
    arrays |= _under("model", solver.last_state or net_state(solver.model))
    arrays |= _under("best", solver.best_state or {})
    for name, config in solver.optim_configs.items():
        arrays |= _under(f"optim/{name}", config)
    return write_arrays(path, arrays)


def read_checkpoint(solver: Solver, path: str | Path) -> None:
    """Give ``solver`` and the global NumPy stream the state that :func:`write_checkpoint` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or of another net, rule, batch size or number of images.
    """
    arrays = read_arrays(path)
    if "facts" not in arrays:
        raise CheckpointError(f"{path} is no checkpoint of a Solver. A net alone is read by load_net.")
    facts = json.loads(str(arrays["facts"]))
    if facts["format"] > FORMAT:
        raise CheckpointError(f"{path} has format {facts['format']}, this cnnlab reads up to {FORMAT}. Upgrade cnnlab.")
    for name, value in _made_with(solver).items():
        if facts["made with"][name] != value:
            raise CheckpointError(
                f"{path} was made with {name} {facts['made with'][name]}, this Solver has {value}. Make it as at first."
            )
    set_net_state(solver.model, _below("model", arrays))
    solver.best_state, solver.last_state = _below("best", arrays) or None, None
    for name in solver.model.params:
        config = _below(f"optim/{name}", arrays)
        solver.optim_configs[name] = {key: value if value.ndim else value.item() for key, value in config.items()}
    for name in _HISTORIES:
        setattr(solver, name, arrays[name].tolist())
    solver.iteration, solver.best_val_acc = facts["iteration"], facts["best_val_acc"]
    random = facts["random"]
    np.random.set_state({**random, "state": {"key": arrays["random"], "pos": random.pop("pos")}})


def _made_with(solver: Solver) -> dict[str, Any]:
    return {
        "update rule": getattr(solver.update_rule, "__name__", "without a name"),
        "batch size": solver.batch_size,
        "number of training images": len(solver.X_train),
    }


def _under(folder: str, arrays: Mapping[str, Any]) -> dict[str, Array]:
    return {f"{folder}/{name}": np.asarray(array) for name, array in arrays.items()}


def _below(folder: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(f"{folder}/"): array for name, array in arrays.items() if name.startswith(f"{folder}/")}
