"""Losses between layer outputs, for style transfer, texture synthesis and feature inversion, as small functions.

:func:`content_loss`, :func:`gram_matrix`, :func:`style_loss` and :func:`tv_loss` have the conventions of CS231n,
assignment 3, question 4; the first three are those of L. Gatys, A. Ecker, M. Bethge: Image style transfer using
convolutional neural networks, CVPR 2016, without its constant factors. :func:`smooth` is the softmax of SWAG (P. Wang,
Y. Li, N. Vasconcelos: Rethinking and improving the robustness of image style transfer, CVPR 2021,
https://arxiv.org/abs/2104.05623). :func:`wasserstein_loss` is the distance between Gaussians with the mean and
covariance of the channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnlab.errors import ShapeError


def content_loss(weight: float | Tensor, features: Tensor, target: Tensor) -> Tensor:
    """Return ``weight`` times the sum of the squared differences of two layer outputs, a scalar.

    Args:
        weight: the weight of the loss, a number or a scalar tensor.
        features: the layer output for the image that is being made, (N, C, H, W).
        target: the layer output for the photo, of the same shape.

    Raises:
        ShapeError: the shapes differ.
    """
    if features.shape != target.shape:
        raise ShapeError(
            f"The layer outputs have the shapes {tuple(features.shape)} and {tuple(target.shape)}; they must be equal. "
            "Give both images the same size."
        )
    return weight * (features - target).square().sum()


def gram_matrix(features: Tensor, normalize: bool = True) -> Tensor:
    """Return the Gram matrix of a layer output, the sums over positions of the products of two channels: (N, C, C).

    Args:
        features: the layer output, (N, C, H, W).
        normalize: whether the sums over positions are divided by H * W * C.

    Raises:
        ShapeError: ``features`` has another number of dimensions.
    """
    flat = _flat(features)  # (N, C, H * W)
    gram = flat @ flat.transpose(1, 2)  # (N, C, C)
    return gram / (flat.shape[1] * flat.shape[2]) if normalize else gram


def style_loss(
    features: Sequence[Tensor] | Mapping[Any, Tensor],
    layers: Sequence[Any],
    targets: Sequence[Tensor],
    weights: Sequence[float],
) -> Tensor:
    """Return the sum over layers of a weight times the sum of the squared differences of Gram matrices, a scalar.

    Args:
        features: the layer outputs for the image that is being made, each (N, C, H, W): a list of all layers, or a
            mapping from their names.
        layers: the L layers that are compared: indices of the list, or names.
        targets: the L Gram matrices of the painting, (N, C, C), normalised.
        weights: the L weights.

    Raises:
        ShapeError: there are not as many targets and weights as layers, or a target has another shape.
    """
    if not len(layers) == len(targets) == len(weights):
        raise ShapeError(
            f"{len(layers)} layers need as many targets and weights, got {len(targets)} and {len(weights)}."
        )
    terms = [
        content_loss(weight, gram_matrix(features[layer]), target)
        for layer, target, weight in zip(layers, targets, weights, strict=True)
    ]
    return torch.stack(terms).sum()


def tv_loss(image: Tensor, weight: float) -> Tensor:
    """Return ``weight`` times the sum of the squared differences of neighbouring pixels: total variation, a scalar.

    Args:
        image: the images, (N, C, H, W).
        weight: the weight of the loss.
    """
    return weight * (image.diff(dim=2).square().sum() + image.diff(dim=3).square().sum())


def smooth(features: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Return the softmax over all channels and positions of a layer output, times their number: the mean is 1.

    It smooths the peaks of layer outputs in residual networks, which would dominate a Gram matrix (Wang et al. 2021).
    The paper has neither the factor, which only keeps the numbers in the range of float32, nor the
    temperature.

    Args:
        features: the layer output, (N, C, H, W).
        temperature: the number by which the layer output is divided before the softmax.
    """
    flat = (features / temperature).flatten(1)
    return flat.softmax(1).mul(flat.shape[1]).view_as(features)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over positions, (N, C), and the covariance, (N, C, C), of a layer output (N, C, H, W).

    Raises:
        ShapeError: ``features`` has another number of dimensions.
    """
    flat = _flat(features)
    mean = flat.mean(2, keepdim=True)
    centred = flat - mean
    return mean[:, :, 0], centred @ centred.transpose(1, 2) / flat.shape[2]


def wasserstein_loss(mean: Tensor, covariance: Tensor, target_mean: Tensor, target_root: Tensor) -> Tensor:
    r"""Return the squared Wasserstein-2 distance between Gaussian distributions, (N,).

    .. math:: |m - m_t|^2 + \mathrm{tr}(S + S_t - 2 (S_t^{1/2} S S_t^{1/2})^{1/2})

    (C. Givens, R. Shortt: A class of Wasserstein metrics for probability distributions, 1984, proposition 7.)

    Args:
        mean: the mean m for the image that is being made, (N, C).
        covariance: the covariance S, (N, C, C).
        target_mean: the mean of the painting, (N, C).
        target_root: the square root of the painting's covariance, (N, C, C), as :func:`matrix_root` returns it.
    """
    crossed = target_root @ covariance @ target_root
    traces = _trace(covariance) + target_root.square().sum((1, 2)) - 2 * trace_of_root(crossed)
    return (mean - target_mean).square().sum(1) + traces


def matrix_root(matrix: Tensor) -> Tensor:
    """Return the square root of positive semidefinite matrices (N, C, C)."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.transpose(1, 2)


def trace_of_root(matrix: Tensor) -> Tensor:
    """Return the trace of the square root of positive semidefinite matrices (N, C, C), with a gradient: (N,)."""
    trace: Tensor = _TraceOfRoot.apply(matrix)
    return trace


class _TraceOfRoot(torch.autograd.Function):
    """The trace of a matrix's square root, whose gradient is half the inverse of that root.

    The gradient of eigenvectors, which is infinite where eigenvalues are equal, is not needed for it. Eigenvalues below
    a millionth of the largest, which are noise in float32, get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(values, vectors)
        return values.clamp_min(0).sqrt().sum(-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        floor = values[:, -1:].clamp_min(torch.finfo(values.dtype).tiny) * 1e-6
        inverse = torch.where(values > floor, 0.5 * values.clamp_min(floor).rsqrt(), 0.0)
        return grad[:, None, None] * (vectors * inverse[:, None]) @ vectors.transpose(1, 2)


def _flat(features: Tensor) -> Tensor:
    """Return a layer output (N, C, H, W) with its positions in one axis: (N, C, H * W)."""
    if features.ndim != 4:
        raise ShapeError(
            f"The layer output has the shape {tuple(features.shape)}; expected (N, C, H, W). Choose a layer whose "
            "outputs have positions on the image."
        )
    return features.flatten(2)


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=1, dim2=2).sum(-1)
