"""Reading the state dict in a file of weights, whatever program wrote it; the file's bytes say what it is."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cnnlab.errors import CheckpointError, ModelError
from cnnlab.files import kind_of_file

State: TypeAlias = dict[str, Tensor]

PICKLED = (".pth", ".pt", ".th", ".ckpt", ".pth.tar")
SUFFIXES = (".safetensors", ".npz", *PICKLED)
# Where training scripts put the state dict beside the optimizer and the epoch; averaged weights are the better ones.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model_state_dict", "model", "net")


def read_weights(path: str | os.PathLike[str]) -> State:
    """Return the bare state dict in a file.

    Args:
        path: a file of safetensors, of torch.save (a state dict, perhaps inside a dict) or of numpy.savez (arrays under
            parameter names), told by its bytes; or a folder with ``model.safetensors``, such as that of a run.

    Raises:
        ModelError: there is no such file, or it is of another kind.
        CheckpointError: the file is damaged, or holds objects other than tensors and plain values.
    """
    path = weights_path(path)
    state = _find_state(_read(path))
    if state is None:
        raise CheckpointError(
            f"{path} holds no state dict: expected names -> tensors, perhaps under {', '.join(WRAPPERS)}."
        )
    # torch.optim.swa_utils.AveragedModel counts the models it averaged beside them.
    return {name: tensor for name, tensor in state.items() if name != "n_averaged"}


def weights_path(path: str | os.PathLike[str]) -> Path:
    """Return the file that ``path`` names: itself, or ``model.safetensors`` in the folder it is.

    Raises:
        ModelError: there is no such file, or it is of another kind.
    """
    name, path = path, Path(path)
    if os.fspath(name) and path.is_dir():
        path = path / "model.safetensors"
        if not path.is_file():
            raise ModelError(f'There is no model.safetensors in the folder "{name}". Name a run that has weights.')
    if path.is_file():
        return path
    if not path.name.endswith(SUFFIXES):
        raise ModelError(
            f'weights="{name}" is not understood: give "imagenet", "cifar10" or "mnist", the path of a .safetensors '
            f"file, of a state dict ({', '.join(PICKLED)}), of a .npz file or of a run folder, or leave weights out "
            "for random ones."
        )
    raise ModelError(
        f'There is no weights file "{name}". Give the path of an existing file, or leave weights out for random ones.'
    )


def weights_facts(weights: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what ``model.json`` says about the weights of a run (arch, classes, ...); empty for other files.

    Raises:
        CheckpointError: it is there and cannot be read.
    """
    path = weights_path(weights)
    if path.name != "model.safetensors" or not (path.parent / "model.json").is_file():
        return {}
    try:
        return dict(json.loads((path.parent / "model.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path.parent / 'model.json'} cannot be read: {error}. Restore it from a copy."
        ) from error


def _read(path: Path) -> Any:
    try:
        kind = _kind(path)
        if kind == "safetensors":
            return load_file(path)
        if kind == "npz":
            import numpy as np

            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if kind == "torch":  # never without weights_only: a pickle can run any code
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds objects other than tensors, and such a pickle is never loaded because it "
            "could run code. Save the bare state dict with safetensors.torch.save_file, and load that."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        if len(reason) < 6 or "allow_pickle" in reason or "weights_only" in reason:  # advice that could run code
            reason = "it is damaged, or holds objects other than tensors"
        raise CheckpointError(f"{path} cannot be read: {reason}. Fetch or save it again.") from error
    raise CheckpointError(f"{path} cannot be read: it is {kind}. Fetch it again, or save a state dict there.")


def _kind(path: Path) -> str:
    """Return ``"safetensors"``, ``"npz"`` or ``"torch"`` by the bytes of a file; for any other file, what it is."""
    with open(path, "rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # eight bytes of length, then JSON
        return "safetensors"
    kind = kind_of_file(path)
    if kind == "a Python pickle":
        return "torch"
    if kind != "a ZIP archive":
        return kind or "of no known kind of weights, or truncated"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a truncated or damaged ZIP archive"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript archive, a program with its weights (torch.jit.load(path).state_dict() gives these)"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "a ZIP archive without weights"


def _find_state(content: Any) -> Mapping[str, Tensor] | None:
    """Return the bare state dict inside what a file holds; None where there is none."""
    if not isinstance(content, Mapping):
        return None
    if content and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        return content
    return next((state for key in WRAPPERS if (state := _find_state(content.get(key))) is not None), None)
