"""``cs231n.classifiers.cnn``: the three-layer convnet of assignment 2."""

from __future__ import annotations

from cnnlab.scratch.nets import ThreeLayerConvNet

__all__ = ["ThreeLayerConvNet"]
