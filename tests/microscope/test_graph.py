"""The graph of a network, and passes with changed channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from cnnlab.errors import UnknownNameError, UsageError
from cnnlab.microscope.arithmetic.axes import to_view
from cnnlab.microscope.graph import INPUT
from cnnlab.microscope.passes import Change, Player
from cnnlab.tracing import Passes
from cnnlab.zoo import create_model, list_models


def player_of(name: str, size: int, channels: int = 3) -> tuple[Player, torch.Tensor]:
    torch.manual_seed(0)
    image = torch.randn(1, channels, size, size)
    return Player(create_model(name, image_size=size).eval(), image), image


def test_lenet_has_a_node_per_layer_and_its_flattening() -> None:
    player, _ = player_of("lenet5", 28, 1)
    nodes = player.graph.nodes
    assert list(nodes) == [
        "c1", "act1", "s2", "c3", "act3", "s4", ":flatten", "c5", "act5", "f6", "act6", "output"
    ]  # fmt: skip
    assert [node.kind for node in nodes.values()].count("dense") == 3
    assert nodes["c3"].shape == (16, 10, 10)
    assert nodes["c3"].feeds == ("s2",)
    assert nodes["c3"].parameters == 16 * 6 * 25 + 16
    assert nodes["c1"].feeds == (INPUT,)
    assert player.graph.output == "output"
    assert player.graph.sources[nodes["c3"].position] == {"input": "s2", "weight": "c3.weight", "bias": "c3.bias"}
    assert player.graph.sources[nodes["c5"].position] == {
        "self": "c5.bias", "mat1": ":flatten", "mat2": "c5.weight"
    }  # fmt: skip


def test_a_residual_block_adds_its_branch_and_its_shortcut() -> None:
    nodes = player_of("resnet20", 28)[0].graph.nodes
    assert nodes["layer1.0:add"].feeds == ("layer1.0.bn2", "relu")
    assert nodes["layer1.0:add"].kind == "add"
    assert nodes["layer1.0.relu#2"].feeds == ("layer1.0:add",)  # the module runs twice
    assert nodes["layer2.0:pad"].kind == "move"  # the shortcut without parameters skips pixels and adds channels


def test_a_move_is_a_node_only_where_channels_or_positions_change() -> None:
    class Moves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)
            self.drop = nn.Dropout()
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = self.drop(self.conv(x)).contiguous().view(x.shape[0], 4, 2, 2)
            shuffled = x.view(1, 2, 2, 2, 2).transpose(1, 2).reshape(1, 4, 2, 2)
            return self.last(shuffled).mean((2, 3))

    player = Player(Moves().eval(), torch.randn(1, 1, 2, 2))
    kinds = [(node.kind, node.feeds) for node in player.graph.nodes.values()]
    assert [kind for kind, _ in kinds] == ["conv", "move", "conv", "avgpool"]
    assert kinds[2][1] == (list(player.graph.nodes)[1],)


def test_outputs_are_those_of_torch() -> None:
    player, image = player_of("resnet20", 28)
    result = player.result("a", image, outputs=["layer2.1.conv1"])
    recorded: dict[str, torch.Tensor] = {}
    model = player.passes.model
    model.layer2[1].conv1.register_forward_hook(lambda m, i, o: recorded.update(out=o))
    with torch.no_grad():
        logits = model(image)[0]
    torch.testing.assert_close(result.outputs["layer2.1.conv1"], recorded["out"])
    torch.testing.assert_close(result.logits, logits)
    torch.testing.assert_close(result.logits, to_view(result.outputs[player.graph.output]).flatten())


@pytest.mark.parametrize(("factor", "address"), [(0.0, "layer1.1.conv2"), (-1.5, "layer2.0.bn1")])
def test_a_changed_channel_changes_the_answer_as_a_hook_of_torch_does(factor: float, address: str) -> None:
    player, image = player_of("resnet20", 28)
    changed = player.result("a", image, [Change(address, 3, factor)]).logits
    plain = player.result("a", image).logits
    model = player.passes.model

    def scale(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, 3] *= factor
        return output

    handle = model.get_submodule(address).register_forward_hook(scale)
    with torch.no_grad():
        expected = model(image)[0]
    handle.remove()
    torch.testing.assert_close(F.softmax(changed, 0), F.softmax(expected, 0), atol=1e-5, rtol=0)
    assert not torch.allclose(changed, plain)


def test_a_changed_channel_of_a_view_leaves_other_branches_as_they_are() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)
            self.last = nn.Linear(16, 3)

        def forward(self, images):
            x = self.conv(images)
            return self.last(x.transpose(1, 2).flatten(1)) + x.mean((2, 3))[:, :3]

    torch.manual_seed(0)
    model = Branches().eval()
    image = torch.randn(1, 1, 2, 2)
    player = Player(model, image)
    move = next(node for node in player.graph.nodes.values() if node.kind == "move")
    changed = player.result("a", image, [Change(move.id, 1, 0.0)]).logits
    with torch.no_grad():
        x = model.conv(image)
        moved = to_view(x.transpose(1, 2).flatten(1) if move.shape == (16,) else x.transpose(1, 2)).clone()
        moved[1] = 0
        expected = model.last(moved.reshape(1, 16)) + x.mean((2, 3))[:, :3]
    torch.testing.assert_close(changed, expected[0])


def test_arguments_are_those_before_an_operation_in_place() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 2)).eval()
    image = torch.randn(1, 1, 4, 4)
    player = Player(model, image)
    result = player.result("a", image, outputs=["1"], arguments=["1", "3"])
    with torch.no_grad():
        torch.testing.assert_close(result.arguments["1"]["self"], model[0](image))
    assert (result.outputs["1"] >= 0).all()
    assert torch.equal(result.arguments["3"]["mat2"], model[3].weight.T)


class InPlace(nn.Module):
    """Writes into its input, into a view and into what a view was taken of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.last = nn.Linear(8, 3)

    def forward(self, images):
        x = self.conv(images.mul_(2))
        part = x[:, :1]
        part.mul_(3)
        flat = x.flatten(1)
        x.add_(1)
        return self.last(torch.relu_(flat))


def test_the_pass_that_finds_the_graph_gives_the_same_as_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    run = Passes.run
    monkeypatch.setattr(Passes, "run", lambda self, *given: (runs.append(1), run(self, *given))[1])
    torch.manual_seed(0)
    for model, image in ((InPlace(), torch.randn(1, 1, 4, 4)), (create_model("resnet20"), torch.randn(1, 3, 32, 32))):
        model.eval()
        first, later = Player(model, image, "a"), Player(model, image)
        runs.clear()
        one = first.result("a", image, outputs=list(first.graph.nodes), arguments=list(first.graph.nodes))
        assert not runs
        two = later.result("a", image, outputs=list(later.graph.nodes), arguments=list(later.graph.nodes))
        assert runs == [1]
        assert torch.equal(one.logits, two.logits)
        assert list(one.thumbnails) == list(two.thumbnails)
        for address in first.graph.nodes:
            assert np.array_equal(one.thumbnails[address].pixels, two.thumbnails[address].pixels)
            assert torch.equal(one.outputs[address], two.outputs[address])
            pairs = zip(tree_leaves(one.arguments[address]), tree_leaves(two.arguments[address]), strict=True)
            assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_numbers_before_a_writing_into_a_view_stay() -> None:
    model, image = InPlace().eval(), torch.randn(1, 1, 4, 4)
    player = Player(model, image, "a")
    outputs = player.result("a", image, outputs=list(player.graph.nodes)).outputs
    with torch.no_grad():
        conv = model.conv(2 * image)
        torch.testing.assert_close(outputs["conv"], conv)
        torch.testing.assert_close(outputs[":mul"], 2 * image)


def test_a_first_pass_without_room_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.microscope.passes.KEPT_BYTES", 4000)
    model, image = create_model("lenet5", image_size=28).eval(), torch.randn(1, 1, 28, 28)
    player = Player(model, image, "a")
    assert not player._results
    with torch.no_grad():
        torch.testing.assert_close(player.result("a", image).logits, model(image)[0])


def test_what_is_not_there_is_named() -> None:
    player, image = player_of("lenet5", 28, 1)
    with pytest.raises(UnknownNameError, match="c11"):
        player.result("a", image, outputs=["c11"])
    with pytest.raises(UsageError, match="channels 0 to 5, not 6"):
        player.result("a", image, [Change("c1", 6, 0.0)])


def test_passes_that_no_longer_fit_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.microscope.passes.KEPT_BYTES", 4000)
    player, image = player_of("lenet5", 28, 1)
    for number in range(20):
        player.result(number, image, outputs=["c1"])
    assert len(player._results) == 1
    assert sum(result.bytes for result in player._results.values()) < 60_000


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_network_has_a_graph(name: str) -> None:
    for size in (28, 32, 64, 75):
        try:
            model = create_model(name, image_size=size).eval()
            image = torch.randn(1, model.arch.get("in_channels", 3), size, size)
            player = Player(model, image)
            break
        except Exception:
            if size == 75:
                raise
    graph = player.graph
    order = {address: number for number, address in enumerate([INPUT, *graph.nodes])}
    for node in graph.nodes.values():
        assert node.feeds
        assert all(order[feed] < order[node.id] for feed in node.feeds), node
        assert node.kind != "opaque", node
    used = {id(p): p.numel() for p in model.parameters()}
    unused = sum(used.values()) - sum(node.parameters for node in graph.nodes.values())
    assert unused >= 0
    assert (unused > 0) == (name in ("googlenet", "inception_v3")), unused  # auxiliary heads do not run
    with torch.no_grad():
        torch.testing.assert_close(player.result("a", image).logits, model(image)[0], atol=1e-4, rtol=1e-4)


def test_both_pieces_of_a_split_are_nodes_with_their_own_numbers() -> None:
    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)

        def forward(self, x):
            first, second = self.conv(x).chunk(2, 1)
            return torch.cat([second, first], 1).mean((2, 3))

    image = torch.randn(1, 1, 3, 3)
    player = Player(Swapped().eval(), image)
    result = player.result("image", image, outputs=list(player.graph.nodes))
    pieces = {node.output: address for address, node in player.graph.nodes.items() if node.kind == "move"}
    assert torch.equal(result.outputs[pieces[0]], result.outputs["conv"][:, :2])
    assert torch.equal(result.outputs[pieces[1]], result.outputs["conv"][:, 2:])
    changed = player.result("image", image, [Change(pieces[1], 1, 0.0)], outputs=[":cat"]).outputs[":cat"]
    assert (changed[0].abs().sum((1, 2)) == 0).tolist() == [False, True, False, False]
