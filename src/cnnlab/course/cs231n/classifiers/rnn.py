"""``cs231n.classifiers.rnn``: the captioning network of assignment 3; with ``import *`` also the layers, as there."""

from __future__ import annotations

from cnnlab.course.cs231n import layers, rnn_layers
from cnnlab.course.cs231n.layers import *
from cnnlab.course.cs231n.rnn_layers import *
from cnnlab.scratch.nets import CaptioningRNN

__all__ = ["CaptioningRNN", *layers.__all__, *rnn_layers.__all__]
