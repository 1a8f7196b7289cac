"""Everything that a convolutional network is made of, in NumPy alone: forward and backward by hand.

:mod:`~cnnlab.scratch.layers` holds the layers as functions, each with its backward pass; ``gradcheck`` compares
backward passes with numerical gradients; ``optim`` holds the update rules; :mod:`~cnnlab.scratch.nets` puts layers
together, and :class:`Solver` trains the nets. ``classifiers`` holds nearest neighbours and linear classifiers;
``features`` computes histograms of gradients and colours; ``kernels`` holds filters set by hand, such as Sobel's.
Interfaces and conventions follow the assignments of Stanford's course CS231n (https://cs231n.github.io), so that both
can be compared line by line. Nothing in this room imports torch.
"""

from cnnlab.scratch.classifiers import KNearestNeighbor, LinearSVM, Softmax
from cnnlab.scratch.cross_validation import cross_validate_k, grid_search
from cnnlab.scratch.features import FeatureScaler, color_histogram_hsv, extract_features, hog_feature
from cnnlab.scratch.gradcheck import (
    check_directions,
    check_gradients,
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    rel_error,
)
from cnnlab.scratch.nets import CaptioningRNN, ConvNet, FullyConnectedNet, ThreeLayerConvNet, TwoLayerNet
from cnnlab.scratch.optim import update_rules
from cnnlab.scratch.saving import load_net, save_net
from cnnlab.scratch.solver import Solver

__all__ = [
    "CaptioningRNN",
    "ConvNet",
    "FeatureScaler",
    "FullyConnectedNet",
    "KNearestNeighbor",
    "LinearSVM",
    "Softmax",
    "Solver",
    "ThreeLayerConvNet",
    "TwoLayerNet",
    "check_directions",
    "check_gradients",
    "color_histogram_hsv",
    "cross_validate_k",
    "eval_numerical_gradient",
    "eval_numerical_gradient_array",
    "extract_features",
    "grid_search",
    "hog_feature",
    "load_net",
    "rel_error",
    "save_net",
    "update_rules",
]
