"""Drawings of networks: every layer is there, branches and shortcuts are what they are, nothing overlaps."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Polygon
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import figures, zoo
from cnnlab.diagram import draw
from cnnlab.diagram.from_summary import diagram
from cnnlab.diagram.items import Box, Diagram, Item, Parallel, Series, Tangle
from cnnlab.diagram.page import block_diagram
from cnnlab.zoo import summary


def drawn(model: str | nn.Module, inputs: object = None) -> Diagram:
    return diagram(summary(model, inputs))


def boxes(item: Item, times: int = 1) -> Iterator[tuple[Box, int]]:
    """Every box with how often it comes."""
    times *= item.times
    if isinstance(item, Box):
        yield item, times
    elif isinstance(item, Tangle):
        for box in item.boxes:
            yield box, times * box.times
    else:
        for each in item.items if isinstance(item, Series) else (*item.branches, *([item.join] if item.join else [])):
            yield from boxes(each, times)


def items(item: Item, kind: type) -> list[Item]:
    found = [item] if isinstance(item, kind) else []
    inside = item.items if isinstance(item, Series) else item.branches if isinstance(item, Parallel) else ()
    return found + [inner for each in inside for inner in items(each, kind)]


def labels(found: Diagram) -> list[str]:
    return [box.label for box, times in boxes(found.body) for _ in range(times)]


def slow(*cases: tuple[object, ...]) -> list[object]:
    """The cases, marked slow: one per kind of network runs by default."""
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


# What is drawn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gates"),
    [
        ("lenet5", 0),
        ("resnet18", 0),
        ("mobilenet_v3_small", 9),
        *slow(("alexnet", 0), ("vgg16", 0), ("resnet50", 0), ("densenet121", 0), ("mobilenet_v2", 0)),
        *slow(("efficientnet_b0", 16), ("convnext_tiny", 0), ("googlenet", 0)),
    ],
)
def test_every_layer_with_weights_is_drawn_once(name: str, gates: int) -> None:
    result = summary(name)
    found = diagram(result)
    counted = [(box.kind, times) for box, times in boxes(found.body)]
    layers = [op for op in result.trace.ops if op.name in ("convolution", "addmm", "mm")]
    with_weights = sum(times for kind, times in counted if kind in ("conv", "depthwise", "dense"))
    assert sum(times for kind, times in counted if kind == "attention") == gates
    assert with_weights + 2 * gates == len(layers)
    assert [item.stage for item in found.body.items if item.stage] == list(zoo.create_model(name).stages)


def test_labels_say_what_a_layer_does() -> None:
    assert labels(drawn("lenet5")) == [
        "5x5 conv, 6", "2x2 average pool, /2", "5x5 conv, 16", "2x2 average pool, /2", "dense, 120", "dense, 84",
        "dense, 10",
    ]  # fmt: skip
    model = nn.Sequential(
        nn.Conv2d(4, 8, (1, 7), (1, 2), groups=2, dilation=(1, 2)), nn.GroupNorm(2, 8), nn.SiLU(),
        nn.Conv2d(8, 8, 3, groups=8), nn.ConvTranspose2d(8, 3, 4, 2), nn.Upsample(scale_factor=2),
        nn.AdaptiveMaxPool2d((2, 3)),
    )  # fmt: skip
    found = drawn(model, (1, 4, 32, 32))
    assert [(box.label, box.kind, box.note) for box, _ in boxes(found.body)] == [
        ("1x7 conv, 8, 2 groups, dilation 1, /1x2", "conv", "GN, SiLU"),
        ("3x3 depthwise, 8", "depthwise", ""),
        ("4x4 transposed conv, 3, x2", "conv", ""),
        ("resize to 124x36", "resize", ""),
        ("max pool to 2x3", "pool", ""),
    ]
    assert found.input == "4x32x32"


def test_shortcuts_and_repeats_of_resnet() -> None:
    found = drawn("resnet50").body.items
    blocks = [item for item in found if isinstance(item, Parallel)]
    assert [block.times for block in blocks] == [1, 2, 1, 3, 1, 5, 1, 2]
    for block in blocks:
        assert block.join is not None
        assert (block.join.label, block.join.note) == ("add", "ReLU")
        lengths = sorted(len(branch.items) for branch in block.branches)
        assert lengths == ([0, 3] if block.times > 1 else [1, 3])
    assert [(item.stage, item.shape) for item in found if item.stage][:3] == [
        ("stem", "64x56x56"), ("stage1", "256x56x56"), ("stage2", "512x28x28"),
    ]  # fmt: skip


def test_branches_of_inception_stand_side_by_side() -> None:
    blocks = [item for item in drawn("googlenet").body.items if isinstance(item, Parallel)]
    assert len(blocks) == 9
    assert all(len(block.branches) == 4 and block.join and block.join.label == "concat" for block in blocks)
    first = [[box.label for box in branch.items if isinstance(box, Box)] for branch in blocks[0].branches]
    assert first == [
        ["1x1 conv, 64"], ["1x1 conv, 96", "3x3 conv, 128"], ["1x1 conv, 16", "3x3 conv, 32"],
        ["3x3 max pool", "1x1 conv, 32"],
    ]  # fmt: skip


def test_dense_blocks_are_repeated_concatenations() -> None:
    blocks = [item for item in drawn("densenet121").body.items if isinstance(item, Parallel)]
    assert [block.times for block in blocks] == [6, 12, 24, 16]
    for block in blocks:
        (layers, shortcut) = sorted(block.branches, key=lambda branch: -len(branch.items))
        assert [(box.label, box.before) for box in layers.items if isinstance(box, Box)] == [
            ("1x1 conv, 128", "BN, ReLU"), ("3x3 conv, 32", ""),
        ]  # fmt: skip
        assert not shortcut.items
        assert block.join is not None
        assert block.join.label == "concat"


def test_dense_blocks_that_concatenate_everything_at_once_look_the_same() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(2 + 2 * i, 2, 3, padding=1) for i in range(5))

        def forward(self, x: Tensor) -> Tensor:
            maps = [x]  # (N, 2, H, W)
            for conv in self.convs:
                maps.append(conv(torch.cat(maps, 1)))
            return torch.cat(maps, 1)  # (N, 12, H, W)

    (block,) = drawn(Dense(), (1, 2, 8, 8)).body.items
    assert isinstance(block, Parallel)
    assert (block.times, block.join and block.join.label) == (5, "concat")


@pytest.mark.slow
def test_cells_of_nasnet_are_drawn_beside_the_line_that_names_them() -> None:
    found = drawn("nasnet_mobile")
    (cells,) = items(found.body, Tangle)
    assert isinstance(cells, Tangle)
    assert sum(box.times for box in cells.boxes) == 16
    assert [box.times for box in cells.boxes if box.times > 1] == [3, 3, 3]
    titles = [title for title, _ in found.details]
    assert {box.label.split(",")[0] for box in cells.boxes} == set(titles)
    assert [box.stage for box in cells.boxes if box.stage] == ["stem", "stage1", "stage2", "stage3"]
    normal = dict(found.details)[cells.boxes[3].label.split(",")[0]]
    assert isinstance(normal, Tangle)
    counts = [box.label for box in normal.boxes]
    assert (counts.count("5x5 sep. conv x2"), counts.count("3x3 sep. conv x2"), counts.count("add")) == (2, 3, 5)
    assert normal.entries == ("two before", "the one before") or normal.entries == ("the one before", "two before")


def test_any_module_can_be_drawn() -> None:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2 = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
            self.up1, self.up2 = nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(8, 1, 1)

        def forward(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
            a = F.relu(self.down1(x), inplace=True)  # (N, 4, H / 2, W / 2)
            b = self.up1(self.down2(a))  # (N, 4, H / 2, W / 2)
            return self.up2(torch.cat([a, b], 1)), a * other  # (N, 1, H / 2, W / 2)

    found = drawn(UNet(), [(1, 1, 16, 16), (1, 1, 8, 8)])
    assert {"3x3 conv, 4, /2", "2x2 transposed conv, 4, x2", "1x1 conv, 1", "concat", "multiply"} <= set(labels(found))
    assert found.input == "1x16x16 + 1x8x8"
    attention = drawn(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 5, 8))
    assert "attention, 2 heads" in labels(attention)
    for each in (found, attention, drawn(nn.Identity(), (1, 1, 4, 4)), drawn(nn.ReLU(), (1, 3))):
        assert figures.to_png(block_diagram(each), dpi=40).startswith(b"\x89PNG")


class Gated(nn.Module):
    """A map times what is made of it."""

    def __init__(self, layers: nn.Module, gate: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layers, self.gate = layers, gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.layers, x).sigmoid()


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4))


@pytest.mark.parametrize(
    ("layers", "gate", "expected"),
    [
        (
            dense(),
            lambda mlp, x: (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[:, :, None, None],
            ["global average pool", "dense, 2", "dense, 4", "global max pool", "dense, 2", "dense, 4", "add"],
        ),
        (
            nn.Conv2d(2, 1, 7, padding=3),
            lambda conv, x: conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)),
            ["mean", "amax", "concat", "7x7 conv, 1"],
        ),
        (nn.Identity(), lambda _, x: x.mean((2, 3), keepdim=True), ["global average pool", "sigmoid"]),
        (
            nn.Conv2d(4, 4, 1),
            lambda conv, x: conv(x.mean((2, 3), keepdim=True)),
            ["global average pool", "1x1 conv, 4"],
        ),
    ],
    ids=["channels of CBAM", "places of CBAM", "no layer", "one layer"],
)
def test_gates_other_than_squeeze_excitation_are_drawn_as_they_are(
    layers: nn.Module, gate: Callable[[nn.Module, Tensor], Tensor], expected: list[str]
) -> None:
    found = drawn(Gated(layers, gate), (1, 4, 8, 8))
    assert sorted(labels(found)) == sorted([*expected, "multiply"])
    assert figures.to_png(block_diagram(found), dpi=40).startswith(b"\x89PNG")


def test_a_gate_of_two_layers_is_squeeze_excitation() -> None:
    found = drawn(Gated(dense(), lambda mlp, x: mlp(x.mean((2, 3)))[:, :, None, None]), (1, 4, 8, 8))
    assert labels(found) == ["squeeze-excitation, 2"]


# The page ----------------------------------------------------------------------------------------------------------


def page(figure: Figure) -> tuple[list[tuple[float, float, float, float]], list[FancyBboxPatch]]:
    """Return left, top, right, bottom of every box of a layer, in inches, and the patches."""
    patches = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch) and p.get_zorder() == 3]
    places = [(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in patches]
    return places, patches


@pytest.mark.parametrize(
    "name",
    [
        *("lenet5", "resnet18", "googlenet"),
        *slow(
            ("vgg16",),
            ("inception_v3",),
            ("densenet121",),
            ("efficientnet_b0",),
            ("nasnet_mobile",),
            ("pnasnet5_large",),
        ),
    ],
)
def test_boxes_do_not_overlap_and_hold_their_texts(name: str) -> None:
    figure = draw(summary(name))
    width, height = figure.get_size_inches()
    places, _ = page(figure)
    assert all(left > 0 and top > 0 and right < width and bottom < height for left, top, right, bottom in places)
    for a, b in itertools.combinations(places, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        behind = abs(abs(a[0] - b[0]) - 0.035) < 1e-6 and abs(abs(a[1] - b[1]) - 0.035) < 1e-6  # "x3": two sheets
        assert apart or behind, (a, b)
    renderer = FigureCanvasAgg(figure).get_renderer()
    dpi = figure.get_dpi()
    extents = []
    for text in figure.axes[0].texts:
        box = text.get_window_extent(renderer)
        extents.append((box.x0 / dpi, height - box.y1 / dpi, box.x1 / dpi, height - box.y0 / dpi))
        assert box.x0 >= 0, text.get_text()
        assert box.x1 / dpi <= width, text.get_text()
    for text, (left, top, right, bottom) in zip(figure.axes[0].texts, extents, strict=True):
        middle = (left + right) / 2, (top + bottom) / 2
        for box_left, box_top, box_right, box_bottom in places:
            if box_left < middle[0] < box_right and box_top < middle[1] < box_bottom:
                assert box_left <= left, text.get_text()
                assert right <= box_right, text.get_text()


def test_lines_of_a_tangle_end_at_a_sign_with_words_beside_it() -> None:
    tangle = Tangle(
        (*(Box(f"dense, {i}", kind="dense") for i in range(2)), Box("add", "sigmoid", kind="join")),
        ((-1, 0), (-1, 1), (0, 2), (1, 2)),
    )
    figure = block_diagram(Diagram("sum", "8", Series((tangle,))))
    (sign,) = (patch for patch in figure.axes[0].patches if isinstance(patch, Circle))
    heads = [patch.get_xy()[0] for patch in figure.axes[0].patches if isinstance(patch, Polygon)]
    top = (sign.center[0], sign.center[1] - sign.radius)
    assert sum(bool(np.allclose(head, top)) for head in heads) == 2


def test_drawing_is_a_picture_on_its_own(tmp_path: Path) -> None:
    path = figures.save(draw(summary("resnet18", image_size=32, num_classes=10)), tmp_path / "resnet18.svg")
    root = ElementTree.parse(path).getroot()
    assert root.tag.endswith("svg")
    assert not [
        e for e in root.iter() if any(k.endswith("href") and not v.startswith("#") for k, v in e.attrib.items())
    ]
    inside = figures.to_svg(draw(summary("lenet5")))
    assert "5x5 conv, 6" in inside
    assert "input" in inside


def test_words_on_the_page() -> None:
    figure = draw(summary("mobilenet_v3_small"))
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[:2] == ["mobilenet_v3_small", "2,542,856 parameters, 56.5M MACs"]
    for word in (
        "input",
        "3x224x224",
        "stage4",
        "576x7x7",
        "x2",
        "depthwise convolution",
        "attention, gate",
        "pooling",
    ):
        assert word in words
    assert "resizing" not in words, "the legend explains what is there"


def test_a_long_network_is_broken_into_columns_after_stages() -> None:
    tall = Series(tuple(Box(f"3x3 conv, {i}", stage=f"s{i}" if i % 6 == 5 else "", shape="8x8") for i in range(60)))
    figure = block_diagram(Diagram("tall", "1x8x8", tall))
    width, height = figure.get_size_inches()
    assert 0.5 < width / height < 2
    places, _ = page(figure)
    columns = sorted({round(left, 2) for left, *_ in places})
    assert len(columns) > 2
