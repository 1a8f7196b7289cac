"""MobileNetV2.

Mark Sandler, Andrew Howard, Menglong Zhu, Andrey Zhmoginov, Liang-Chieh Chen: MobileNetV2: inverted residuals and
linear bottlenecks. CVPR 2018. https://arxiv.org/abs/1801.04381

Introduced: the inverted residual block, with shortcuts between the narrow layers and a wide depthwise convolution in
between, and the linear bottleneck: no activation where the channels are few, since there it would lose information.
Reported (ImageNet validation): top-1 error 28.0 % at width 1 (table 4: 72.0 % right, 300 million multiply-adds).

Deviations from the paper: for images up to 64x64 the stem and the first stage that halves have stride 1, so that 32x32
pixels end as 4x4 and not as one. Dropout of 0.2 before the last layer is the authors' code's and torchvision's; the
paper does not mention it. Widths below 1 leave the last 1280 channels as they are (section 4). Parameter names are
torchvision's. Initialisation, of which the paper says nothing: He et al. 2015.
"""

from __future__ import annotations

from torch import Tensor, nn

from cnnlab.zoo._layers import Multiplier, conv_norm, depthwise_he_init, round_channels
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Rate, register_model, torchvision


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel by itself, and narrow again without an activation."""

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == channels
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(conv_norm(in_channels, wide, kernel=1, activation=nn.ReLU6))
        layers.append(conv_norm(wide, wide, stride=stride, groups=wide, activation=nn.ReLU6))
        layers += [nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x  # (N, in_channels, S, S)
        x = self.conv(x)  # (N, channels, S / stride, S / stride)
        return shortcut + x if self.has_shortcut else x  # (N, channels, S / stride, S / stride)


class MobileNetV2(Network):
    """A stem, seven rows of blocks (table 2), a 1x1 convolution, and a dense head.

    Shapes are for 224x224 images at width 1. A stage ends where the next block halves the image.
    """

    stages = numbered_stages(
        "features.0", "features.1", "features.3", "features.6", "features.13", "features.18", head="classifier"
    )

    def __init__(self, num_classes: int, in_channels: int, image_size: int, width: float, dropout: float) -> None:
        super().__init__()
        early = 1 if image_size <= SMALL_IMAGE else 2
        rows = (  # expansion, channels, blocks, stride of the first block
            (1, 16, 1, 1),
            (6, 24, 2, early),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        now = round_channels(32 * width)
        last = round_channels(1280 * max(1.0, width))
        features: list[nn.Module] = [conv_norm(in_channels, now, stride=early, activation=nn.ReLU6)]
        for expansion, base_channels, depth, stride in rows:
            channels = round_channels(base_channels * width)
            for i in range(depth):
                features.append(InvertedResidual(now, channels, expansion, stride if i == 0 else 1))
                now = channels
        features.append(conv_norm(now, last, kernel=1, activation=nn.ReLU6))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        depthwise_he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 1280, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 1280)
        return self.classifier(x)  # (N, num_classes)


@register_model(
    paper="Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: inverted residuals and linear bottlenecks",
    year=2018,
    url="https://arxiv.org/abs/1801.04381",
    introduced="Inverted residual blocks: shortcuts between narrow layers that have no activation.",
    parameters=3_504_872,
    macs=300_774_272,
    min_size=8,
    pretrained=torchvision("mobilenet_v2-b0353104", top1=71.878),
    errors=(28.0, None),
)
def mobilenet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    width: Multiplier = 1.0,
    dropout: Rate = 0.2,
) -> MobileNetV2:
    """MobileNetV2 (Sandler et al. 2018), with fewer strides for images up to 64x64.

    ``width`` multiplies the channels of every layer; the paper has 0.35 to 1.4. ``dropout`` acts before the last layer.
    Images of 8x8 pixels and more.
    """
    return MobileNetV2(num_classes, in_channels, image_size, width, dropout)
