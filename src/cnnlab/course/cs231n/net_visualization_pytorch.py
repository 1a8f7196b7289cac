"""``cs231n.net_visualization_pytorch``: the functions of assignment 3, network visualisation, in PyTorch.

Notebooks before 2020 ask for these functions in their cells: there, ``from cs231n.net_visualization_pytorch import *``
stands for the answers. Saliency and fooling images are those of :mod:`cnnlab.explain`. Class visualisation is the
course's plain gradient ascent on pixels; :func:`cnnlab.explain.visualization.visualize.visualize` shows more.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from cnnlab.course.cs231n.image_utils import SQUEEZENET_MEAN, SQUEEZENET_STD
from cnnlab.data.decoding import decode
from cnnlab.data.preprocess import resize_short_side
from cnnlab.errors import UsageError
from cnnlab.explain import saliency
from cnnlab.explain.adversarial import fool
from cnnlab.explain.pixel_range import PixelRange

__all__ = [
    "blur_image",
    "class_visualization_update_step",
    "compute_saliency_maps",
    "create_class_visualization",
    "deprocess",
    "jitter",
    "make_fooling_image",
    "preprocess",
    "rescale",
]

_PIXELS = PixelRange.normalised(SQUEEZENET_MEAN, SQUEEZENET_STD)

#: Settings of :func:`create_class_visualization` with the course's values.
_SETTINGS = {
    "l2_reg": 1e-3, "learning_rate": 25.0, "num_iterations": 100, "blur_every": 10, "max_jitter": 16, "show_every": 25,
}  # fmt: skip


def preprocess(img: Any, size: int = 224) -> Tensor:
    """Return a photo as the network takes it, (1, 3, H, W), its shorter side of ``size`` pixels.

    Args:
        img: picture of Pillow, or array (H, W, 3) of uint8.
        size: length of the shorter side in pixels.
    """
    pixels = np.asarray(resize_short_side(decode(img, 3), size, "bilinear"), np.float32) / 255
    return torch.from_numpy((pixels - SQUEEZENET_MEAN) / SQUEEZENET_STD).permute(2, 0, 1)[None].contiguous()


def deprocess(img: Tensor, should_rescale: bool = True) -> Image.Image:
    """Return an image (1, 3, H, W) of the network as a picture.

    Args:
        img: the image.
        should_rescale: whether it is stretched to the whole range; otherwise values outside are clipped.
    """
    unit = _PIXELS.on(img).to_unit(img.detach())[0].permute(1, 2, 0)
    pixels = (rescale(unit) if should_rescale else unit.clamp(0, 1)).cpu().float().numpy()
    return Image.fromarray((255 * pixels).astype(np.uint8))


def rescale(x: Tensor) -> Tensor:
    """Return ``x`` stretched to 0..1."""
    low, high = x.min(), x.max()
    return (x - low) / (high - low)


def blur_image(X: Tensor, sigma: float = 1) -> Tensor:
    """Blur images (N, C, H, W) in place by a Gaussian with a standard deviation of ``sigma`` pixels; return them."""
    pixels = X.detach().cpu().numpy()
    blurred = gaussian_filter1d(gaussian_filter1d(pixels, sigma, axis=2), sigma, axis=3)
    X.data.copy_(torch.from_numpy(blurred))
    return X


def compute_saliency_maps(X: Tensor, y: Tensor, model: nn.Module) -> Tensor:
    """Return for each image the largest absolute gradient of its class's score over the channels, (N, H, W).

    Args:
        X: images (N, 3, H, W) as the network takes them.
        y: labels (N,).
        model: network from images to scores; it is left as it was.
    """
    maps = [saliency(model, image, int(label)).values for image, label in zip(X, y, strict=True)]
    return torch.from_numpy(np.stack(maps)).to(X.device)


def make_fooling_image(X: Tensor, target_y: int, model: nn.Module) -> Tensor:
    """Return an image near ``X`` that the network takes for class ``target_y``, (1, 3, H, W).

    Args:
        X: image (1, 3, H, W), normalised with SQUEEZENET_MEAN and SQUEEZENET_STD.
        target_y: index of the class.
        model: network from images to scores; it is left as it was.
    """
    changed = fool(model, X, int(target_y), pixels=_PIXELS, confidence=None).changed
    return torch.from_numpy(changed)[None].to(X)


def jitter(X: Tensor, ox: int, oy: int) -> Tensor:
    """Return images (N, C, H, W) rolled by ``ox`` pixels to the right and ``oy`` pixels down."""
    return X.roll((oy, ox), dims=(2, 3))


def class_visualization_update_step(
    img: Tensor, model: nn.Module, target_y: int, l2_reg: float, learning_rate: float
) -> None:
    """Take a step of ``learning_rate`` up the score of a class minus ``l2_reg * sum(img**2)``, in place.

    Args:
        img: image (1, 3, H, W) with ``requires_grad``; its values change.
        model: network from images to scores.
        target_y: index of the class.
        l2_reg: weight of the penalty.
        learning_rate: length of the step in pixel values, along the gradient of length 1.
    """
    score = model(img)[0, target_y] - l2_reg * img.square().sum()
    (gradient,) = torch.autograd.grad(score, img)
    with torch.no_grad():
        img += learning_rate * gradient / gradient.norm()


def create_class_visualization(
    target_y: int, model: nn.Module, dtype: Any = torch.FloatTensor, **kwargs: Any
) -> Image.Image:
    """Return the picture that gradient ascent on the score of a class arrives at from noise.

    Args:
        target_y: index of the class.
        model: network from images (1, 3, 224, 224) to scores.
        dtype: torch's type of the image, such as ``torch.FloatTensor`` or ``torch.cuda.FloatTensor``.
        kwargs: ``l2_reg`` (1e-3), ``learning_rate`` (25), ``num_iterations`` (100), ``blur_every`` (10), ``max_jitter``
            (16 pixels), ``show_every`` (25; 0 shows nothing on the way).

    Raises:
        UsageError: there is no such setting.
    """
    if unknown := sorted(kwargs.keys() - _SETTINGS.keys()):
        raise UsageError(f"create_class_visualization has no {', '.join(unknown)}; it has {', '.join(_SETTINGS)}.")
    settings = _SETTINGS | kwargs
    most = int(settings["max_jitter"])
    img = torch.randn(1, 3, 224, 224).type(dtype).requires_grad_()
    for step in range(int(settings["num_iterations"])):
        ox, oy = random.randint(0, most), random.randint(0, most)
        img.data.copy_(jitter(img.data, ox, oy))
        class_visualization_update_step(img, model, target_y, settings["l2_reg"], settings["learning_rate"])
        img.data.copy_(jitter(img.data, -ox, -oy))
        img.data.copy_(_PIXELS.on(img).clip(img.data))
        if step % settings["blur_every"] == 0:
            blur_image(img, sigma=0.5)
        if settings["show_every"] and (step == 0 or (step + 1) % settings["show_every"] == 0):
            _show(deprocess(img), f"class {target_y}, iteration {step + 1}")
    return deprocess(img)


def _show(picture: Image.Image, title: str) -> None:
    from matplotlib import pyplot as plt

    plt.imshow(np.asarray(picture))
    plt.title(title)
    plt.axis("off")
    plt.show()
