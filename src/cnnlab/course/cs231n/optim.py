"""``cs231n.optim``: the update rules of assignment 2."""

from __future__ import annotations

from cnnlab.scratch.optim import adam, rmsprop, sgd, sgd_momentum

__all__ = ["adam", "rmsprop", "sgd", "sgd_momentum"]
