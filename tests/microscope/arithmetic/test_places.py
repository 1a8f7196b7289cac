"""Operands lie on the maps of the nodes that they come from, at the places that replies name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.microscope.arithmetic import to_view, work_out
from cnnlab.microscope.graph import INPUT
from cnnlab.microscope.passes import Player
from cnnlab.zoo import list_models
from tests.microscope.arithmetic.checking import assert_right, numbers, smallest


class Mixed(nn.Module):
    """Attention over the pixels, groups, dilation, a gate, a shuffle and channels last, in one network."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(torch.cat([x, x.flip(2)], 1))
        first, second = x.chunk(2, 1)
        x = torch.cat([second, first + 1], 1)
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        x = F.channel_shuffle(F.max_pool2d(F.pad(self.up(x), (1, 0, 1, 0)), 2), 2)
        x = self.norm(x.permute(0, 2, 3, 1))
        x = self.attention(x.flatten(1, 2)).transpose(1, 2).reshape(1, 4, 4, 4)
        x = F.interpolate(F.adaptive_avg_pool2d(x, 3), scale_factor=2, mode="bilinear")
        return self.head(F.avg_pool2d(x, 3).flatten(1)).softmax(1)


class Sequence1d(nn.Module):
    """Convolutions of one dimension over the rows of an image, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 6, 5, padding=2)
        self.norm = nn.BatchNorm1d(6)
        self.second = nn.Conv1d(6, 4, 3, stride=2, groups=2)
        self.up = nn.ConvTranspose1d(4, 4, 4, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool1d(F.relu(self.norm(self.first(x.flatten(2)))), 2)
        x = x * torch.sigmoid(x.mean(2, keepdim=True))
        x = F.avg_pool1d(self.up(self.second(x)), 2)
        return self.head(x.mean(2))


def assert_on_the_map(operand: Mapping[str, Any], maps: Mapping[str, np.ndarray]) -> bool:
    """Check that the numbers of an operand are those of the box on the map that it names; say whether it names one."""
    if operand["from"] not in maps or operand["at"] is None:
        return False
    values = maps[operand["from"]]
    lines = [np.arange(first, last + 1) for first, last in zip(*operand["at"], strict=True)]
    names = ("channels", "rows", "columns")
    lines = [np.array(operand.get(name, line)) for name, line in zip(names, lines, strict=True)]
    if np.prod([len(line) for line in lines]) != operand["array"].size:
        return False  # not all numbers of the box, as for a row of a matrix that was moved about
    grid = np.meshgrid(*lines, indexing="ij")
    inside = np.all([(g >= 0) & (g < side) for g, side in zip(grid, values.shape, strict=True)], axis=0)
    box = np.where(inside, values[tuple(np.where(inside, g, 0) for g in grid)], 0)
    assert operand["array"].ravel().tolist() == box.ravel().tolist()
    return True


def walk(model: nn.Module, image: Tensor, count: int) -> tuple[int, int]:
    """Work out numbers of every node; return how many operands come from nodes, and how many of them are boxes."""
    player = Player(model, image)
    graph, rng = player.graph, np.random.default_rng(0)
    result = player.result("image", image, outputs=list(graph.nodes), arguments=list(graph.nodes))
    nodes = graph.nodes.items()
    maps = {address: to_view(result.outputs[address], node.layout).numpy() for address, node in nodes}
    maps[INPUT] = to_view(image).numpy()
    named = boxes = 0
    for address, node in nodes:
        output, position = result.outputs[address], node.position
        for _ in range(count):
            at = [int(rng.integers(side)) for side in maps[address].shape]
            reply = work_out(
                graph.names[position], result.arguments[address], output, at, graph.sources[position],
                moved=graph.moves.get(address), layout=node.layout,
            )  # fmt: skip
            assert_right(reply)
            assert reply["how"] != "opaque", address
            for operand in reply["operands"]:
                named += operand["from"] in maps
                boxes += assert_on_the_map(operand, maps)
    return named, boxes


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "googlenet", "convnext_tiny"])
def test_operands_lie_where_they_say(name: str) -> None:
    named, boxes = walk(*smallest(name), 4)
    assert named == boxes > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_operands_of_every_network_lie_where_they_say(name: str) -> None:
    named, boxes = walk(*smallest(name), 2)
    assert named == boxes > 0


def test_operands_of_attention_and_of_moved_channels_lie_where_they_say() -> None:
    torch.manual_seed(0)
    named, boxes = walk(Mixed().eval(), numbers(1, 2, 4, 4), 12)
    assert boxes > 0.8 * named


def test_operands_of_sequences_lie_where_they_say() -> None:
    torch.manual_seed(0)
    named, boxes = walk(Sequence1d().eval(), numbers(1, 2, 6, 6), 12)
    assert named == boxes > 0
