"""A thousand numbers of each of twelve networks: what the protocol answers can be computed from what it answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from cnnlab.microscope.protocol import answer, decode
from tests.microscope.conftest import never
from tests.microscope.networks import module_outputs, numbers_of, small_microscope

NETWORKS = (
    "lenet5", "alexnet", "vgg11_bn", "resnet50", "densenet121", "googlenet", "mobilenet_v2", "mobilenet_v3_small",
    "efficientnet_lite0", "nasnet_mobile", "mixer_s16", "convnext_tiny",
)  # fmt: skip

FUNCTIONS: dict[str, Callable[..., float]] = {
    "relu": lambda x: max(x, 0.0),
    "clamp": lambda x, minimum, maximum: min(max(x, minimum), maximum),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "hardsigmoid": lambda x: min(max(x + 3, 0.0), 6.0) / 6,
    "hardswish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "gelu": lambda x, approximate: x / 2 * (1 + math.erf(x / math.sqrt(2))),
}


def entries(operand: Mapping[str, Any]) -> np.ndarray:
    """Return the entries of an operand that lie on the map, in double precision."""
    array = operand["array"].astype(np.float64)
    return array[operand["mask"] != 0] if "mask" in operand else array.ravel()


def by_hand(reply: Mapping[str, Any]) -> float:
    """Return the number that the operands of a reply give, by the rules in the documentation of the protocol."""
    operands, how = reply["operands"], reply["how"]
    if how == "weighted_sum":
        patch, kernel = (operand["array"].astype(np.float64).ravel() for operand in operands[:2])
        return float(patch @ kernel) + reply["bias"]
    if how == "affine":
        return (reply["x"] - reply["mean"]) / (reply["var"] + reply["eps"]) ** 0.5 * reply["weight"] + reply["bias"]
    if how == "activation":
        return FUNCTIONS[reply["function"]](reply["x"], **reply["parameters"])
    if how == "maximum":
        return max(entries(operand).max() for operand in operands)
    if how == "average":
        return entries(operands[0]).sum() / reply["divisor"]
    if how == "sum":
        return sum(operand["factor"] * entries(operand).sum() for operand in operands)
    if how == "multiply":
        return math.prod((entries(operand) ** operand["power"]).prod() for operand in operands)
    assert how == "choice", f"There is no arithmetic in {how}."
    return float(entries(operands[0])[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_thousand_numbers_follow_from_their_operands(name: str) -> None:
    microscope = small_microscope(name)
    torchs = module_outputs(microscope)
    hows: Counter[str] = Counter()
    hooked = 0
    for request in numbers_of(microscope, 1000):
        reply = decode(answer(microscope.handle, request, never))
        assert "error" not in reply, (request, reply)
        hows[reply["how"]] += 1
        if reply["torch"] is None:  # JSON has no infinities; NASNet pads with them before a max pooling
            assert not math.isfinite(by_hand(reply)), request
            continue
        close = 1e-4 * max(1, abs(reply["torch"]))
        assert by_hand(reply) == pytest.approx(reply["torch"], abs=close), request
        assert reply["value"] == pytest.approx(reply["torch"], abs=close), request
        output = torchs.get(request["node"])
        if output is not None and output.ndim in (1, 3) and list(output.shape) == node_shape(microscope, request):
            at = tuple(request["at"][: output.ndim])
            assert reply["torch"] == pytest.approx(float(output[at]), abs=close), request
            hooked += 1
    assert hows.total() >= 1000
    assert hooked > 100 or name in ("mixer_s16", "convnext_tiny")


def node_shape(microscope: Any, request: Mapping[str, Any]) -> list[int]:
    """Return the shape of the node that a request is about."""
    return list(microscope.player()[1].graph.nodes[request["node"]].shape)
