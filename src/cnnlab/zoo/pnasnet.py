"""PNASNet-5 large.

Chenxi Liu, Barret Zoph, Maxim Neumann, Jonathon Shlens, Wei Hua, Li-Jia Li, Li Fei-Fei, Alan Yuille, Jonathan Huang,
Kevin Murphy: Progressive neural architecture search. ECCV 2018. https://arxiv.org/abs/1712.00559

Introduced: a search that grows cells sum by sum and lets a learned predictor of accuracy choose which to train, about
five times fewer than NASNet's search. One cell serves for everything: with stride 2 it is the reduction cell.
Reported (ImageNet validation, one 331x331 crop): top-1 error 17.1 %, top-5 3.8 % for N = 4, F = 216.

Deviations from the paper: no auxiliary head. ``drop_path`` drops each operation of a cell, the deeper the more often,
but does not grow over the training as the paper's ScheduledDropPath. Images up to 64x64 get a stem of one 3x3
convolution and no reduction cells, as NASNet's for CIFAR; the cells stay as wide as for ImageNet. Parameter names are
timm's; its BatchNorm momentum is 0.1 (the authors: 0.0003). Padding is TensorFlow's, on which published weights rely.
Initialisation: He et al. 2015, fan-in. Operations and the reading of a table are NASNet's (``nasnet.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Rate, register_model
from cnnlab.zoo.nasnet import Halving, Squeeze, Table, TableCell, he_init_fan_in, norm

CELL = Table(  # the paper's figure 1, left
    rows=(
        (("sep5", "p"), ("max3", "p")),
        (("sep7", "h"), ("max3", "h")),
        (("sep5", "h"), ("sep3", "h")),
        (("sep3", 2), ("max3", "h")),
        (("sep3", "p"), ("same", "h")),
    ),
    joined=(0, 1, 2, 3, 4),
)


class Halve(Halving):
    """NASNet's halving as a layer of its own."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.add_paths(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.halve(x)  # (N, channels, S / 2, S / 2)


class StemCell(TableCell):
    """The first cell: both inputs are the stem's convolution, and ``p`` goes into the operations as wide as it is."""

    def __init__(self, in_channels: int, channels: int, drop_path: float) -> None:
        super().__init__(CELL, drop_path)
        self.conv_1x1 = Squeeze(in_channels, channels)
        self.add_operations(in_channels, channels, stride=2)
        # Pooling cannot change the number of channels, so a convolution follows it.
        self.comb_iter_0_right = nn.Sequential(
            OrderedDict(
                max_pool=self.get_submodule("comb_iter_0_right"),
                conv=nn.Conv2d(in_channels, channels, 1, bias=False),
                bn=norm(channels),
            )
        )

    def forward(self, p: Tensor, h: Tensor) -> Tensor:
        return self.combine(self.conv_1x1(h), p)  # (N, 5 * channels, S / 2, S / 2)


class Cell(TableCell):
    """A cell with stride 1 or 2; ``p`` is halved where a reduction lies between the two inputs."""

    def __init__(
        self, previous: int, current: int, channels: int, stride: int, halves_p: bool, drop_path: float
    ) -> None:
        super().__init__(CELL, drop_path)
        self.conv_prev_1x1 = Halve(previous, channels) if halves_p else Squeeze(previous, channels)
        self.conv_1x1 = Squeeze(current, channels)
        self.add_operations(channels, channels, stride)

    def forward(self, p: Tensor, h: Tensor) -> Tensor:
        return self.combine(self.conv_1x1(h), self.conv_prev_1x1(p))  # (N, 5 * channels, S / stride, S / stride)


class PNASNet(Network):
    """A stem, three stacks of four cells, the second and the third beginning with a reduction, and a dense head."""

    def __init__(
        self, width: int, num_classes: int, in_channels: int, image_size: int, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        small = image_size <= SMALL_IMAGE
        stride, padding = (1, 1) if small else (2, 0)
        conv = nn.Conv2d(in_channels, 96, 3, stride, padding, bias=False)
        self.conv_0 = nn.Sequential(OrderedDict(conv=conv, bn=norm(96)))
        plan = [] if small else [("cell_stem_0", width // 4, 2), ("cell_stem_1", width // 2, 2)]
        plan += [(f"cell_{i}", 2 ** (i // 4) * width, 2 if i in (4, 8) else 1) for i in range(12)]
        p = h = (96, 0)  # channels and number of halvings
        for i, (name, channels, stride) in enumerate(plan):
            rate = drop_path * (i + 1) / len(plan)
            self.add_module(
                name,
                StemCell(96, channels, rate)
                if name == "cell_stem_0"
                else Cell(p[0], h[0], channels, stride, p[1] < h[1], rate),
            )
            p, h = h, (5 * channels, h[1] + stride - 1)
        self.cells = [name for name, _, _ in plan]
        self.act = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(h[0], num_classes)
        he_init_fan_in(self)
        ends = {"stage1": "cell_3", "stage2": "cell_7", "stage3": "act", "head": "last_linear"}
        self.stages: Mapping[str, str] = {"stem": "conv_0" if small else "cell_stem_1", **ends}

    def forward(self, x: Tensor) -> Tensor:
        """Shapes are for 331x331: 42x42 pixels in the first stack, 21x21 in the second, 11x11 in the third."""
        p = x = self.conv_0(x)  # (N, 96, 165, 165)
        for name in self.cells:
            p, x = x, self.get_submodule(name)(p, x)  # (N, 1080, 42, 42) in the first stack
        x = self.act(x).mean((2, 3))  # (N, 4320)
        return self.last_linear(self.dropout(x))  # (N, num_classes)


@register_model(
    paper="Liu, Zoph, Neumann, Shlens et al.: Progressive neural architecture search",
    year=2017,
    url="https://arxiv.org/abs/1712.00559",
    introduced="A search that grows cells sum by sum and trains only what a learned predictor recommends.",
    parameters=86_057_668,
    macs=24_937_395_792,
    min_size=8,
    aliases=("pnasnet5large",),
    errors=(17.1, 3.8),
    protocol="one crop at 331x331",
)
def pnasnet5_large(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 331, *, dropout: Rate = 0.5, drop_path: Rate = 0.0
) -> PNASNet:
    """PNASNet-5 large (Liu et al. 2017), with a 3x3 stem for images up to 64x64.

    ``dropout``: rate before the last layer. ``drop_path``: probability of dropping an operation of the last cell in
    training, less in earlier ones; the authors raise it to 0.4 over a training. Images of 8x8 pixels and more.
    """
    return PNASNet(216, num_classes, in_channels, image_size, dropout, drop_path)
