"""``cs231n.style_transfer_pytorch``: the functions of assignment 3, style transfer, in PyTorch.

Notebooks before 2020 ask for these functions in their cells: there, ``from cs231n.style_transfer_pytorch import *``
stands for the answers. The losses are those of :mod:`cnnlab.generate.losses`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from PIL import Image
from torch import Tensor, nn

from cnnlab.course.cs231n.net_visualization_pytorch import deprocess as _deprocess
from cnnlab.course.cs231n.net_visualization_pytorch import preprocess as _preprocess
from cnnlab.course.cs231n.net_visualization_pytorch import rescale
from cnnlab.data.decoding import decode
from cnnlab.generate import cs231n as course
from cnnlab.generate import losses
from cnnlab.generate.losses import gram_matrix
from cnnlab.scratch import rel_error

__all__ = [
    "content_loss",
    "deprocess",
    "extract_features",
    "features_from_img",
    "gram_matrix",
    "preprocess",
    "rel_error",
    "rescale",
    "style_loss",
    "tv_loss",
]


def content_loss(content_weight: float, content_current: Tensor, content_original: Tensor) -> Tensor:
    """Return the weighted sum of the squared differences of two layer outputs (1, C, H, W)."""
    return losses.content_loss(content_weight, content_current, content_original)


def style_loss(
    feats: Sequence[Tensor],
    style_layers: Sequence[int],
    style_targets: Sequence[Tensor],
    style_weights: Sequence[float],
) -> Tensor:
    """Return the weighted sum of the squared differences of Gram matrices.

    Args:
        feats: outputs of all layers for the image that is being made.
        style_layers: indices of the layers in ``feats`` that are compared.
        style_targets: Gram matrices of the painting, one for each of these layers.
        style_weights: weights, one for each of these layers.
    """
    return losses.style_loss(feats, style_layers, style_targets, style_weights)


def tv_loss(img: Tensor, tv_weight: float) -> Tensor:
    """Return the weighted total variation of an image (1, 3, H, W)."""
    return losses.tv_loss(img, tv_weight)


def preprocess(img: Image.Image, size: int = 512) -> Tensor:
    """Return a photo as the network takes it, (1, 3, H, W), its shorter side of ``size`` pixels."""
    return _preprocess(img, size)


def deprocess(img: Tensor) -> Image.Image:
    """Return an image (1, 3, H, W) of the network as a picture, stretched to the whole range."""
    return _deprocess(img)


def extract_features(x: Tensor, cnn: nn.Module) -> list[Tensor]:
    """Return the outputs of the successive modules of ``cnn`` for images (N, 3, H, W).

    Args:
        x: the images as the network takes them.
        cnn: sequence of modules, such as ``squeezenet1_1(...).features``.
    """
    network = nn.Module()
    network.features = cnn
    return course.extract_features(network, x)


def features_from_img(imgpath: str | os.PathLike[str], imgsize: int, cnn: nn.Module) -> tuple[list[Tensor], Tensor]:
    """Return the outputs of the modules of ``cnn`` for a photo, and the photo as the network takes it.

    Args:
        imgpath: path of the photo.
        imgsize: length of its shorter side in pixels.
        cnn: sequence of modules.

    Raises:
        DataError: the photo cannot be read.
    """
    image = preprocess(decode(imgpath, 3), imgsize).to(next(cnn.parameters()))
    return extract_features(image, cnn), image
