"""Files of tensors: the model file that knows how to be used, and the parts of a training state.

A file is safetensors with JSON beside or inside; nothing is pickled. Every file is written under another name, flushed
to the disk and renamed, so that a full disk or a killed process leaves the file that was there before. What goes into
the state of a training, and how it is restored, is said in :mod:`cnnlab.training.state`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

import cnnlab
from cnnlab.data import Preprocess
from cnnlab.errors import CheckpointError
from cnnlab.files import replacing, write_text
from cnnlab.zoo import create_model

FORMAT = 1  # of model.json and of the training state; raised when an older cnnlab could not read a newer file


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors in one step."""
    contiguous = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            safetensors.torch.save_file(contiguous, temporary, metadata)
        except safetensors.SafetensorError as error:  # its word for a full disk
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file with its metadata.

    Raises:
        CheckpointError: the file is missing, truncated or something else.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file without its tensors; errors as in :func:`load_tensors`."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise CheckpointError(f"There is no {path}.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): it is truncated or no safetensors file. Restore it from a copy."
        ) from None


def half_precision(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a network as a state dict in which parameters take 16 bits where that keeps their values.

    A parameter stays as it is where rounding to float16 would change a number by more than 2^-10 of the largest one in
    its tensor: numbers above 65504 overflow, and those of a tensor of tiny numbers vanish. Buffers, such as the
    statistics of BatchNorm and the number of its batches, stay as they are.
    """
    parameters = dict(model.named_parameters())
    return {
        name: _rounded(tensor.detach()) if name in parameters else tensor.detach()
        for name, tensor in model.state_dict().items()
    }


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    half = tensor.half()
    error = (half.to(tensor.dtype) - tensor).abs().max()
    return half if error <= tensor.abs().max() / 1024 else tensor


# Model files -----------------------------------------------------------------------------------------------------


@dataclass
class ModelFile:
    """A trained network and what is needed to use it."""

    arch: dict[str, Any]  #: the arguments of :func:`cnnlab.zoo.create_model`
    classes: list[str]  #: the class names, in the order of the outputs
    preprocess: Preprocess  #: the way from an image to the input tensor
    metrics: dict[str, Any]  #: the accuracy and other figures that were computed before the file was written

    def save(self, folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
        """Write ``model.safetensors`` and ``model.json`` into ``folder``."""
        save_tensors(folder / "model.safetensors", weights)
        facts = {
            "format": FORMAT,
            "cnnlab": cnnlab.__version__,
            "arch": self.arch,
            "classes": self.classes,
            "preprocess": self.preprocess.to_dict(),
            "metrics": self.metrics,
        }
        write_text(folder / "model.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> ModelFile:
        """Read ``model.json`` from ``folder``.

        Raises:
            CheckpointError: missing, broken, or written by a newer cnnlab.
        """
        facts = read_json(folder / "model.json")
        try:
            preprocess = Preprocess.from_dict(facts["preprocess"])
            return cls(facts["arch"], facts["classes"], preprocess, facts.get("metrics", {}))
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / 'model.json'} lacks or garbles {error}.") from None

    def model(self, folder: Path, weights: Path | None = None) -> nn.Module:
        """Build the network with its weights from ``folder``, in eval mode on the CPU.

        Args:
            folder: the folder of the model file.
            weights: a file with other weights of the network, in place of those of ``folder``.

        Raises:
            ModelError: the weights belong to another architecture.
            CheckpointError: the weights file is damaged.
        """
        return create_model(**self.arch, weights=weights or folder / "model.safetensors").eval()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object and check its format number.

    Raises:
        CheckpointError: missing, broken, or from a newer version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"There is no {path}. Is this the folder of a run?") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected an object, got {type(values).__name__}.")
    check_format(values, path)
    return values


def check_format(values: Mapping[str, Any], path: Path) -> None:
    """Refuse a file whose format number is above this version's."""
    version = values.get("format", 1)
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, written by cnnlab {values.get('cnnlab', '?')}; this is cnnlab "
            f"{cnnlab.__version__}, which reads up to format {FORMAT}. Upgrade cnnlab to use it."
        )


# Training states -------------------------------------------------------------------------------------------------


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Split an optimizer's state into named tensors and plain values."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, Any] = {"groups": state["param_groups"], "values": {}}
    for index, slots in state["state"].items():
        for slot, value in slots.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{slot}"] = value
            else:
                plain["values"][f"{index}.{slot}"] = value
    return tensors, plain


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], plain: Mapping[str, Any]
) -> None:
    """Give an optimizer the state that :func:`pack_optimizer` took.

    Raises:
        CheckpointError: the state belongs to another optimizer or network.
    """
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *plain["values"].items()]:
        index, slot = key.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    try:
        optimizer.load_state_dict({"state": state, "param_groups": plain["groups"]})
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"The saved optimizer state does not fit this network and recipe: {error}.") from None
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if isinstance(value, torch.Tensor) and value.ndim == 4 and value.shape == parameter.shape:
                # Fused updates need the memory layout of the weights; others take it without a copy.
                slots[slot] = torch.empty_like(parameter).copy_(value)
