"""Nets in files: everything that a net has learned, in one ``.npz`` file without pickle.

A net has two kinds of arrays: ``params``, which have gradients, and ``buffers``, which have none but belong to the net
all the same (BatchNorm's running means and variances). Together they are its state.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cnnlab.errors import CheckpointError, RunError
from cnnlab.files import replacing
from cnnlab.scratch._checks import Array


class Net(Protocol):
    """A net for the Solver: ``loss(X)`` gives scores, ``loss(X, y)`` a loss and the gradients of ``params``."""

    params: dict[str, Array]

    @property  # an attribute would demand the same signature of every net
    def loss(self) -> Callable[..., Any]: ...


def net_state(net: Net) -> dict[str, Array]:
    """Return copies of all parameters and buffers, by name."""
    return {name: array.copy() for name, array in (net.params | _buffers(net)).items()}


def set_net_state(net: Net, state: Mapping[str, Array]) -> None:
    """Set parameters and buffers of ``net`` to copies of those in ``state``, in the types that the net has.

    Raises:
        CheckpointError: the state belongs to another net: a name is missing or unknown, or a shape differs.
    """
    own = net.params | _buffers(net)
    for name in sorted(own.keys() ^ state.keys()):
        which = "lacks" if name in own else "holds"
        raise CheckpointError(f'The saved state {which} "{name}", unlike this net: it belongs to another one.')
    for name, array in own.items():
        if array.shape != np.shape(state[name]):
            raise CheckpointError(
                f'The saved "{name}" is of shape {np.shape(state[name])}, this net\'s of {array.shape}: it belongs to '
                "another net. Make this one with the same arguments."
            )
    for arrays in (net.params, _buffers(net)):
        arrays.update({name: np.array(state[name], dtype=array.dtype) for name, array in arrays.items()})


def save_net(net: Net, path: str | Path) -> Path:
    """Write a net's parameters and buffers into one ``.npz`` file and return its path.

    Raises:
        RunError: the file cannot be written; a file that was there before is untouched.
    """
    return write_arrays(path, net_state(net))


def load_net(net: Net, path: str | Path) -> None:
    """Set parameters and buffers of ``net`` to those in a file that :func:`save_net` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or belongs to another net.
    """
    set_net_state(net, read_arrays(path))


def write_arrays(path: str | Path, arrays: Mapping[str, Array]) -> Path:
    """Write arrays into ``path`` (``.npz`` is appended if missing): the whole file, or nothing; return its path."""
    path = _with_suffix(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make the folder {path.parent}: {error.strerror}. Choose another folder.") from error
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Return the arrays of a file that :func:`write_arrays` wrote."""
    path = _with_suffix(path)
    if not path.is_file():
        near = sorted(other.name for other in path.parent.glob("*.npz")) if path.parent.is_dir() else []
        raise CheckpointError(f"There is no {path}." + (f" Beside it: {', '.join(near[:10])}." if near else ""))
    try:
        with open(path, "rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): it is truncated or no .npz file of arrays. Restore it from a copy."
        ) from None


def _buffers(net: Net) -> dict[str, Array]:
    return getattr(net, "buffers", {})


def _with_suffix(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
