"""NASNet-A: large (6 @ 4032) and mobile (4 @ 1056).

Barret Zoph, Vijay Vasudevan, Jonathon Shlens, Quoc V. Le: Learning transferable architectures for scalable image
recognition. CVPR 2018. https://arxiv.org/abs/1707.07012

Introduced: a search, by a recurrent network that is rewarded for accuracy on CIFAR-10, not for a whole network but for
two small cells, which are then stacked for images of any size. A cell is a table (figure 4): five sums of two
operations each, on the outputs of the two cells before it or on earlier sums.
Reported (ImageNet validation, one crop): top-1 error 17.3 %, top-5 3.8 % for large at 331x331 (table 2); 26.0 % and
8.4 % for mobile at 224x224 (table 3).

Deviations from the paper: no auxiliary head. ``drop_path`` drops each operation of a cell, the deeper the more often,
but does not grow over the training as the paper's ScheduledDropPath. Images up to 64x64 get the paper's stem for CIFAR,
one 3x3 convolution and no reduction cells, at the width that the variant's stem has; the cells stay as wide as for
ImageNet. Parameter names are timm's, for mobile those of the public checkpoint by Remi Cadene, which counts the cells
as large does and skips 4, 5, 10 and 11. As in both, BatchNorm has momentum 0.1 (the authors: 0.0003). Padding
is TensorFlow's, on which published weights rely; in large, as in timm, average pooling of stride 2 counts its zeros.
Initialisation: He et al. 2015, fan-in (the authors: fan-out, which BatchNorm makes the same at the start).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.zoo._layers import DropPath
from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Paper, Pretrained, Rate, Variant

Match = Literal["squeeze", "halve", "nothing"]  # how p is brought to the size and width of h
Input = int | str  # "h": the input of the cell; "p": that of the cell before it; a number: the sum in that row


class Table(NamedTuple):
    """A cell: rows of (operation, input) + (operation, input), and which values are concatenated at the end."""

    rows: tuple[tuple[tuple[str, Input], tuple[str, Input]], ...]
    joined: tuple[Input, ...]


NORMAL = Table(  # figure 4, left
    rows=(
        (("sep5", "h"), ("sep3", "p")),
        (("sep5", "p"), ("sep3", "p")),
        (("avg3", "h"), ("same", "p")),
        (("avg3", "p"), ("avg3", "p")),
        (("sep3", "h"), ("same", "h")),
    ),
    joined=("p", 0, 1, 2, 3, 4),
)
REDUCTION = Table(  # figure 4, right; operations on h and p have stride 2
    rows=(
        (("sep5", "h"), ("sep7", "p")),
        (("max3", "h"), ("sep7", "p")),
        (("avg3", "h"), ("sep5", "p")),
        (("same", 1), ("avg3", 0)),
        (("sep3", 0), ("max3", "h")),
    ),
    joined=(1, 2, 3, 4),
)


def norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm with the authors' epsilon."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class SamePad(nn.Module):
    """Pad for a window of stride 2, so that S pixels become ceil(S / 2); the odd one at the bottom and on the right."""

    def __init__(self, kernel: int, value: float = 0.0) -> None:
        super().__init__()
        self.kernel, self.value = kernel, value

    def forward(self, x: Tensor) -> Tensor:
        right, bottom = (self.kernel - 2 + size % 2 for size in (x.shape[3], x.shape[2]))
        padding = (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2)
        return F.pad(x, padding, value=self.value)  # (N, C, S + kernel - 2 or - 1, S + kernel - 2 or - 1)


class AveragePool(nn.Module):
    """Average 3x3 pixels with stride 2; at the edge, those that exist, or with zeros in place of the others."""

    counts_zeros = False

    def __init__(self) -> None:
        super().__init__()
        self.pad = SamePad(3)

    def forward(self, x: Tensor) -> Tensor:
        average = F.avg_pool2d(self.pad(x), 3, 2)  # (N, C, S / 2, S / 2)
        if self.counts_zeros:
            return average  # (N, C, S / 2, S / 2)
        return average / F.avg_pool2d(self.pad(torch.ones_like(x[:1, :1])), 3, 2)  # (N, C, S / 2, S / 2)


class Squeeze(nn.Module):
    """ReLU, a 1x1 convolution and BatchNorm."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        self.bn = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(self.act(x)))  # (N, channels, S / stride, S / stride)


class SeparableConv(nn.Module):
    """A depthwise convolution, then a 1x1 convolution."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.pad = SamePad(kernel) if stride == 2 else nn.Identity()
        padding = 0 if stride == 2 else kernel // 2
        self.depthwise_conv2d = nn.Conv2d(
            in_channels, in_channels, kernel, stride, padding, groups=in_channels, bias=False
        )
        self.pointwise_conv2d = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv2d(self.depthwise_conv2d(self.pad(x)))  # (N, channels, S / stride, S / stride)


class TwiceSeparable(nn.Module):
    """Twice ReLU, a separable convolution and BatchNorm."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.act_1 = nn.ReLU()
        self.separable_1 = SeparableConv(in_channels, channels, kernel, stride)
        self.bn_sep_1 = norm(channels)
        self.act_2 = nn.ReLU(inplace=True)
        self.separable_2 = SeparableConv(channels, channels, kernel, stride=1)
        self.bn_sep_2 = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn_sep_1(self.separable_1(self.act_1(x)))  # (N, channels, S / stride, S / stride)
        return self.bn_sep_2(self.separable_2(self.act_2(x)))  # (N, channels, S / stride, S / stride)


def operation(name: str, in_channels: int, channels: int, stride: int) -> nn.Module:
    """Return the layers that a word of a table names: "sep5" is a separable 5x5 convolution, "avg3" 3x3 pooling."""
    match name, stride:
        case "same", 1:
            return nn.Identity()
        case "same", _:
            return Squeeze(in_channels, channels, stride)
        case "max3", 1:
            return nn.MaxPool2d(3, 1, padding=1)
        case "max3", _:
            return nn.Sequential(SamePad(3, -torch.inf), nn.MaxPool2d(3, stride))
        case "avg3", 1:
            return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
        case "avg3", _:
            return AveragePool()
    return TwiceSeparable(in_channels, channels, int(name.removeprefix("sep")), stride)


class TableCell(nn.Module):
    """The sums of a table; a subclass brings ``h`` and ``p`` to one size and width."""

    def __init__(self, table: Table, drop_path: float) -> None:
        super().__init__()
        self.table = table
        self.drop_path = DropPath(drop_path)

    def add_operations(self, previous: int, channels: int, stride: int) -> None:
        """Build them: ``p`` has ``previous`` channels, ``h`` has ``channels``, and both shrink by ``stride``."""
        for i, row in enumerate(self.table.rows):
            for side, (word, source) in zip(("left", "right"), row, strict=True):
                layers = operation(
                    word, previous if source == "p" else channels, channels, stride if source in ("h", "p") else 1
                )
                self.add_module(f"comb_iter_{i}_{side}", layers)

    def combine(self, h: Tensor, p: Tensor) -> Tensor:
        values: dict[Input, Tensor] = {"h": h, "p": p}
        for i, row in enumerate(self.table.rows):
            results = []
            for side, (word, source) in zip(("left", "right"), row, strict=True):
                result = self.get_submodule(f"comb_iter_{i}_{side}")(values[source])
                results.append(result if word == "same" else self.drop_path(result))
            values[i] = results[0] + results[1]
        return torch.cat([values[key] for key in self.table.joined], 1)


class Halving(nn.Module):
    """ReLU and two 1x1 convolutions of stride 2, the second one pixel further on, side by side; then BatchNorm."""

    def add_paths(self, in_channels: int, channels: int) -> None:
        self.act = nn.ReLU()
        self.path_1 = nn.Sequential(OrderedDict(conv=nn.Conv2d(in_channels, channels // 2, 1, 2, bias=False)))
        self.path_2 = nn.Sequential(
            OrderedDict(pad=nn.ZeroPad2d((-1, 1, -1, 1)), conv=nn.Conv2d(in_channels, channels // 2, 1, 2, bias=False))
        )
        self.final_path_bn = norm(channels)

    def halve(self, x: Tensor) -> Tensor:
        x = self.act(x)
        return self.final_path_bn(torch.cat([self.path_1(x), self.path_2(x)], 1))


class Cell(TableCell, Halving):
    """A cell of NASNet-A; ``p`` is halved where a reduction lies between the two inputs."""

    def __init__(
        self, table: Table, previous: int, current: int, channels: int, match: Match, drop_path: float
    ) -> None:
        super().__init__(table, drop_path)
        self.match = match
        if match == "squeeze":
            self.conv_prev_1x1 = Squeeze(previous, channels)
        self.conv_1x1 = Squeeze(current, channels)
        if match == "halve":
            self.add_paths(previous, channels)
        self.add_operations(previous if match == "nothing" else channels, channels, 2 if table is REDUCTION else 1)

    def forward(self, p: Tensor, h: Tensor) -> Tensor:
        if self.match == "squeeze":
            p = self.conv_prev_1x1(p)  # (N, channels, S, S)
        elif self.match == "halve":
            p = self.halve(p)  # (N, channels, S, S)
        h = self.conv_1x1(h)  # (N, channels, S, S)
        return self.combine(h, p)  # (N, 6 * channels, S, S), or (N, 4 * channels, S / 2, S / 2)


class NASNet(Network):
    """A stem, three stacks of normal cells with reduction cells between them, and a dense head.

    Args:
        repeats: number of normal cells per stack.
        width: number of channels of an operation in the first stack.
        stem_width: number of channels of the first convolution.
        skip: whether the cell after a reduction takes as ``p`` the input ``p`` of the reduction, not its ``h``.
        counts_zeros: whether average poolings of stride 2 count the padding.

    Options:
        dropout: rate before the last layer.
        drop_path: probability of dropping an operation of the last cell in training, less in earlier ones; the authors
            raise it to 0.3 over a training.
    """

    def __init__(
        self,
        repeats: int,
        width: int,
        stem_width: int,
        skip: bool,
        counts_zeros: bool,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        dropout: Rate = 0.5,
        drop_path: Rate = 0.0,
    ) -> None:
        super().__init__()
        small = image_size <= SMALL_IMAGE
        stride, padding = (1, 1) if small else (2, 0)
        conv = nn.Conv2d(in_channels, stem_width, 3, stride, padding, bias=False)
        self.conv0 = nn.Sequential(OrderedDict(conv=conv, bn=norm(stem_width)))
        plan = [] if small else [("cell_stem_0", REDUCTION, width // 4), ("cell_stem_1", REDUCTION, width // 2)]
        for i in (0, 1, 2):
            plan += [(f"cell_{6 * i + j}", NORMAL, 2**i * width) for j in range(repeats)]
            plan += [(f"reduction_cell_{i}", REDUCTION, 2 ** (i + 1) * width)] if i < 2 else []
        self.cells = [(name, skip and name.startswith("reduction")) for name, _, _ in plan]
        p = h = (stem_width, 0)  # channels and number of halvings
        for i, (name, table, channels) in enumerate(plan):
            match: Match = "nothing" if name == "cell_stem_0" else "halve" if p[1] < h[1] else "squeeze"
            self.add_module(name, Cell(table, p[0], h[0], channels, match, drop_path * (i + 1) / len(plan)))
            p = p if self.cells[i][1] else h
            h = (len(table.joined) * channels, h[1] + (table is REDUCTION))
        self.act = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(h[0], num_classes)
        he_init_fan_in(self)
        for module in self.modules():
            if isinstance(module, AveragePool):
                module.counts_zeros = counts_zeros
        ends = {"stage1": f"cell_{repeats - 1}", "stage2": f"cell_{repeats + 5}", "stage3": "act"}
        self.stages: Mapping[str, str] = {"stem": "conv0" if small else "cell_stem_1", **ends, "head": "last_linear"}

    def forward(self, x: Tensor) -> Tensor:
        """Shapes are for large at 331x331: 42x42 pixels in the first stack, 21x21 in the second, 11x11 in the third."""
        p = x = self.conv0(x)  # (N, 96, 165, 165)
        for name, keeps_p in self.cells:
            after = self.get_submodule(name)(p, x)  # (N, 1008, 42, 42) in the first stack
            p, x = p if keeps_p else x, after
        x = self.act(x).mean((2, 3))  # (N, 4032)
        return self.last_linear(self.dropout(x))  # (N, num_classes)


def he_init_fan_in(model: nn.Module) -> None:
    """He et al. 2015, fan-in: of the nine inputs of a 3x3 depthwise filter, not of all the outputs of its layer."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


PAPER = Paper(
    "Zoph, Vasudevan, Shlens, Le: Learning transferable architectures for scalable image recognition",
    year=2017,
    url="https://arxiv.org/abs/1707.07012",
    introduced="Cells found by a search on CIFAR-10, stacked for images of any size.",
    min_size=8,
    small="with a 3x3 stem",
    protocol="one crop",
)

nasnet_large = PAPER.register(
    partial(NASNet, 6, 168, 96, True, True),
    Variant(
        "nasnet_large",
        "NASNet-A large, 6 @ 4032",
        parameters=88_753_150,
        macs=23_783_414_658,
        errors=(17.3, 3.8),
        image_size=331,
        aliases=("nasnetalarge",),
    ),
    Pretrained(
        "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/nasnetalarge-dc4a7b8b.pth",
        top1=82.626,
        size=331,
        resize=363,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
)
nasnet_mobile = PAPER.register(
    partial(NASNet, 4, 44, 32, False, False),
    Variant(
        "nasnet_mobile",
        "NASNet-A mobile, 4 @ 1056",
        parameters=5_289_978,
        macs=563_638_816,
        errors=(26.0, 8.4),
        aliases=("nasnetamobile",),
    ),
)
