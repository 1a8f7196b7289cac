"""The stages of a network: those it declares, else what lies between changes of the resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from cnnlab.tracing.layers import Fields
from cnnlab.tracing.receptive_field import ReceptiveField
from cnnlab.tracing.record import Call, Op, Trace


@dataclass(frozen=True)
class Stage:
    """A stage of a network: everything that runs after the stage before it until the module ``ends_with`` is done.

    Attributes:
        name: name of the stage.
        ends_with: dotted name of the module whose end is that of the stage.
        output: shape of that module's output, batch first.
        parameters: number of parameters that are used in this stage and in none before it.
        macs: multiply-adds of its matrix products and convolutions.
        field: receptive field of the output; None for one that depends on no pixels or where the field is unknown.
    """

    name: str
    ends_with: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    field: ReceptiveField | None


def declared_stages(model: nn.Module) -> Mapping[str, str]:
    """Return the stages that a network declares as ``model.stages``: name -> dotted module name; empty without any.

    What other networks call so, such as a module, a list or a number, declares none.
    """
    stages = getattr(model, "stages", None)
    if isinstance(stages, Mapping) and all(isinstance(path, str) for path in stages.values()):
        return stages
    return {}


def stages_of(model: nn.Module, record: Trace, fields: Fields) -> tuple[Stage, ...]:
    """Return the stages that ``model.stages`` declares; else those that end with a child before the stride changes.

    Args:
        model: the network.
        record: a recorded forward pass of it.
        fields: the receptive fields of the tensors in that pass.
    """
    stages = []
    counted: set[int] = set()
    start = 0
    for name, call in _ends(model, record, fields):
        ops = record.ops[start : call.end]
        start = max(start, call.end)
        parameters = {id(v.parameter): v.parameter for op in ops for v in op.inputs if v.parameter is not None}
        stage = Stage(
            name=name,
            ends_with=call.path,
            output=call.outputs[0].shape,
            parameters=sum(p.numel() for key, p in parameters.items() if key not in counted),
            macs=sum(op.macs for op in ops),
            field=fields.get(call.outputs[0]),
        )
        stages.append(stage)
        counted |= set(parameters)
    return tuple(stages)


def _ends(model: nn.Module, record: Trace, fields: Fields) -> list[tuple[str, Call]]:
    """Return the name of each stage with the call that ends it."""
    if declared := declared_stages(model):
        last_calls = {call.path: call for call in record.calls}
        return [(name, last_calls[path]) for name, path in declared.items() if path in last_calls]
    ends = [(call.path, call) for call in _resolution_changes(record, fields)]
    rest = record.ops[ends[-1][1].end if ends else 0 :]
    if record.outputs and any(map(_computes, rest)):
        ends = [*ends[:-1], ("output", record.root)]  # the network's own forward goes on after its last child
    return ends


def _resolution_changes(record: Trace, fields: Fields) -> list[Call]:
    """Return the children of the network after which the stride changes, and the last one."""

    def inside(call: Call) -> list[Call]:
        return [step for step in call.steps if isinstance(step, Call) and step.outputs]

    children = inside(record.root)
    while len(children) == 1 and inside(children[0]):  # a wrapper around the network
        children = inside(children[0])
    # Flatten and dropout only pass their input on.
    children = [c for c in children if any(isinstance(step, Call) or _computes(step) for step in c.steps)]

    def resolution(call: Call) -> Any:
        field = fields.get(call.outputs[0])
        return field and ([step and abs(step) for step in field.stride], field.whole)

    return [
        call
        for call, following in zip(children, [*children[1:], None], strict=False)
        if following is None or resolution(call) != resolution(following)
    ]


def _computes(op: Op) -> bool:
    """Return whether an operation computes numbers, and is not only a view of them."""
    return bool(op.inputs and op.outputs) and (isinstance(op.func, str) or not op.func.is_view)
