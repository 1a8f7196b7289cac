"""Reading weights from a file into a network, whatever wrapper the file has around them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cnnlab.errors import CheckpointError, ModelError

PICKLED = (".pth", ".pt", ".th")
# Where training scripts put the state dict beside the optimizer and the epoch.
WRAPPERS = ("state_dict", "model_state_dict", "model")
# What DataParallel, DistributedDataParallel and torch.compile put before every name.
PREFIXES = ("module.", "_orig_mod.")


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Copy the weights in a file into ``model``; every parameter and buffer must be there with the right shape.

    Args:
        model: the network, changed in place.
        path: a ``.safetensors`` file, or a ``.pth``, ``.pt`` or ``.th`` state dict. A dict around it
            (``{"state_dict": ...}``) and the prefixes of DataParallel and torch.compile are taken off.

    Raises:
        ModelError: there is no such file, or it holds the weights of another network.
        CheckpointError: the file is damaged, or holds objects other than tensors and plain values.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", *PICKLED):
        raise ModelError(
            f'weights="{path}" is not understood: give the path of a .safetensors file or of a state dict '
            f"({', '.join(PICKLED)}), or None for random weights."
        )
    if not path.is_file():
        raise ModelError(f'There is no weights file "{path}". Give the path of an existing file, or None.')
    state = unwrap(_read(path), path)
    _check(model, state, path)
    model.load_state_dict(state, strict=False)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Never without weights_only: a pickle can run any code.
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds objects other than tensors, and such a pickle is never loaded because it "
            "could run code. Save the bare state dict with safetensors.torch.save_file, and load that."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. It may be truncated; fetch or save it again."
        ) from error


def unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the bare state dict inside what a file holds: no wrapper, no prefix common to all names."""
    while isinstance(content, Mapping) and not _is_state(content):
        inner = next((content[key] for key in WRAPPERS if key in content), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not _is_state(content):
        raise CheckpointError(
            f"{path} holds no state dict: expected names -> tensors, perhaps under {', '.join(WRAPPERS)}."
        )
    state = dict(content)
    for prefix in PREFIXES:
        while all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _is_state(content: Mapping[Any, Any]) -> bool:
    return len(content) > 0 and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def _check(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ModelError unless names and shapes agree."""
    own = model.state_dict()
    # Checkpoints from before torch 0.4.1 do not count batches, and nothing depends on that count.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    wrong = [
        f"{name}: expected {tuple(own[name].shape)}, found {tuple(state[name].shape)}"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    problems = [
        f"{what} {_some(items)}."
        for what, items in (("Missing:", missing), ("Not part of it:", unexpected), ("Other shapes:", wrong))
        if items
    ]
    if problems:
        name = getattr(model, "arch", {}).get("name", type(model).__name__)
        raise ModelError(
            f"The weights in {path} do not fit {name}. {' '.join(problems)} "
            "Check the network's name, num_classes, in_channels, image_size and options."
        )


def _some(items: list[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
