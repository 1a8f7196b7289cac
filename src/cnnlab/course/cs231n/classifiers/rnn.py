"""``cs231n.classifiers.rnn``: the captioning network of assignment 3."""

from __future__ import annotations

from cnnlab.scratch.nets import CaptioningRNN

__all__ = ["CaptioningRNN"]
