"""MobileNetV3-Small and MobileNetV3-Large.

Andrew Howard, Mark Sandler, Grace Chu, Liang-Chieh Chen, Bo Chen, Mingxing Tan, Weijun Wang, Yukun Zhu, Ruoming Pang,
Vijay Vasudevan, Quoc V. Le, Hartwig Adam: Searching for MobileNetV3. ICCV 2019. https://arxiv.org/abs/1905.02244

Introduced: layer sizes found by a search for accuracy at a given latency on a phone, h-swish (a swish made of straight
lines), squeeze-and-excitation inside the inverted residual, and a last stage that pools before its widest layer.
Reported (ImageNet validation): top-1 error 24.8 % for Large and 32.6 % for Small (table 3: 75.2 % and 67.4 % right).

Deviations from the paper: table 2 marks squeeze-and-excitation after the last 1x1 convolution of Small; it is left out,
as in the authors' code and in torchvision. Dropout is 0.2, torchvision's, where section 6.1.1 says 0.8. For images up
to 64x64 the stem and the first block that halves have stride 1, so that 32x32 pixels end as 4x4 and not as one. The
width multiplier leaves the layer between pooling and the last one as it is: at 0.75 that gives 3.9 and 2.0 million
parameters (table 3: 4.0 and 2.0), where multiplying it too, as torchvision does, gives 3.4 and 1.7. Parameter names are
torchvision's. Initialisation, of which the paper says nothing: He et al. 2015.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from cnnlab.zoo._layers import Multiplier, SqueezeExcitation, conv_norm, depthwise_he_init, round_channels
from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Paper, Rate, Variant, torchvision

Row = tuple[int, int, int, bool, type[nn.Module], int]

EARLY = 0  # stands for a stride of 2, and of 1 in networks for small images
RE, HS = nn.ReLU, nn.Hardswish
LARGE: tuple[Row, ...] = (  # table 1: kernel, expanded channels, channels, squeeze-and-excitation, activation, stride
    (3, 16, 16, False, RE, 1),
    (3, 64, 24, False, RE, EARLY),
    (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2),
    (5, 120, 40, True, RE, 1),
    (5, 120, 40, True, RE, 1),
    (3, 240, 80, False, HS, 2),
    (3, 200, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 480, 112, True, HS, 1),
    (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2),
    (5, 960, 160, True, HS, 1),
    (5, 960, 160, True, HS, 1),
)
SMALL: tuple[Row, ...] = (  # table 2
    (3, 16, 16, True, RE, EARLY),
    (3, 72, 24, False, RE, 2),
    (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2),
    (5, 240, 40, True, HS, 1),
    (5, 240, 40, True, HS, 1),
    (5, 120, 48, True, HS, 1),
    (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2),
    (5, 576, 96, True, HS, 1),
    (5, 576, 96, True, HS, 1),
)

# The authors' running averages keep 99 % at every step (section 6.1.1): in eval mode the network lags some hundred
# steps behind, which a training of less than about 500 steps does not catch up.
norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, weigh the channels where the table says so, and narrow again."""

    def __init__(
        self, in_channels: int, wide: int, channels: int, kernel: int, stride: int, se: bool, act: type[nn.Module]
    ) -> None:
        super().__init__()
        self.has_shortcut = stride == 1 and in_channels == channels
        layers: list[nn.Module] = []
        if wide != in_channels:
            layers.append(conv_norm(in_channels, wide, kernel=1, activation=act, norm=norm))
        layers.append(conv_norm(wide, wide, kernel, stride, groups=wide, activation=act, norm=norm))
        if se:
            layers.append(SqueezeExcitation(wide, round_channels(wide // 4), gate=nn.Hardsigmoid))
        layers.append(conv_norm(wide, channels, kernel=1, norm=norm))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x  # (N, in_channels, S, S)
        x = self.block(x)  # (N, channels, S / stride, S / stride)
        return shortcut + x if self.has_shortcut else x  # (N, channels, S / stride, S / stride)


class MobileNetV3(Network):
    """A stem, the rows of blocks, a 1x1 convolution, and two dense layers; shapes are for Large at 224x224, width 1.

    A stage ends where the next block halves the image.

    Options:
        width: factor of the channels of every convolution.
        dropout: rate before the last layer.
    """

    def __init__(
        self,
        rows: tuple[Row, ...],
        hidden: int,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        width: Multiplier = 1.0,
        dropout: Rate = 0.2,
    ) -> None:
        super().__init__()
        early = 1 if image_size <= SMALL_IMAGE else 2
        now = round_channels(16 * width)
        features: list[nn.Module] = [conv_norm(in_channels, now, stride=early, activation=HS, norm=norm)]
        stages = {"stem": "features.0"}
        for kernel, expanded, base_channels, se, act, stride in rows:
            if stride != 1 and len(features) > 1:
                stages[f"stage{len(stages)}"] = f"features.{len(features) - 1}"
            wide, channels = round_channels(expanded * width), round_channels(base_channels * width)
            features.append(InvertedResidual(now, wide, channels, kernel, stride or early, se, act))
            now = channels
        features.append(conv_norm(now, 6 * now, kernel=1, activation=HS, norm=norm))
        stages[f"stage{len(stages)}"] = f"features.{len(features) - 1}"
        self.stages = {**stages, "head": "classifier"}
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * now, hidden), nn.Hardswish(inplace=True), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
        )
        depthwise_he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 960, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 960)
        return self.classifier(x)  # (N, num_classes)


PAPER = Paper(
    "Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam: Searching for MobileNetV3",
    year=2019,
    url="https://arxiv.org/abs/1905.02244",
    introduced="Layer sizes from a search for accuracy at a latency, h-swish, and squeeze-and-excitation in the block.",
    min_size=8,
    small="with fewer strides",
)

mobilenet_v3_small = PAPER.register(
    partial(MobileNetV3, SMALL, 1024),
    Variant("mobilenet_v3_small", "MobileNetV3-Small", parameters=2_542_856, macs=56_510_400, errors=(32.6, None)),
    torchvision("mobilenet_v3_small-047dcff4", top1=67.668),
)
mobilenet_v3_large = PAPER.register(
    partial(MobileNetV3, LARGE, 1280),
    Variant(
        "mobilenet_v3_large",
        "MobileNetV3-Large",
        parameters=5_483_032,
        macs=216_589_760,
        errors=(24.8, None),
        aliases=("mobilenet_v3",),
    ),
    torchvision("mobilenet_v3_large-8738ca79", top1=74.042),
)
