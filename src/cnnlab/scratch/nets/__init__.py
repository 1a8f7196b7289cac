"""Nets: ``params`` is a dictionary of arrays, ``loss(X)`` returns scores, ``loss(X, y)`` the loss and its gradients."""

from cnnlab.scratch.nets.captioning import CaptioningRNN, decode_captions
from cnnlab.scratch.nets.convnet import ThreeLayerConvNet
from cnnlab.scratch.nets.deep import ConvNet
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.nets.layer_list import Affine, AvgPool, BatchNorm, Conv, Dropout, LayerNorm, MaxPool, ReLU
from cnnlab.scratch.nets.two_layer import TwoLayerNet

__all__ = [
    "Affine",
    "AvgPool",
    "BatchNorm",
    "CaptioningRNN",
    "Conv",
    "ConvNet",
    "Dropout",
    "FullyConnectedNet",
    "LayerNorm",
    "MaxPool",
    "ReLU",
    "ThreeLayerConvNet",
    "TwoLayerNet",
    "decode_captions",
]
