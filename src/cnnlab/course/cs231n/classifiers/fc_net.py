"""``cs231n.classifiers.fc_net``: the fully connected nets of assignment 2.

As in the course, ``from cs231n.classifiers.fc_net import *`` brings the layers too: its notebooks import them in no
other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnlab.course.cs231n import layer_utils
from cnnlab.course.cs231n.layer_utils import *
from cnnlab.errors import UsageError
from cnnlab.scratch import nets

__all__ = ["FullyConnectedNet", "TwoLayerNet", *layer_utils.__all__]


class TwoLayerNet(nets.TwoLayerNet):
    """The two-layer net in double precision.

    Args:
        input_dim: number of values of an image.
        hidden_dim: number of hidden units.
        num_classes: number of classes.
        weight_scale: standard deviation of the initial weights.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.
    """

    def __init__(
        self,
        input_dim: int = 3 * 32 * 32,
        hidden_dim: int = 100,
        num_classes: int = 10,
        weight_scale: float = 1e-3,
        reg: float = 0.0,
    ) -> None:
        super().__init__(input_dim, hidden_dim, num_classes, weight_scale, reg, np.float64)


class FullyConnectedNet(nets.FullyConnectedNet):
    """A fully connected net of any depth.

    Args:
        hidden_dims: numbers of hidden units.
        input_dim: number of values of an image.
        num_classes: number of classes.
        dropout: share of hidden values that dropout keeps; 1, or 0 as in the years before 2018, for no dropout.
        normalization: ``"batchnorm"``, ``"layernorm"`` or ``None``.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.
        weight_scale: standard deviation of the initial weights.
        dtype: type of parameters, scores, loss and gradients.
        seed: seed of the dropout masks.
        other_names: the same under the names of other years: ``dropout_keep_ratio`` or ``keep_prob`` for ``dropout``,
            ``use_batchnorm=True`` for ``normalization="batchnorm"``.

    Raises:
        UsageError: there is no such argument, or one is given twice under two names.
        UnknownNameError: there is no such normalisation.
    """

    def __init__(
        self,
        hidden_dims: Sequence[int],
        input_dim: int = 3 * 32 * 32,
        num_classes: int = 10,
        dropout: float = 1,
        normalization: Literal["batchnorm", "layernorm"] | None = None,
        reg: float = 0.0,
        weight_scale: float = 1e-2,
        dtype: npt.DTypeLike = np.float32,
        seed: int | None = None,
        **other_names: Any,
    ) -> None:
        for name in ("dropout_keep_ratio", "keep_prob"):
            if name in other_names:
                if dropout != 1:
                    raise UsageError(f"dropout and {name} are two names of one number. Give one of them.")
                dropout = other_names.pop(name)
        if dropout == 0:
            dropout = 1
        if other_names.pop("use_batchnorm", False):
            normalization = "batchnorm"
        if other_names:
            raise UsageError(
                f"FullyConnectedNet has no argument {', '.join(other_names)}. See help(FullyConnectedNet)."
            )
        super().__init__(hidden_dims, input_dim, num_classes, dropout, normalization, reg, weight_scale, dtype, seed)
