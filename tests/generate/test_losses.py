"""The losses against sums written out by hand, loops, and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from cnnlab.errors import ShapeError
from cnnlab.generate.losses import (
    content_loss,
    gram_matrix,
    matrix_root,
    moments,
    smooth,
    style_loss,
    trace_of_root,
    tv_loss,
    wasserstein_loss,
)
from cnnlab.generate.style_targets import STYLE_TARGETS


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_content_loss_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    target = torch.tensor([[[[0.0, 2.0], [5.0, 1.0]]]])
    assert content_loss(0.5, features, target) == 0.5 * (1 + 0 + 4 + 9)


def test_gram_matrix_by_hand() -> None:
    """Channels (1, 2, 3, 4) and (0, 1, 0, -1): inner products 30, -2 and 2, over 2 x 2 positions and 2 channels."""
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, -1.0]]]])
    assert gram_matrix(features, normalize=False).tolist() == [[[30, -2], [-2, 2]]]
    assert gram_matrix(features).tolist() == [[[30 / 8, -2 / 8], [-2 / 8, 2 / 8]]]


def test_gram_matrix_of_a_batch_is_that_of_each_image() -> None:
    features = random(3, 4, 5, 6)
    wanted = np.zeros((3, 4, 4))
    for n in range(3):
        for a in range(4):
            for b in range(4):
                wanted[n, a, b] = (features[n, a].numpy() * features[n, b].numpy()).sum() / (4 * 5 * 6)
    np.testing.assert_allclose(gram_matrix(features), wanted, rtol=1e-12)


def test_style_loss_is_a_weighted_sum_over_layers() -> None:
    features = [random(1, 2, 3, 3, seed=1), random(1, 3, 2, 2, seed=2), random(1, 4, 2, 2, seed=3)]
    targets = [torch.zeros(1, 2, 2, dtype=torch.float64), torch.ones(1, 4, 4, dtype=torch.float64)]
    wanted = 0.0
    for layer, target, weight in zip((0, 2), targets, (3.0, 0.5), strict=True):
        flat = features[layer].numpy().reshape(features[layer].shape[1], -1)
        wanted += weight * ((flat @ flat.T / flat.size - target[0].numpy()) ** 2).sum()
    assert style_loss(features, (0, 2), targets, (3.0, 0.5)).item() == pytest.approx(wanted)
    named = {"a": features[0], "b": features[2]}
    assert style_loss(named, ("a", "b"), targets, (3.0, 0.5)).item() == pytest.approx(wanted)


def test_tv_loss_by_hand() -> None:
    """Down: (4 - 1)^2 + (2 - 2)^2 + (0 - 4)^2; across: (2 - 1)^2 + (2 - 4)^2 + (0 - 4)^2."""
    image = torch.tensor([[[[1.0, 2.0, 4.0], [4.0, 2.0, 0.0]]]])
    down, across = 9 + 0 + 16, (1 + 4) + (4 + 4)
    assert tv_loss(image, 2.0) == 2 * (down + across)
    assert tv_loss(torch.full((1, 3, 4, 4), 0.7), 1.0) == 0


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ShapeError, match="must be equal"):
        content_loss(1, torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))
    with pytest.raises(ShapeError, match="positions"):
        gram_matrix(torch.zeros(1, 2))
    with pytest.raises(ShapeError, match="as many"):
        style_loss([torch.zeros(1, 2, 3, 3)], (0,), [], (1,))


def test_smooth_is_a_softmax_over_everything() -> None:
    features = random(1, 3, 4, 5)
    powers = np.exp(features.numpy() / 2)
    np.testing.assert_allclose(smooth(features, 2), powers / powers.mean(), rtol=1e-12)


def test_moments_are_numpys() -> None:
    features = random(1, 3, 4, 5)
    mean, covariance = moments(features)
    np.testing.assert_allclose(mean[0], features[0].flatten(1).mean(1))
    np.testing.assert_allclose(covariance[0], np.cov(features[0].flatten(1).numpy(), bias=True), rtol=1e-10)


def covariances() -> tuple[np.ndarray, np.ndarray]:
    first, second = random(5, 9, seed=1).numpy(), random(5, 9, seed=2).numpy()
    return first @ first.T, second @ second.T


def test_wasserstein_loss_is_the_closed_form_with_scipys_root() -> None:
    first, second = covariances()
    means = random(2, 5, seed=3).numpy()
    wanted = ((means[0] - means[1]) ** 2).sum() + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    batch = [torch.from_numpy(value)[None] for value in (means[0], first, means[1], second)]
    distance = wasserstein_loss(batch[0], batch[1], batch[2], matrix_root(batch[3]))
    assert distance.item() == pytest.approx(wanted, rel=1e-9)
    np.testing.assert_allclose(matrix_root(batch[3])[0], np.real(sqrtm(second)), atol=1e-9)


def test_wasserstein_loss_of_one_channel_compares_mean_and_deviation() -> None:
    """In one dimension it is (m - m_t)^2 + (s - s_t)^2."""
    value = wasserstein_loss(
        torch.tensor([[1.0]]), torch.tensor([[[4.0]]]), torch.tensor([[-1.0]]), torch.tensor([[[5.0]]])
    )
    assert value.item() == pytest.approx(4 + 9)


def test_gradient_of_the_root_is_numerical_gradient() -> None:
    """Perturbations are symmetric: the function is defined on symmetric matrices."""
    matrix, step = covariances()[0], 1e-5
    leaf = torch.from_numpy(matrix)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(trace_of_root(leaf).sum(), leaf)
    for row, column in ((0, 0), (1, 3), (4, 2)):
        change = np.zeros_like(matrix)
        change[row, column] += step / 2
        change[column, row] += step / 2
        slope = np.trace(np.real(sqrtm(matrix + change) - sqrtm(matrix - change))) / (2 * step)
        assert gradient[0, row, column].item() == pytest.approx(slope, rel=1e-5)


def test_gradient_is_finite_where_eigenvalues_are_zero_or_equal() -> None:
    for matrix in (torch.zeros(1, 3, 3), torch.eye(3)[None], torch.diag(torch.tensor([1.0, 0.0, 0.0]))[None]):
        leaf = matrix.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(trace_of_root(leaf).sum(), leaf)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("kind", STYLE_TARGETS)
def test_a_style_is_at_no_distance_from_itself_wherever_its_positions_are(kind: str) -> None:
    features = random(1, 4, 5, 6).float().relu()
    target = STYLE_TARGETS[kind](features)
    assert target.loss(features).item() == pytest.approx(0, abs=1e-5)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert target.loss(features.flatten(2)[:, :, order].view_as(features)).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", STYLE_TARGETS)
def test_an_output_of_zeros_is_at_distance_one_in_every_unit(kind: str) -> None:
    features = random(1, 4, 5, 6).float().relu()
    for factor in (1e-3, 1.0, 300.0):
        loss = STYLE_TARGETS[kind](factor * features).loss(torch.zeros_like(features))
        assert loss.item() == pytest.approx(1, rel=1e-3)
