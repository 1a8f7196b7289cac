"""Measures of the images of a GAN: copying, mode collapse, and distances between distributions of features.

Features and classes are those of a classifier of this project, not of the Inception network: the Fréchet and the kernel
distance are therefore not FID and KID. Compare them only between GANs that were measured with the same classifier.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg

from cnnlab.errors import ShapeError, UsageError

Array = npt.NDArray[np.float64]

#: A sample counts as a copy when it lies nearer to a training image than all but this share of the held-out images.
COPY_SHARE = 0.001


# Copying -------------------------------------------------------------------------------------------------------------


def distance_percentiles(distances: Array, held_out: Array) -> Array:
    """Return the percentage of held-out images that lie at most as far from the training images as each sample.

    For images like the held-out ones the mean is about 50. A percentage near 0 means a copy of a training image, or an
    image that is simpler than real ones: blurred images lie near to many training images.

    Args:
        distances: distances of the samples to their nearest training images
            (:func:`~cnnlab.data.nearest.nearest_images`), (n,).
        held_out: distances of held-out real images to theirs, (m,).
    """
    return np.searchsorted(np.sort(held_out), distances, side="right") / len(held_out) * 100


def copied_share(distances: Array, held_out: Array, share: float = COPY_SHARE) -> float:
    """Return the share of samples, 0..1, that lie nearer to a training image than all but ``share`` of held-out images.

    Args:
        distances, held_out: distances as in :func:`distance_percentiles`.
        share: share of the held-out images, 0..1, that may lie nearer than a copy.
    """
    return float((distances < np.quantile(held_out, share)).mean())


# Mode collapse -------------------------------------------------------------------------------------------------------


def effective_classes(counts: npt.ArrayLike) -> float:
    """Return exp of the entropy of a histogram of classes: K for K equally frequent classes, 1 for a single class.

    The diversity of order 1 of Hill (1973), "Diversity and evenness", equation 2.

    Args:
        counts: number of images of each class, (K,).

    Raises:
        UsageError: there is no image.
    """
    numbers = np.asarray(counts, dtype=float)
    if numbers.sum() <= 0:
        raise UsageError("There is no image in the histogram of classes; generate at least one.")
    shares = numbers[numbers > 0] / numbers.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


# Distances between distributions of features -------------------------------------------------------------------------


def frechet_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the squared Fréchet distance of two normal distributions with the features' means and covariances.

    It is ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` (Dowson and Landau 1982; Heusel et al. 2017, equation 6). Its
    bias depends on the number of images: compare only distances of the same numbers of images.

    Args:
        first, second: features of two sets of images, (n, F) and (m, F).

    Raises:
        ShapeError: the features have different lengths, or a set has less than two images.
    """
    a, b = _features(first, second)
    mean, covariance = a.mean(0) - b.mean(0), (np.cov(a, rowvar=False), np.cov(b, rowvar=False))
    c1, c2 = (np.atleast_2d(each) for each in covariance)
    # tr (C1 C2)^(1/2) is the sum of the roots of the eigenvalues of C1 C2, which are those of R C2 R with R = C1^(1/2):
    # a symmetric matrix, whose eigenvalues are real also when features are constant.
    values, vectors = linalg.eigh(c1)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    cross = np.sqrt(np.clip(linalg.eigvalsh(root @ c2 @ root), 0, None)).sum()
    return float(max(mean @ mean + np.trace(c1) + np.trace(c2) - 2 * cross, 0.0))


def kernel_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x.y / F + 1)^3.

    Source: Gretton et al. 2012, equation 3; the kernel is that of Bińkowski et al. 2018, section 4. The estimate may be
    slightly below 0.

    Args:
        first, second: features of two sets of images, (n, F) and (m, F).

    Raises:
        ShapeError: the features have different lengths, or a set has less than two images.
    """
    a, b = _features(first, second)

    def kernel(x: Array, y: Array) -> Array:
        return (x @ y.T / a.shape[1] + 1) ** 3

    def mean_of_pairs(x: Array) -> float:
        values = kernel(x, x)
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return mean_of_pairs(a) + mean_of_pairs(b) - 2 * float(kernel(a, b).mean())


def _features(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ShapeError(f"Features are (n, F) and (m, F) with at least two images each, got {a.shape} and {b.shape}.")
    return a, b
