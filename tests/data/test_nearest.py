"""Nearest images, against scipy's distances of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from cnnlab.data.nearest import nearest_images
from cnnlab.errors import ShapeError


def test_nearest_images_are_those_of_scipy() -> None:
    """In blocks smaller than the set, with a copy and a near copy."""
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    samples = rng.integers(0, 256, (9, 3, 4, 4), dtype=np.uint8)
    samples[2] = training[33]
    samples[3] = training[7]
    samples[3, 0, 0, 0] ^= 1
    expected = cdist(samples.reshape(9, -1), training.reshape(50, -1))
    neighbours = nearest_images(torch.from_numpy(samples), torch.from_numpy(training), block=16)
    assert neighbours.indices.tolist() == expected.argmin(1).tolist()
    np.testing.assert_allclose(neighbours.distances, expected.min(1), rtol=1e-12)
    assert neighbours.distances[2:4].tolist() == [0, 1]
    with pytest.raises(ShapeError, match=r"\(3, 4, 4\) and the others \(1, 4, 4\)"):
        nearest_images(torch.from_numpy(samples), torch.zeros(2, 1, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(("scale", "middle"), [(1.0, 0.0), (1e-3, 100.0), (1e25, 0.0)])
def test_an_image_is_not_its_own_neighbour(scale: float, middle: float) -> None:
    """Also for values that lie far from zero, or whose squares float32 cannot hold."""
    images = (torch.randn(40, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * scale + middle).float()
    rows = images.flatten(1).double().numpy()
    expected = cdist(rows, rows)
    np.fill_diagonal(expected, np.inf)
    neighbours = nearest_images(images, block=7)
    assert neighbours.indices.tolist() == expected.argmin(1).tolist()
    np.testing.assert_allclose(neighbours.distances, expected.min(1), rtol=1e-9)
