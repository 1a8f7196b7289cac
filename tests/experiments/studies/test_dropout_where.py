"""The network of the study ``dropout_where``, against a forward pass by hand, and what each variant drops."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from cnnlab.experiments.studies.dropout_where import RATE, DropoutWhere, TwoConvolutions, with_gains
from cnnlab.tracing.hooks import recording


def network(variant: str) -> TwoConvolutions:
    torch.manual_seed(0)
    return TwoConvolutions(10, 3, 16, variant)


@pytest.mark.parametrize("variant", DropoutWhere.variants)
def test_in_eval_mode_every_variant_is_the_same_network(variant: str) -> None:
    model = network(variant).eval()
    images = torch.randn(4, 3, 16, 16)
    p = dict(model.named_parameters())
    x = F.conv2d(images, p["conv1.weight"], p["conv1.bias"], padding=2).clamp(min=0)
    x = x.reshape(4, 16, 8, 2, 8, 2).amax((3, 5))
    x = F.conv2d(x, p["conv2.weight"], p["conv2.bias"], padding=2).clamp(min=0)
    x = x.reshape(4, 32, 4, 2, 4, 2).amax((3, 5)).reshape(4, 512)
    x = (x @ p["fc1.weight"].T + p["fc1.bias"]).clamp(min=0)
    torch.testing.assert_close(model(images), x @ p["fc2.weight"].T + p["fc2.bias"])
    assert torch.equal(model(images), network("no dropout").eval()(images))


@pytest.mark.parametrize(
    ("variant", "dropping"),
    [
        ("no dropout", set()),
        ("dense units", {"drop3"}),
        ("single outputs", {"drop1", "drop2"}),
        ("whole maps", {"drop1", "drop2"}),
    ],
)
def test_a_quarter_is_dropped_where_the_variant_says_so(variant: str, dropping: set[str]) -> None:
    model = network(variant).train()
    before = {"drop1": "pool1", "drop2": "pool2", "drop3": "relu3"}
    with torch.no_grad(), recording(model, [*before, *before.values()]) as outputs:
        model(torch.randn(100, 3, 16, 16))
    for name, source in before.items():
        active = outputs[source] > 0
        zeros = outputs[name] == 0
        assert float(zeros[active].float().mean()) == pytest.approx(RATE if name in dropping else 0, abs=0.02)
        if name in dropping:  # what remains is scaled up, so that the mean stays
            torch.testing.assert_close(outputs[name][~zeros], outputs[source][~zeros] / (1 - RATE))
    if dropping == {"drop1", "drop2"}:
        # In a map with outputs all over, either all are dropped or some are.
        full = (outputs["pool1"] > 0).all((2, 3))
        shares = (outputs["drop1"] == 0).float().mean((2, 3))[full]
        assert bool(((shares == 0) | (shares == 1)).all()) == (variant == "whole maps")


def test_gains_are_taken_within_a_seed_and_an_epoch() -> None:
    rows = [
        {"seed": seed, "epoch": epoch, "variant": variant, "accuracy": accuracy}
        for seed, epoch, variant, accuracy in [(0, 1, "a", 0.25), (1, 1, "a", 0.5), (0, 1, "b", 0.75), (1, 1, "b", 0.5)]
    ]
    assert [row["gain"] for row in with_gains(rows, "a")] == [0, 0, 50, 0]
