"""Which operations of networks as people write them are nodes, and how their outputs are shown."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.microscope.arithmetic import to_view, work_out
from cnnlab.microscope.passes import Player


class Pooled(nn.Module):
    """A network of some layers, whose maps are averaged in the end."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


def player_of(model: nn.Module, *shape: int) -> tuple[Player, Tensor]:
    torch.manual_seed(0)
    image = torch.randn(1, *shape)
    return Player(model.eval(), image), image


def test_a_convolution_of_one_dimension_is_shown_as_rows() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 5, 3, padding=1)
            self.norm = nn.BatchNorm1d(5)
            self.pool = nn.MaxPool1d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(F.relu(self.norm(self.conv(x.flatten(2))))).mean(2)

    model = Rows()
    player, image = player_of(model, 2, 4, 4)
    nodes = player.graph.nodes
    shapes = {"conv": (5, 1, 16), "norm": (5, 1, 16), ":relu": (5, 1, 16), "pool": (5, 1, 8)}
    assert {address: nodes[address].shape for address in shapes} == shapes
    result = player.result("a", image, outputs=["conv"])
    with torch.no_grad():
        expected = model.conv(image.flatten(2))
    assert torch.equal(to_view(result.outputs["conv"], nodes["conv"].layout)[:, 0], expected[0])


def test_a_chosen_channel_is_one_map() -> None:
    class Chosen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, 1] * x.mean(1)).flatten(1)

    player, _ = player_of(Chosen(), 3, 4, 5)
    assert [node.shape for node in player.graph.nodes.values()][:3] == [(1, 4, 5)] * 3


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_a_recurrent_layer_is_one_node_for_each_output(kind: type[nn.RNNBase]) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 2, 2)
            self.rnn = kind(3, 4, batch_first=True, bidirectional=True)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            sequence, state = self.rnn(self.conv(x).flatten(2).transpose(1, 2))
            states = state if isinstance(state, tuple) else (state,)
            return self.head(sequence.mean(1) + sum(one.transpose(0, 1).flatten(1) for one in states))

    torch.manual_seed(0)
    model = Recurrent()
    player, image = player_of(model, 1, 6, 6)
    nodes = player.graph.nodes
    inside = {address: node for address, node in nodes.items() if node.module == "rnn"}
    states = ["rnn:hidden_state", "rnn:cell_state"][: 2 if kind is nn.LSTM else 1]
    assert sorted(inside) == sorted(["rnn", *states])
    assert all(node.feeds == ("conv",) and node.operation == kind.__name__ for node in inside.values())
    assert nodes["rnn"].shape == (8, 3, 3)
    assert nodes["rnn"].parameters == sum(p.numel() for p in model.rnn.parameters())
    result = player.result("a", image, outputs=list(inside), arguments=list(inside))
    with torch.no_grad():
        sequence, state = model.rnn(model.conv(image).flatten(2).transpose(1, 2))
    torch.testing.assert_close(result.outputs["rnn"], sequence)
    for address, expected in zip(states, state if isinstance(state, tuple) else [state], strict=True):
        torch.testing.assert_close(result.outputs[address], expected)
    reply = work_out(
        kind.__name__, result.arguments["rnn"], sequence, [0, 1, 2], player.graph.sources[nodes["rnn"].position]
    )
    assert reply["how"] == "opaque"
    assert [operand["from"] for operand in reply["operands"]] == ["conv"]


def test_a_dropout_that_stays_on_draws_the_same_for_every_view() -> None:
    class Uncertain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(self.conv(x), 0.5, training=True).mean((2, 3))

    player, image = player_of(Uncertain(), 1, 8, 8)
    node = player.graph.nodes[":mul"]
    assert (node.kind, node.label) == ("multiply", "dropout, on")
    assert "always the same ones" in node.text
    logits = player.result("a", image).logits
    torch.rand(7)  # others draw numbers in between
    result = player.result("b", image, outputs=[":mul"], arguments=[":mul"])
    assert torch.equal(result.logits, logits)
    assert 0.3 < float((result.outputs[":mul"] == 0).float().mean()) < 0.7
    reply = work_out(
        "mul", result.arguments[":mul"], result.outputs[":mul"], [0, 0, 0], player.graph.sources[node.position]
    )
    assert [operand["from"] for operand in reply["operands"]] == ["conv", "random mask"]


def test_what_is_written_into_a_part_of_an_output_is_taken_with_it() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            x[:, 1] = x[:, 2] * 2
            return F.relu(x).mean((2, 3))

    player, image = player_of(Written(), 1, 3, 3)
    nodes = player.graph.nodes
    assert nodes[":relu"].feeds == ("conv", ":mul")
    outputs = player.result("a", image, outputs=[":relu", "conv"]).outputs
    assert torch.equal(outputs[":relu"][:, 1], F.relu(outputs["conv"][:, 2] * 2))


def test_of_complex_numbers_the_size_is_shown() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x) * (1 + 2j), s=x.shape[-2:]).mean((2, 3))

    player, image = player_of(Spectrum(), 2, 4, 4)
    address, node = next(iter(player.graph.nodes.items()))
    assert node.label == "Fourier transform"
    assert "complex numbers" in node.text
    result = player.result("a", image, outputs=[address, ":mul"], arguments=[":mul"])
    torch.testing.assert_close(result.outputs[address], torch.fft.rfft2(image).abs())
    reply = work_out("mul", result.arguments[":mul"], result.outputs[":mul"], [0, 0, 0], {"self": address})
    assert reply["how"] == "opaque"
    assert "complex" in reply["sentence"]


def test_a_module_whose_weight_is_computed_is_one_node() -> None:
    parametrizations = nn.utils.parametrizations
    model = Pooled(parametrizations.weight_norm(nn.Conv2d(1, 3, 3)), parametrizations.spectral_norm(nn.Conv2d(3, 2, 3)))
    nodes = player_of(model, 1, 8, 8)[0].graph.nodes
    assert [(address, node.kind) for address, node in nodes.items()][:2] == [("layers.0", "conv"), ("layers.1", "conv")]
