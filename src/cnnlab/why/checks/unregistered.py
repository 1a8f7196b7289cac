"""Parameters that the network uses and does not know of, such as layers in a Python list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam


@check("every layer is registered", place=205)
def unregistered(exam: Exam) -> Iterator[Finding]:
    """Look into the attributes of all modules, and at the tensors that the loss depends on."""
    registered = {id(one) for one in exam.model.parameters()}
    hidden: dict[str, int] = {}
    for path, module in exam.model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") and name in ("_parameters", "_modules", "_buffers"):
                continue
            parameters = [one for one in _parameters_in(value) if id(one) not in registered]
            if parameters:
                hidden[f"{path}.{name}" if path else name] = sum(one.numel() for one in parameters)
    if hidden:
        count = sum(hidden.values())
        names = ", ".join(hidden)
        yield Finding(
            "unregistered parameters",
            "error",
            f"{count:,} parameters in {names} are not among model.parameters(), which has "
            f"{sum(one.numel() for one in exam.model.parameters()):,}",
            "Keep modules in nn.ModuleList (or nn.ModuleDict), tensors in nn.Parameter.",
            meaning="PyTorch finds only what is an attribute: these layers are not trained, moved to the GPU or saved.",
            code=f"self.{next(iter(hidden)).rpartition('.')[2]} = nn.ModuleList([...])",
            numbers={"hidden": count},
        )
        return
    foreign = _foreign(exam)
    if foreign:
        shapes = ", ".join(str(tuple(one.shape)) for one in foreign[:4])
        yield Finding(
            "unregistered parameters",
            "error",
            f"the loss depends on {len(foreign)} trainable tensors that are not among model.parameters(): {shapes}",
            "Make the layers in __init__, as attributes of the module; a layer made in forward is a new one every "
            "time.",
            meaning="The optimizer does not know these tensors, so they stay as they are.",
            code="self.layer = nn.Linear(...)   # in __init__",
            numbers={"tensors": len(foreign)},
        )


def _parameters_in(value: Any, depth: int = 3) -> Iterator[Tensor]:
    """Yield the trainable tensors in lists, tuples, dicts and modules that are plain attributes."""
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, Tensor):
        if value.requires_grad and value.is_leaf:
            yield value
    elif isinstance(value, list | tuple | set) and depth:
        for one in value:
            yield from _parameters_in(one, depth - 1)
    elif isinstance(value, dict) and depth:
        for one in value.values():
            yield from _parameters_in(one, depth - 1)


def _foreign(exam: Exam) -> list[Tensor]:
    """Return the tensors that the loss of the first pass depends on and that the network did not register."""
    ids = {id(one) for one in exam.first.parameters}
    return [one for one in exam.first.leaves if id(one) not in ids]
