"""Image features designed by hand: histograms of oriented gradients, and of hues.

``hog_feature`` and ``color_histogram_hsv`` take a batch of images (N, 3, H, W) and return a row of features per image;
``extract_features`` puts several side by side, ``FeatureScaler`` brings them to one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cnnlab.errors import ShapeError, UsageError
from cnnlab.scratch._checks import Array
from cnnlab.scratch._estimator import Estimator, features
from cnnlab.scratch.kernels import GREY

CELL = 8  # pixels
ORIENTATIONS = 9
_BLOCK = 1000  # number of images at a time, because intermediate results of all of them would fill the memory


def hog_feature(images: Array) -> Array:
    """Return histograms of oriented gradients: how strong the edges of each direction are in each part of an image.

    The image is converted to grey. The gradient at a pixel is the difference of its right and left, and of its lower
    and upper neighbours; at the border, where a neighbour is missing, that difference is zero. Cells of 8x8 pixels,
    from the top left corner on (pixels that do not fill a cell are left out), have 9 directions of 20 degrees each: 0
    is a gradient along a row, and opposite gradients count as one direction. A feature is the sum of the gradients'
    lengths in one direction, divided by the 64 pixels of the cell. Features are ordered by row of cells, cell, and
    direction; an image of 32x32 has 144.

    N. Dalal, B. Triggs: Histograms of oriented gradients for human detection, CVPR 2005, section 6, without the
    normalisation of blocks; as scikit-image's ``hog`` before it normalises.

    Args:
        images: images (N, 3, H, W), red, green, blue on any scale, H and W at least 8.

    Returns:
        The features (N, H // 8 * W // 8 * 9), float64 if the images are, else float32.

    Raises:
        ShapeError: images have another shape, or are smaller than a cell.
    """
    images = _floats(images)
    count, _, height, width = images.shape
    rows, columns = height // CELL, width // CELL
    if not rows or not columns:
        raise ShapeError(f"Images must be at least {CELL}x{CELL} for one cell, got {images.shape}.")
    grey = np.einsum("c,nchw->nhw", GREY.ravel().astype(images.dtype), images)
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    across, down = (gradient[:, : rows * CELL, : columns * CELL] for gradient in (across, down))
    angle = np.degrees(np.arctan2(down, across)) % 180
    direction = np.minimum((angle * (ORIENTATIONS / 180)).astype(int), ORIENTATIONS - 1)  # rounding may reach 180
    cells = np.arange(count * rows * columns).reshape(count, rows, 1, columns, 1)
    cell = np.broadcast_to(cells, (count, rows, CELL, columns, CELL)).reshape(direction.shape)
    sums = np.bincount(
        (cell * ORIENTATIONS + direction).ravel(),
        weights=np.hypot(across, down).ravel(),
        minlength=cells.size * ORIENTATIONS,
    )
    return (sums / CELL**2).reshape(count, rows * columns * ORIENTATIONS).astype(images.dtype)


def color_histogram_hsv(images: Array, nbin: int = 10) -> Array:
    """Return the histogram of hues of each image.

    Args:
        images: images (N, 3, H, W), red, green, blue on any scale: the hue does not change with it.
        nbin: number of equal parts that the circle of hues is divided into; the first begins at red.

    Returns:
        Shares of the pixels (N, nbin), each row sums to 1; grey pixels, which have no hue, count as red.

    Raises:
        ShapeError: images have another shape.
        UsageError: ``nbin`` is not a positive whole number.
    """
    images = _floats(images)
    if not isinstance(nbin, int | np.integer) or nbin < 1:
        raise UsageError(f"nbin is {nbin!r}; the hues are divided into a whole number of parts, 1 at least.")
    hues = rgb_to_hue(images)
    parts = np.minimum((hues * nbin).astype(int), nbin - 1)
    cells = np.arange(len(images))[:, np.newaxis, np.newaxis] * nbin + parts
    counts = np.bincount(cells.ravel(), minlength=len(images) * nbin).reshape(len(images), nbin)
    return (counts / (images.shape[2] * images.shape[3])).astype(images.dtype)


def rgb_to_hue(images: Array) -> Array:
    """Return the hue of every pixel of images (N, 3, H, W): (N, H, W) in 0..1, 0 for red, 1/3 for green, 2/3 for blue.

    A. R. Smith: Color gamut transform pairs, SIGGRAPH 1978.
    """
    images = _floats(images)
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    value = images.max(axis=1)
    spread = value - images.min(axis=1)
    divisor = np.where(spread > 0, spread, 1)  # of a grey pixel every difference below is 0
    sixths = np.select(
        [value == red, value == green],
        [(green - blue) / divisor, (blue - red) / divisor + 2],
        (red - green) / divisor + 4,
    )
    return (sixths / 6) % 1


def extract_features(images: Array, functions: Sequence[Callable[[Array], Array]]) -> Array:
    """Return the features (N, F) of images, those of all functions side by side.

    Args:
        images: images (N, 3, H, W).
        functions: functions from images (n, 3, H, W) to features (n, F), as ``hog_feature`` is one.

    Raises:
        UsageError: there is no function.
        ShapeError: images have another shape, or a function does not return a row per image.
    """
    _expect_images(images)
    if not functions:
        raise UsageError("There is no function to extract features with. Give for example [hog_feature].")
    blocks = []
    for start in range(0, max(len(images), 1), _BLOCK):
        block = images[start : start + _BLOCK]
        parts = [function(block) for function in functions]
        for function, part in zip(functions, parts, strict=True):
            if np.ndim(part) != 2 or len(part) != len(block):
                name = getattr(function, "__name__", repr(function))
                raise ShapeError(f"{name} returned {np.shape(part)} for images {block.shape}, not ({len(block)}, F).")
        blocks.append(np.concatenate(parts, axis=1))
    return np.concatenate(blocks)


class FeatureScaler(Estimator):
    """Bring every feature to mean 0 and standard deviation 1, as measured on the training examples alone.

    Attributes:
        mean_: mean of the training examples, (D,).
        scale_: standard deviation of the training examples, (D,); 1 for a feature that never changes.
    """

    mean_: Array
    scale_: Array

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Self:
        """Measure the features of ``X`` (N, D); scikit-learn's pipelines pass ``y``, which is not used.

        Raises:
            ShapeError: ``X`` cannot be learned from.
        """
        X = features(X)
        self.n_features_in_ = X.shape[1]
        deviation = X.std(axis=0)  # in float32 that of a constant feature is not 0 but what rounding leaves
        constant = X.min(axis=0) == X.max(axis=0)
        self.mean_ = np.where(constant, X[0], X.mean(axis=0))
        self.scale_ = np.where(constant | (deviation == 0), np.ones_like(deviation), deviation)
        return self

    def fit_transform(self, X: npt.ArrayLike, y: Any = None) -> Array:
        """Return ``fit(X).transform(X)``: the training examples ``X`` (N, D), scaled."""
        return self.fit(X, y).transform(X)

    def transform(self, X: npt.ArrayLike) -> Array:
        """Return ``X`` (M, D) minus the mean of the training examples, divided by their standard deviation.

        Raises:
            ShapeError: ``X`` has another number of features than in ``fit``.
            UsageError: the scaler is not fitted.
        """
        return (self._fitted_features(X) - self.mean_) / self.scale_

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags, TransformerTags  # only scikit-learn calls this

        return Tags(
            None, TargetTags(required=False), transformer_tags=TransformerTags(preserves_dtype=["float32", "float64"])
        )


def _expect_images(images: Array) -> None:
    shape = np.shape(images)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape[2:]:
        hint = " Turn (N, H, W, 3) round: images.transpose(0, 3, 1, 2)." if shape[-1:] == (3,) else ""
        raise ShapeError(f"images must be (N, 3, H, W), got an array of shape {shape}.{hint}")


def _floats(images: Array) -> Array:
    _expect_images(images)
    return images.astype(np.result_type(images.dtype, np.float32), copy=False)
