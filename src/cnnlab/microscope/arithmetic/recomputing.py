"""The rules that compute a number from the operands that stand in a reply; the page has the same rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.microscope.arithmetic.functions import apply_function


def recompute(reply: Mapping[str, Any]) -> float:
    """Return the number of a reply, computed in double precision from its operands alone.

    Args:
        reply: the reply of ``work_out``. What an operation without known arithmetic computes is taken as it is. A
            channel that was scaled by hand has a ``factor``.
    """
    if reply["how"] == "opaque":
        return float(reply["torch"])
    return _computed(reply) * float(reply.get("factor", 1))


def _computed(reply: Mapping[str, Any]) -> float:
    """Return what the rule of a reply gives."""
    how = reply["how"]
    arrays = [np.asarray(operand["array"], np.float64) for operand in reply["operands"] if "array" in operand]
    if how == "weighted_sum":
        return float((arrays[0] * arrays[1]).sum() + reply["bias"])
    if how == "affine":
        normalised = (reply["x"] - reply["mean"]) / math.sqrt(reply["var"] + reply["eps"])
        return float(normalised * reply["weight"] + reply["bias"])
    if how == "activation":
        return apply_function(reply["function"], reply["x"], reply["parameters"])
    if how == "maximum":
        return max(float(_unmasked(a, o).max()) for a, o in zip(arrays, reply["operands"], strict=True))
    if how == "average":
        return float(_unmasked(arrays[0], reply["operands"][0]).sum() / reply["divisor"])
    if how == "sum":
        return float(sum(o["factor"] * a.sum() for a, o in zip(arrays, reply["operands"], strict=True)))
    if how == "multiply":
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return float(np.prod([(a ** o["power"]).prod() for a, o in zip(arrays, reply["operands"], strict=True)]))
    if how == "choice":
        return float(arrays[0].ravel()[0])
    if how == "softmax":
        logits = arrays[0].ravel()
        shifted = float(logits[reply["index"]] - logits.max())
        total = float(np.exp(logits - logits.max()).sum())
        return shifted - math.log(total) if reply["log"] else math.exp(shifted) / total
    raise ValueError(f"There is no rule {how!r} that computes a number from its operands.")


def _unmasked(array: np.ndarray, operand: Mapping[str, Any]) -> np.ndarray:
    """Return the entries of an operand that padding did not add."""
    mask = operand.get("mask")
    return array if mask is None else array[np.asarray(mask, bool)]
