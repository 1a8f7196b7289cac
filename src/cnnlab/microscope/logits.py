"""The logits in what a network returns: the output itself, one of several, or the mean over the positions of maps."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from cnnlab.errors import ModelError

_NAMES = (
    "logits",
    "out",
    "output",
    "outputs",
    "predictions",
    "prediction",
    "scores",
)  # of outputs, the likeliest first
_Path = tuple[str | int, ...]


def returning_logits(model: nn.Module, output: Any) -> tuple[nn.Module, str]:
    """Return a network that returns logits (N, K) alone, and words for which of its outputs they are.

    Args:
        model: any module; it stays as it is, and the network that is returned shares its weights.
        output: what the module returns for one image.

    Returns:
        The module itself and "" where it returns logits; otherwise a module of the same class and the same names, and
        words such as ``its output "out", averaged over its positions``.

    Raises:
        ModelError: there are no logits in the output.
    """
    name = type(model).__name__
    path = next((path for path, tensor in _tensors(output) if _has_logits(tensor)), None)
    if path is None or "forward" in vars(model):
        raise ModelError(f"{name} returns {_described(output)}, not logits (1, K). Wrap it in a module that does.")
    chosen = _at(output, path)
    if not path and chosen.dim() == 2:
        return model, ""
    kind = type(model)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        return _logits(_at(kind.forward(self, *args, **kwargs), path))

    twin = copy.copy(model)
    twin.__class__ = type(name, (kind,), {"forward": forward, "__module__": kind.__module__})
    words = "its output" if not path else f'its output "{path[-1]}"' if isinstance(path[-1], str) else ""
    words = words or f"output {int(path[-1]) + 1} of {sum(1 for _ in _tensors(output))}"
    return twin, words + (", averaged over its positions" if chosen.dim() == 4 and chosen[0, 0].numel() > 1 else "")


def _tensors(output: Any, path: _Path = ()) -> Iterator[tuple[_Path, Tensor]]:
    """Yield the tensors in what a network returns, each with the way to it, the likeliest logits first."""
    if isinstance(output, Tensor):
        yield path, output
    for key in _keys(output):
        yield from _tensors(_at(output, (key,)), (*path, key))


def _keys(output: Any) -> list[str | int]:
    """Return the names or numbers of the parts of an output."""
    if isinstance(output, tuple | list) and not hasattr(output, "_fields"):
        return list(range(len(output)))
    names = list(output) if isinstance(output, Mapping) else list(getattr(output, "_fields", ()))
    if is_dataclass(output) and not names:
        names = [field.name for field in fields(output)]
    if not names and not isinstance(output, Tensor):
        names = [name for name in _NAMES if hasattr(output, name)]
    return sorted(names, key=lambda name: _NAMES.index(name) if name in _NAMES else len(_NAMES))


def _at(output: Any, path: _Path) -> Any:
    for key in path:
        by_key = isinstance(output, Mapping) or isinstance(key, int)
        output = output[key] if by_key else getattr(output, str(key))
    return output


def _has_logits(output: Tensor) -> bool:
    """Return whether a tensor has logits of one image: (1, K), (K,), (1, 1, K), or maps (1, K, H, W)."""
    if not output.is_floating_point() or not output.numel():
        return False
    return output.numel() == output.shape[-1:].numel() or (output.dim() == 4 and len(output) == 1)


def _logits(output: Tensor) -> Tensor:
    """Return logits (N, K): of maps (N, K, H, W) the mean over the positions."""
    if output.dim() == 4 and output[0, 0].numel() > 1:
        return output.mean((2, 3))
    return output.flatten(1) if output.dim() > 1 else output.reshape(1, -1)


def _described(output: Any) -> str:
    """Return in words what a network returns."""
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    shapes = ", ".join(str(tuple(tensor.shape)) for _, tensor in _tensors(output))
    return f"{type(output).__name__} with tensors of shape {shapes}" if shapes else f"{type(output).__name__}"
