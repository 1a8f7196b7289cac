"""Weights that start equal, so that all units of a layer stay equal."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam


@check("units start different", place=210)
def constant_start(exam: Exam) -> Iterator[Finding]:
    """Look for layers all of whose units have the same weights."""
    weights = [(name, one.detach()) for name, one in exam.model.named_parameters() if one.ndim > 1 and len(one) > 1]
    equal = [name for name, one in weights if bool((one == one[:1]).all())]
    inner = [name for name in equal if name != weights[-1][0]]
    if not equal or (not inner and len(weights) > 1):
        return  # a last layer that starts at zero learns: its inputs differ
    values = {name: float(one.flatten()[0]) for name, one in weights if name in inner or len(weights) == 1}
    if len(weights) == 1 or not values:
        return
    zero = all(value == 0 for value in values.values()) and all(
        torch.equal(one, torch.full_like(one, float(one.flatten()[0]))) for name, one in weights if name in inner
    )
    said = "all zero" if zero else "the same for every unit"
    yield Finding(
        "constant initialisation",
        "error",
        f"the weights of {len(inner)} of {len(weights)} layers are {said}: {', '.join(inner[:4])}",
        "Leave out the initialisation, or draw the weights at random; biases may start at zero.",
        meaning="All units of such a layer compute the same and get the same gradient, so they stay one unit for ever"
        + (", and behind zeros no gradient comes through at all." if zero else "."),
        code="nn.init.kaiming_normal_(layer.weight)",
        numbers={"layers": len(inner)},
    )
