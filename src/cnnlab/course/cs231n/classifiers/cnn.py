"""``cs231n.classifiers.cnn``: the three-layer convnet of assignment 2; with ``import *`` also the layers, as there."""

from __future__ import annotations

from cnnlab.course.cs231n import layer_utils
from cnnlab.course.cs231n.layer_utils import *
from cnnlab.scratch.nets import ThreeLayerConvNet

__all__ = ["ThreeLayerConvNet", *layer_utils.__all__]
