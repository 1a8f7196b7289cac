"""Embeddings are scikit-learn's, of what leaves the layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from torch import Tensor, nn

from cnnlab import figures
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain.activations.embedding import embedding, layer_vectors, project
from cnnlab.tracing.hooks import recording, untouched
from tests.explain.helpers_explain import awkward, hooks_of, linear, state_of


def groups(count: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 16, 16) of three kinds that differ in colour, and their kinds."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = 0.3 * torch.randn(count, 3, 16, 16, generator=generator)
    images[torch.arange(count), labels] += 2
    return images, labels


def test_vectors_are_what_leaves_the_layer_averaged_over_positions() -> None:
    model = awkward()
    images, labels = groups()
    before = state_of(model)
    vectors, found, layer = layer_vectors(model, [(images[:5], labels[:5]), (images[5:], labels[5:])], "last")
    assert state_of(model) == before
    with untouched(model), torch.no_grad(), recording(model, ["last"]) as seen:
        model(images)
    np.testing.assert_allclose(vectors, seen["last"].mean((2, 3)).numpy(), atol=1e-5)
    assert found is not None
    assert found.tolist() == labels.tolist()
    assert layer == "last"
    flat, nothing, _ = layer_vectors(model, images, "fc")
    assert flat.shape == (12, 4)
    assert nothing is None
    few, named, _ = layer_vectors(model, [(images[:5], labels[:5]), (images[5:], labels[5:])], "last", limit=7)
    np.testing.assert_allclose(few, vectors[:7], atol=1e-5)
    assert named is not None
    assert len(named) == 7
    assert layer_vectors(model, images)[2] == "last", "the last layer with positions"


def test_pca_is_scikit_learns_up_to_the_sign_and_says_what_it_keeps() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 1, 0.1]
    points, kept = project(rows)
    expected = PCA(2).fit(rows)
    np.testing.assert_allclose(np.abs(points), np.abs(expected.transform(rows)), atol=1e-4)
    assert kept == pytest.approx(expected.explained_variance_ratio_.sum())
    flat, all_of_it = project(rows[:, :1])
    assert not flat[:, 1].any()
    assert all_of_it == pytest.approx(1)


def test_tsne_is_scikit_learns_on_the_principal_components() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5))
    points, kept = project(rows, "tsne", perplexity=50, seed=3)
    assert kept is None
    components = PCA(5, svd_solver="full").fit_transform(rows)
    expected = TSNE(2, perplexity=10, init="pca", random_state=3).fit_transform(components)
    np.testing.assert_allclose(points, expected, atol=1e-3)
    np.testing.assert_array_equal(points, project(rows, "tsne", perplexity=50, seed=3)[0])


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_groups_stay_together_and_trust_is_stated(method: str) -> None:
    images, labels = groups(45)
    result = embedding(awkward(), [(images, labels)], "first", method=method)  # type: ignore[arg-type]
    assert result.points.shape == (45, 2)
    assert result.trustworthiness == pytest.approx(trustworthiness(result.vectors, result.points, n_neighbors=10))
    centres = np.stack([result.points[labels == kind].mean(0) for kind in range(3)])
    nearest = np.linalg.norm(result.points[:, None] - centres, axis=2).argmin(1)
    assert (nearest == labels.numpy()).all()
    figure = result.figure(["$5", "b", "c"])
    words = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    assert "$5" in words
    assert f"{result.trustworthiness:.2f}" in words
    assert ("% of the variance" in words) == (method == "pca")
    assert figures.to_png(figure).startswith(b"\x89PNG")


def test_points_without_labels_and_with_many() -> None:
    points = np.random.default_rng(0).normal(size=(60, 2))
    assert figures.to_png(figures.embedding(points))
    many = figures.embedding(points, np.arange(60) % 20)
    colours = {tuple(each.get_facecolor()[0]) for each in many.axes[0].collections}
    assert len(colours) == 20


def test_what_makes_no_sense_is_refused() -> None:
    model = awkward()
    images, _ = groups()
    with pytest.raises(UsageError, match="4 images make no picture"):
        embedding(model, images[:4], "last")
    with pytest.raises(UsageError, match="same numbers for every image"):
        embedding(model, images[:1].repeat(6, 1, 1, 1), "last")
    with pytest.raises(UsageError, match="pca, tsne"):
        embedding(model, images, "last", method="umap")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="last"):
        embedding(model, images, "lost")
    with pytest.raises(ModelError, match="no spatial layer"):
        embedding(linear([[1, 2, 3, 4]]), torch.rand(6, 1, 2, 2))
    with pytest.raises(ModelError, match="cannot take images"):
        embedding(nn.Sequential(nn.Linear(3, 2)), images, "0")
    model.broken = True
    with pytest.raises(ModelError, match="broken on purpose"):
        embedding(model, images, "last")
    assert hooks_of(model) == 0
