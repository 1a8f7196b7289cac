"""The logits are found in whatever a network returns, and the network itself stays as it is."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnlab.microscope.opening import open_microscope
from cnnlab.microscope.protocol import complete

IMAGE = torch.linspace(-1, 1, 64).view(1, 8, 8)
Pair = namedtuple("Pair", "features logits")


@dataclass
class Outputs:
    """What a network returns, by name."""

    hidden: Tensor
    logits: Tensor


class Network(nn.Module):
    """A convolution, and a function of its output (N, 3, 6, 6)."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.end = nn.Conv2d(1, 3, 3), end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.conv(x))


def mean(x: Tensor) -> Tensor:
    """Return the means of maps."""
    return x.mean((2, 3))


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (mean, ""),
        (lambda x: mean(x)[0], "its output"),
        (lambda x: mean(x)[:, :, None, None], "its output"),
        (lambda x: x, "its output, averaged over its positions"),
        (lambda x: (mean(x), x), "output 1 of 2"),
        (lambda x: [x.flatten(2), mean(x)], "output 2 of 2"),
        (lambda x: OrderedDict(aux=x * 0, out=x), 'its output "out", averaged over its positions'),
        (lambda x: {"loss": None, "logits": mean(x)}, 'its output "logits"'),
        (lambda x: Pair(x, mean(x)), 'its output "logits"'),
        (lambda x: Outputs(x, mean(x)), 'its output "logits"'),
    ],
)
def test_the_answer_is_found_in_what_a_network_returns(end: Callable[[Tensor], Any], words: str) -> None:
    torch.manual_seed(0)
    model = Network(end).train()
    microscope = open_microscope(model, [IMAGE])
    classifier = microscope.subjects[0].classifier
    assert classifier.about == "Network, a module" + (f"; the answer is {words}" if words else "")
    opened = microscope.handle(complete("open"))
    assert next(iter(opened["models"][0]["graph"]["nodes"]))["id"] == "conv"  # names are the module's own
    reply = microscope.handle(complete("answer", scene={"image": opened["images"][0]["id"]}))
    with torch.no_grad():
        expected = mean(model.conv(IMAGE[None]))[0]
    torch.testing.assert_close(torch.from_numpy(reply["logits"]), expected)
    assert classifier.model(torch.stack([IMAGE])).shape == (1, 3)
    assert model.training
    assert type(model) is Network


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_computed_in_float32(dtype: torch.dtype) -> None:
    model = Network(mean).to(dtype)
    microscope = open_microscope(model, [IMAGE])
    assert "computed in float32" in microscope.subjects[0].classifier.about
    image = microscope.handle(complete("open"))["images"][0]["id"]
    reply = microscope.handle(complete("number", scene={"image": image}, node="conv", at=[1, 2, 3]))
    assert reply["value"] == pytest.approx(reply["torch"], abs=1e-5)
    assert model.conv.weight.dtype is dtype
