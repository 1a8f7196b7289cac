"""``cs231n.image_utils``: photos as arrays (H, W, 3), and the preprocessing of the course's SqueezeNet."""

from __future__ import annotations

import io
import os

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.data.decoding import decode, open_image
from cnnlab.data.preprocess import resize_short_side
from cnnlab.scratch.kernels import apply_kernel

__all__ = [
    "SQUEEZENET_MEAN",
    "SQUEEZENET_STD",
    "blur_image",
    "deprocess_image",
    "image_from_url",
    "load_image",
    "preprocess_image",
]

#: Mean and standard deviation of the pixels of ImageNet in 0..1, red, green, blue.
SQUEEZENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
SQUEEZENET_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

_BLUR = np.array([[1, 2, 1], [2, 188, 2], [1, 2, 1]], dtype=np.float64)[None, None] / 200


def blur_image(X: Array) -> Array:
    """Return images (N, 3, H, W), each pixel mixed with 6 % of its neighbours."""
    return apply_kernel(X, _BLUR)


def preprocess_image(img: Array) -> Array:
    """Return an image (H, W, 3) of 0..255, scaled to 0..1, minus SQUEEZENET_MEAN, divided by SQUEEZENET_STD."""
    return (img.astype(np.float32) / 255 - SQUEEZENET_MEAN) / SQUEEZENET_STD


def deprocess_image(img: Array, rescale: bool = False) -> Array:
    """Return a preprocessed image as uint8 (H, W, 3).

    Args:
        img: the image, as :func:`preprocess_image` returns it.
        rescale: whether the image is stretched to 0..255.
    """
    img = img * SQUEEZENET_STD + SQUEEZENET_MEAN
    if rescale:
        img = (img - img.min()) / (np.ptp(img) or 1)
    return np.clip(255 * img, 0, 255).astype(np.uint8)


def load_image(filename: str | os.PathLike[str], size: int | None = None) -> Array:
    """Return a photo as uint8 (H, W, 3).

    Args:
        filename: path of the photo.
        size: length of the shorter side in pixels; None keeps the size.

    Raises:
        DataError: the photo cannot be read.
    """
    image = decode(filename, 3)
    return np.asarray(image if size is None else resize_short_side(image, size, "bilinear"))


def image_from_url(url: str) -> Array:
    """Return the photo at an address as uint8 (H, W, 3).

    Many photos of COCO are not at their addresses any more. Where there is none, the reason is printed and a grey image
    returned, so that the captions beside it are seen.
    """
    import requests

    try:
        answer = requests.get(url, timeout=10)
        answer.raise_for_status()
        return np.asarray(decode(open_image(io.BytesIO(answer.content)), 3))
    except (OSError, ValueError) as error:  # requests' own errors are OSErrors
        print(f"No photo from {url}: {error}")
        return np.full((128, 128, 3), 128, np.uint8)
