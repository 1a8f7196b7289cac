"""Embeddings: the outputs of a layer for many images, of hundreds of numbers each, drawn as points on a plane.

Principal components (K. Pearson 1901) keep as much of the variance as a flat shadow can; t-SNE keeps neighbours
neighbours, and nothing else: distances between groups and their sizes mean little. L. van der Maaten, G. Hinton:
Visualizing data using t-SNE, JMLR 2008, https://jmlr.org/papers/v9/vandermaaten08a.html.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnnlab import figures
from cnnlab.errors import UsageError
from cnnlab.explain.activations.batches import layer_outputs
from cnnlab.figures import Drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embedding(Drawable):
    """The outputs of a layer for images, as points on a plane.

    Attributes:
        points: float32 (N, 2), the points.
        vectors: float32 (N, D), the outputs of the layer.
        labels: int64 (N,), the classes, None when there were none.
        layer: the dotted name of the layer.
        method: ``"pca"`` or ``"tsne"``.
        trustworthiness: the share to which each point's ten nearest neighbours in the plane are near among the vectors
            too; 1 is perfect, about 0.5 is chance (J. Venna, S. Kaski 2001).
        explained: the share of the variance that the two axes keep; None for t-SNE, which has no such number.
        seconds: the time that it took, in seconds.
    """

    points: Array
    vectors: Array
    labels: npt.NDArray[np.int64] | None
    layer: str
    method: str
    trustworthiness: float
    explained: float | None
    seconds: float

    def figure(self, classes: Sequence[str] | None = None) -> Figure:
        """Draw the points, in the colours of their classes where labels are known."""
        return figures.embedding(self.points, self.labels, classes, self.caption())

    def caption(self) -> str:
        """Return the method, the layer, the number of images, and the trustworthiness of neighbours."""
        title = {"pca": "PCA", "tsne": "t-SNE"}[self.method]
        variance = "" if self.explained is None else f"; the axes keep {self.explained:.0%} of the variance"
        quality = f"trustworthiness of neighbours {self.trustworthiness:.2f} of 1"
        return f"{title} of {self.layer}, {len(self.points)} images{variance}; {quality}."


def layer_vectors(
    model: nn.Module, batches: Iterable[Any] | Tensor, layer: str | None = None, limit: int | None = None
) -> tuple[Array, npt.NDArray[np.int64] | None, str]:
    """Return the outputs of a layer for each image as vectors; maps are averaged over their positions.

    Args:
        model, batches, layer, limit: see :func:`~cnnlab.explain.activations.batches.layer_outputs`.

    Returns:
        Vectors (N, D) float32, labels (N,) int64 or None, and the layer's name.

    Raises:
        UnknownNameError, UsageError, ModelError: see :func:`~cnnlab.explain.activations.batches.layer_outputs`.
    """
    row, stream = layer_outputs(model, batches, layer, limit)
    vectors: list[Tensor] = []
    labels: list[Tensor] = []
    for _, classes, outputs in stream:
        vectors.append((outputs.flatten(2).mean(2) if outputs.ndim > 2 else outputs).float().cpu())
        labels += [] if classes is None else [classes]
    known = torch.cat(labels).to(torch.int64).numpy() if len(labels) == len(vectors) else None
    return torch.cat(vectors).numpy().copy(), known, row.name


def embedding(
    model: nn.Module,
    batches: Iterable[Any] | Tensor,
    layer: str | None = None,
    *,
    method: Literal["pca", "tsne"] = "pca",
    limit: int | None = 2000,
    perplexity: float = 30.0,
    seed: int = 0,
) -> Embedding:
    """Project the outputs of a layer for images to a plane.

    Args:
        model, batches, layer: see :func:`~cnnlab.explain.activations.batches.layer_outputs`.
        limit: the largest number of images.
        method: ``"pca"`` or ``"tsne"``; t-SNE starts from the first 50 principal components.
        perplexity: the perplexity of t-SNE, about the number of neighbours of each point; at most a third of the
            images.
        seed: the seed of t-SNE.

    Raises:
        UnknownNameError, ModelError: see :func:`layer_vectors`.
        UsageError: fewer than five images, a method that does not exist, or outputs that are all the same.
    """
    started = time.perf_counter()
    if method not in ("pca", "tsne"):
        raise UsageError(f'There is no method "{method}"; choose from pca, tsne.')
    vectors, labels, layer = layer_vectors(model, batches, layer, limit)
    points, explained = project(vectors, method, perplexity, seed)
    from sklearn.manifold import trustworthiness

    score = trustworthiness(vectors, points, n_neighbors=min(10, (len(points) - 1) // 2))
    return Embedding(points, vectors, labels, layer, method, float(score), explained, time.perf_counter() - started)


def project(
    vectors: npt.ArrayLike, method: Literal["pca", "tsne"] = "pca", perplexity: float = 30.0, seed: int = 0
) -> tuple[Array, float | None]:
    """Return points (N, 2) for vectors (N, D), and for PCA the share of the variance that they keep."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = np.asarray(vectors, dtype=np.float64)
    if len(rows) < 5:
        raise UsageError(f"{len(rows)} images make no picture; give at least five.")
    if not rows.std(axis=0).any():
        raise UsageError("The layer gives the same numbers for every image. Choose another layer.")
    pca = PCA(min(50, *rows.shape), svd_solver="full", random_state=seed)
    components = pca.fit_transform(rows)
    if method == "pca":
        flat = np.zeros((len(rows), 2), np.float32)
        flat[:, : min(2, components.shape[1])] = components[:, :2]
        return flat, float(pca.explained_variance_ratio_[:2].sum())
    tsne = TSNE(2, perplexity=min(perplexity, len(rows) / 3), init="pca", random_state=seed)
    return tsne.fit_transform(components).astype(np.float32), None
