"""Recognise ReLU and ReLU6 among the calls of torch functions, whether modules or plain functions make them."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

_FUNCTIONS = {torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, F.relu, F.relu6}


def is_relu(function: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a call is a ReLU or ReLU6.

    Args:
        function: the function that a :class:`torch.overrides.TorchFunctionMode` intercepts.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
    """
    if function is F.hardtanh:  # nn.ReLU6 calls it
        return (args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)) == 0
    return function in _FUNCTIONS
