"""The network whose first layer is computed from images: whitening, identities, what stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.cifar_records import RECORDS, Net
from cnnlab.errors import UsageError
from cnnlab.zoo import create_model
from cnnlab.zoo.airbench import WHITENING_EPS, AirbenchBlock, IdentityConv


def smooth_images(count: int = 500, channels: int = 3, size: int = 16) -> torch.Tensor:
    """Images whose pixels are like their neighbours, as in photos."""
    noise = torch.randn(count, channels, size + 4, size + 4, generator=torch.Generator().manual_seed(0))
    return F.avg_pool2d(noise, 5, 1) * 4


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_layer_whitens(channels: int) -> None:
    model, images = create_model("airbench", in_channels=channels), smooth_images(channels=channels)
    model.start_from(images)
    outputs = model.whiten(images).detach().transpose(0, 1).flatten(1).double().numpy()
    half = 4 * channels
    np.testing.assert_allclose(outputs[half:], -outputs[:half], atol=1e-5)
    second_moments = outputs[:half] @ outputs[:half].T / outputs.shape[1]
    windows = np.stack([w.ravel() for image in images.numpy() for w in _windows(image)]).astype(float)
    variances = np.linalg.eigvalsh(windows.T @ windows / len(windows))
    np.testing.assert_allclose(np.diag(second_moments), variances / (variances + WHITENING_EPS), rtol=1e-3)
    assert np.abs(second_moments - np.diag(np.diag(second_moments))).max() < 1e-3


def _windows(image: np.ndarray) -> list[np.ndarray]:
    _, height, width = image.shape
    return [image[:, y : y + 2, x : x + 2] for y in range(height - 1) for x in range(width - 1)]


def test_convolutions_begin_as_the_identity() -> None:
    x = torch.rand(2, 4, 5, 5)
    torch.testing.assert_close(IdentityConv(4, 4)(x), x)
    torch.testing.assert_close(IdentityConv(4, 7)(x)[:, :4], x)
    assert IdentityConv(4, 7)(x)[:, 4:].abs().max() > 0


@pytest.mark.parametrize(("record", "options"), [("airbench94", {}), ("hiverge", {"activation": "silu"})])
def test_it_is_the_network_of_the_record(record: str, options: dict[str, str]) -> None:
    """The port in benchmarks/ is written after the author's code; all but the last pooling is in the same order."""
    model, port = create_model("airbench", **options), Net(RECORDS[record], sgd=True)
    assert [tuple(p.shape) for p in model.parameters()] == [tuple(p.shape) for p in port.parameters()]
    for ours, theirs in zip(model.parameters(), port.parameters(), strict=True):
        theirs.data.copy_(ours)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(model(images), port(images))


def test_three_convolutions_have_a_shortcut_around_the_last_two() -> None:
    """At first all convolutions are identities and a norm in eval mode does nothing, so that a block is known."""
    block = AirbenchBlock(4, 4, 3, "gelu").eval()
    x = torch.randn(2, 4, 6, 6)
    first = F.gelu(F.max_pool2d(x, 2))
    torch.testing.assert_close(block(x), F.gelu(first + F.gelu(first)))
    plain, deep = (create_model("airbench", convolutions=[2, 2, n]) for n in (2, 3))
    more = sum(p.numel() for p in deep.parameters()) - sum(p.numel() for p in plain.parameters())
    assert more == 256 * 256 * 9 + 2 * 256
    with pytest.raises(UsageError, match="2 or 3"):
        create_model("airbench", convolutions=[2, 2, 4])


def test_whitening_and_scales_are_not_trained() -> None:
    model = create_model("airbench")
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert still == {"whiten.weight", *(f"{name}.weight" for name in norms)}
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_sizes_share_their_weights() -> None:
    model = create_model("airbench").eval()
    assert [model(torch.rand(1, 3, side, side)).shape for side in (9, 24, 33)] == [(1, 10)] * 3
