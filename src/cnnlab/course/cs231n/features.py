"""``cs231n.features``: the features of assignment 1, question 5, each a function of one image (H, W, 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.errors import UsageError
from cnnlab.scratch import features
from cnnlab.scratch.kernels import GREY

__all__ = ["color_histogram_hsv", "extract_features", "hog_feature", "rgb2gray"]


def extract_features(imgs: Array, feature_fns: Sequence[Callable[[Array], Array]], verbose: bool = False) -> Array:
    """Return the features (N, F) of images, those of all functions side by side.

    Args:
        imgs: images (N, H, W, 3).
        feature_fns: functions from an image (H, W, 3) to its features (F,).
        verbose: whether progress is printed after every 1,000 images.

    Raises:
        UsageError: there is no function.
    """
    if not feature_fns:
        raise UsageError("There is no function to extract features with. Give for example [hog_feature].")
    rows = []
    for number, image in enumerate(imgs, 1):
        rows.append(np.concatenate([np.ravel(function(image)) for function in feature_fns]))
        if verbose and number % 1000 == 0:
            print(f"Done extracting features for {number} / {len(imgs)} images")
    return np.stack(rows)


def rgb2gray(rgb: Array) -> Array:
    """Return the brightness (H, W) of an image (H, W, 3)."""
    return rgb[..., :3] @ GREY.ravel()


def hog_feature(im: Array) -> Array:
    """Return the histogram of oriented gradients of an image (H, W, 3) or (H, W): 144 numbers for 32x32 pixels.

    It is that of :func:`cnnlab.scratch.features.hog_feature`, which counts every pixel where the course's samples.
    """
    colour = im if im.ndim == 3 else np.repeat(im[..., None], 3, axis=2)
    return features.hog_feature(colour.transpose(2, 0, 1)[None])[0]


def color_histogram_hsv(
    im: Array, nbin: int = 10, xmin: float = 0, xmax: float = 255, normalized: bool = True
) -> Array:
    """Return the histogram (nbin,) of the hues of an image (H, W, 3).

    Args:
        im: the image.
        nbin: number of parts of the circle of hues.
        xmin, xmax: range of the pixels; hues are the same on any scale.
        normalized: whether shares of the pixels are returned; otherwise their numbers.
    """
    shares = features.color_histogram_hsv(im.transpose(2, 0, 1)[None], nbin)[0]
    return shares if normalized else shares * (im.shape[0] * im.shape[1])
