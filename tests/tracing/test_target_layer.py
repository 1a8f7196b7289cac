"""The list of layers: what leaves them, what they see, and which one class activation maps take by themselves."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import explain, zoo
from cnnlab.errors import ModelError, UsageError
from cnnlab.explain import Probe
from cnnlab.tracing import Layer, list_layers, recording, target_layer
from cnnlab.zoo import create_model
from tests.explain.helpers_explain import OneConv, awkward, linear, random_image, state_of

IMAGE = torch.ones(1, 4, 4, dtype=torch.float64)


def chosen(model: nn.Module, *shape: int) -> str:
    default = list_layers(model, shape).default
    assert default is not None
    return default.name


def test_every_layer_that_runs_with_what_it_sees() -> None:
    model = awkward()
    before = state_of(model)
    rows = list_layers(model, random_image())
    assert state_of(model) == before
    assert [row.name for row in rows] == ["first", "norm", "twice", "relu", "last", "drop", "fc"]
    by_name = {row.name: row for row in rows}
    last = by_name["last"]
    assert (last.type, last.output, last.calls, last.grid, last.layout) == ("Conv2d", (1, 8, 8, 8), 1, (8, 8), "NCHW")
    # 3x3 four times: the field grows by two pixels each time; the last one has stride 2
    assert last.field is not None
    assert (last.field.size, last.field.stride) == ((9, 9), (2, 2))
    assert by_name["twice"].calls == 2
    assert by_name["relu"].calls == 3
    assert [row.name for row in rows.spatial] == ["first", "norm", "twice", "relu", "last"]
    assert rows.default is last
    assert not by_name["fc"].spatial


def test_the_table_in_text_and_html() -> None:
    rows = list_layers(create_model("lenet5", image_size=28), (1, 28, 28))
    text = repr(rows)
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "type", "output", "field", "stride", "calls", "spatial"]
    (conv,) = (line for line in lines if line.startswith("c1 "))
    assert conv.split() == ["c1", "Conv2d", "6x28x28", "5", "1", "1", "yes"]
    assert sum(line.endswith("default") for line in lines) == 1
    assert lines[-1].split()[-2:] == ["image", "1"]
    page = rows._repr_html_()
    assert page.count("<tr") == len(rows) + 1
    assert page.count("bold") == 1
    assert "<b>" not in list_layers(nn.ModuleDict({"<b>": OneConv()})["<b>"], (1, 2, 2))._repr_html_()


def test_inner_layers_stand_before_what_they_are_in() -> None:
    names = [row.name for row in list_layers(create_model("resnet18", image_size=32), (3, 32, 32))]
    assert names.index("layer4.1.relu") < names.index("layer4.1") < names.index("layer4") < names.index("fc")


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("resnet18", 224, "layer4"),
        ("vgg16", 224, "features.29"),  # not after the pooling
        ("squeezenet1_1", 224, "features"),  # not the convolution that is the classifier
        ("nin", 224, "features"),
        ("densenet121", 224, "relu"),
        ("mobilenet_v3_small", 224, "features"),  # squeeze-excitation has no positions
        pytest.param("efficientnet_lite0", 224, "relu2", marks=pytest.mark.slow),
        pytest.param("googlenet", 224, "inception5b", marks=pytest.mark.slow),
        pytest.param("inception_v3", 299, "Mixed_7c", marks=pytest.mark.slow),
        ("inception_v3", 75, "Mixed_6e"),  # Mixed_7 has one position; not a branch of it before
        ("mixer_s16", 224, "norm"),  # tokens
        ("lenet5", 32, "act3"),
    ],
)
def test_the_last_spatial_layer_of_networks_of_the_zoo(name: str, size: int, layer: str) -> None:
    with torch.device("meta"):
        model = create_model(name, image_size=size)
    assert chosen(model, model.arch["in_channels"], size, size) == layer


def test_the_size_of_the_image_decides() -> None:
    model = create_model("convnet", image_size=32)
    first, second = list_layers(model, (3, 32, 32)), list_layers(model, torch.zeros(1, 3, 48, 40))
    assert first.default is not None
    assert second.default is not None
    assert (first.default.grid, second.default.grid) == ((8, 8), (12, 10))


def test_a_network_that_is_one_convolution() -> None:
    assert chosen(nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 1, 8, 8) == "0"


def test_networks_without_positions_have_no_default() -> None:
    rows = list_layers(linear([[1.0, 2, 3, 4]]), (1, 2, 2))
    assert rows.default is None
    assert rows.spatial == ()


def test_not_a_branch_when_there_is_a_layer_that_everything_goes_through() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.fc = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.fc(torch.cat([self.left(x), self.right(x)], 1).mean((2, 3)))

    assert chosen(Branches(), 1, 8, 8) == "stem"


class ChannelsLast(nn.Module):
    """Works on (N, h, w, C), as Swin transformers do; the last map is that of ``mix``, a quarter as high and wide."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 5, 4, stride=4)
        self.mix = nn.Linear(5, 6)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.mix(self.patches(x).permute(0, 2, 3, 1)))
        return self.fc(x.mean((1, 2)))


def test_maps_whose_channels_come_last() -> None:
    model, image = ChannelsLast(), random_image(size=16)
    row = list_layers(model, image).default
    assert row is not None
    assert (row.name, row.layout, row.grid, row.output) == ("mix", "NHWC", (4, 4), (1, 4, 4, 6))
    probe = Probe(model, image, 1)
    assert probe.activation.shape == probe.gradient.shape == (1, 6, 4, 4)
    torch.testing.assert_close(probe.activation[0, :, 1, 2], model.mix(model.patches(image[None])[0, :, 1, 2]))


class Tokens(nn.Module):
    """A small vision transformer: patches of 4 x 4, with a token of the class, or without one and the mean instead."""

    def __init__(self, class_token: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8)) if class_token else None
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x.mean(1) if self.token is None else x[:, 0])


@pytest.mark.parametrize("class_token", [False, True])
def test_tokens_become_maps(class_token: bool) -> None:
    torch.manual_seed(0)
    model, image = Tokens(class_token), random_image(size=16)[:, :, :12]
    row = list_layers(model, image).default
    assert row is not None
    # After the last attention only the token of the class has a say.
    assert row.name == ("blocks.0" if class_token else "norm")
    assert (row.layout, row.grid, row.output) == ("tokens", (4, 3), (1, 12 + class_token, 8))
    probe = Probe(model, image, 1)
    assert probe.activation.shape == (1, 8, 4, 3)
    assert probe.gradient.abs().sum((0, 1)).min() > 0, "every patch has a say"
    with recording(model.eval(), [row.name]) as seen:
        model(image[None])
    assert torch.equal(probe.activation[0, :, 1, 2], seen[row.name][0, class_token + 5])
    assert explain.gradcam(model, image, 1).values.shape == (16, 12)


def test_a_network_is_followed_once_and_again_when_it_has_changed() -> None:
    passes = 0

    class Watching(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal passes
            passes += 1
            return super().forward(x)

    model = Watching(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    assert list_layers(model, (1, 8, 8)) is list_layers(model, torch.zeros(1, 1, 8, 8))
    assert passes == 1
    assert chosen(model, 1, 8, 8) == "1"
    model[1] = nn.Tanh()
    assert list_layers(model, (1, 8, 8))[1].type == "Tanh"
    assert passes == 2


def test_a_layer_that_was_changed_or_replaced_by_one_of_its_class_is_seen() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

    def now() -> tuple[object, ...]:
        rows = {row.name: row for row in list_layers(model, (1, 8, 8))}
        assert rows["0"].field is not None
        return rows["0"].output, rows["0"].field.stride, rows["4"].output, rows["4"].parameters

    assert now() == ((1, 4, 4, 4), (2, 2), (1, 5), 25)
    model[0].stride = (1, 1)
    assert now() == ((1, 4, 8, 8), (1, 1), (1, 5), 25)
    model[4] = nn.Linear(4, 9)
    assert now() == ((1, 4, 8, 8), (1, 1), (1, 9), 45)
    model[0] = nn.Conv2d(1, 4, 5, 4, 2, bias=False)
    assert now() == ((1, 4, 2, 2), (4, 4), (1, 9), 45)


def test_what_is_frozen_is_seen_without_another_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = OneConv()
    before = list_layers(model, IMAGE)
    assert {row.name: row.trainable for row in before} == {"conv": 4, "relu": 0, "pool": 0, "fc": 4}
    model.conv.requires_grad_(False)
    monkeypatch.setattr(target_layer, "trace", None)  # nothing is recorded from here on
    after = list_layers(model, IMAGE)
    assert {row.name: row.trainable for row in after} == {"conv": 0, "relu": 0, "pool": 0, "fc": 4}
    assert after.default is not None
    assert after.default is after[[row.name for row in after].index(after.default.name)]
    explain.gradcam(model.requires_grad_(True), IMAGE, 0)  # its parameters are frozen meanwhile
    assert list_layers(model, IMAGE) is before


def test_layers_that_were_first_listed_by_a_method_are_not_frozen() -> None:
    model = OneConv()
    explain.gradcam(model, IMAGE, 0)
    assert sum(row.trainable for row in list_layers(model, IMAGE)) == 8


def test_a_network_is_not_kept_alive() -> None:
    model = OneConv()
    explain.gradcam(model, np.ones((1, 2, 2)))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_bad_input() -> None:
    with pytest.raises(UsageError, match=r"an image \(C, H, W\) or its shape, not \(8, 8\)"):
        list_layers(OneConv(), (8, 8))
    with pytest.raises(UsageError, match="or its shape, not 5"):
        list_layers(OneConv(), 5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"must be a torch\.nn\.Module"):
        list_layers("resnet18", (3, 8, 8))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="cannot run on inputs of shape"):
        list_layers(awkward(), (5, 8, 8))


class Shuffled(nn.Module):
    """Channels of two branches are shuffled, as in ShuffleNet: neighbours in a map see parts of different size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.branch = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.stem(x).chunk(2, dim=1)
        x = torch.cat([left, self.branch(right)], dim=1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.fc(self.last(x).mean((2, 3)))


def test_shuffled_channels_stay_where_they_are() -> None:
    row = list_layers(Shuffled(), (3, 12, 16)).default
    assert row is not None
    assert (row.name, row.layout, row.grid) == ("last", "NCHW", (6, 8))
    assert row.field is not None
    assert row.field.size == (11, 11)  # 3 + 2 * (2 + 2)
    assert row.field.stride == (2, 2)


class Windows(nn.Module):
    """Attention inside shifted windows, channels last, as in Swin: what is seen has no even steps any more."""

    def __init__(self, side: int = 4) -> None:
        super().__init__()
        self.side = side
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.mix = nn.Linear(side * side, side * side)
        self.reduce = nn.Linear(32, 16)
        self.norm = nn.LayerNorm(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        s = self.side
        moved = x.roll((-1, -1), (1, 2)).reshape(n, h // s, s, w // s, s, c).transpose(2, 3)
        moved = self.mix(moved.reshape(-1, s * s, c).transpose(1, 2)).transpose(1, 2)
        moved = moved.reshape(n, h // s, w // s, s, s, c).transpose(2, 3).reshape(n, h, w, c)
        x = moved.roll((1, 1), (1, 2))
        x = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=-1)
        return self.fc(self.norm(self.reduce(x)).mean((1, 2)))


def test_a_map_with_the_proportions_of_the_image_is_found_when_its_positions_cannot_be_followed() -> None:
    model, image = Windows(), torch.randn(3, 32, 32)
    row = list_layers(model, image).default
    assert row is not None
    assert (row.name, row.layout, row.grid) == ("norm", "NHWC", (4, 4))
    answer = explain.gradcam(model, image, 1)
    assert answer.values.shape == (32, 32)
    assert answer.layer == "norm"
    assert explain.gradcam(model, image, 1, layer="reduce").values.any()


def test_old_names_say_the_new_ones() -> None:
    with pytest.warns(DeprecationWarning, match=r"cnnlab\.explain\.layers is now cnnlab\.tracing\.list_layers"):
        assert explain.layers is list_layers
    with pytest.warns(DeprecationWarning, match=r"cnnlab\.zoo\.LayerRow is now cnnlab\.tracing\.Layer"):
        assert zoo.LayerRow is Layer
