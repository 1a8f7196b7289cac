"""VGG with 11, 13, 16 and 19 layers, with and without BatchNorm.

Karen Simonyan, Andrew Zisserman: Very deep convolutional networks for large-scale image recognition. ICLR 2015.
https://arxiv.org/abs/1409.1556

Introduced: depth from 3x3 convolutions alone. Two of them see as far as one of 5x5, with fewer weights and one more
ReLU; the width doubles when the size halves.
Reported (ImageNet validation, one network at one scale, trained and tested with the short side at 256 pixels; table 3,
configurations A, B, D and E): 29.6, 28.7, 27.0 and 27.3 % top-1 error, 10.4, 9.9, 8.8 and 9.0 % top-5 error.

Deviations from the paper:

- The variants ``_bn`` normalise before each ReLU (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167). Parameter
  names are torchvision's.
- The last maps are averaged to 7x7, which changes nothing at 224x224. For images up to 64x64 they are averaged to 1x1,
  and the hidden dense layers have 512 units instead of 4096, as is customary on CIFAR.
- ``vgg11_quarter``, for lessons, has a quarter of the channels and of the dense units.
- Initialisation: Glorot & Bengio 2010 (uniform), with which the authors found that deep variants train without
  pre-training (section 3.1); times sqrt(2), because ReLU halves the variance (He et al. 2015). Without that factor the
  signal is divided by about sqrt(2) at each layer; with a standard deviation of 0.01 everywhere it vanishes, and the
  network does not train at all. The last layer has 0.01, so that no class is preferred at the start. ``init="torch"``
  leaves PyTorch's default, uniform in +-1 / sqrt(fan-in): a sixth of the variance that ReLU needs, so that the signal
  is divided by up to sqrt(6) at each layer.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from cnnlab.zoo._layers import dense, glorot_init
from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Paper, Rate, Variant, torchvision

# Convolutions per stage, by the number of layers with weights; the paper's configurations A, B, D and E.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(Network):
    """Five stages of 3x3 convolutions that end in pooling, and three dense layers; shapes are for 224x224 images.

    Args:
        layers: number of layers with weights: 11, 13, 16 or 19.
        width: number of channels of the first stage.
        batch_norm: whether BatchNorm follows each convolution (Ioffe & Szegedy 2015).

    Options:
        dropout: rate after each of the two hidden dense layers.
        init: initialisation, "xavier" (Glorot & Bengio 2010, times sqrt(2)) or "torch" (PyTorch's default).
    """

    def __init__(
        self,
        layers: int,
        width: int,
        batch_norm: bool,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        dropout: Rate = 0.5,
        init: Literal["xavier", "torch"] = "xavier",
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        stages: dict[str, str] = {}
        channels = in_channels
        for number, depth in enumerate(DEPTHS[layers], start=1):
            wider = min(width * 2 ** (number - 1), width * 8)
            for _ in range(depth):
                self.features.append(nn.Conv2d(channels, wider, 3, padding=1))
                if batch_norm:
                    self.features.append(nn.BatchNorm2d(wider))
                self.features.append(nn.ReLU(inplace=True))
                channels = wider
            self.features.append(nn.MaxPool2d(2))
            stages[f"stage{number}"] = f"features.{len(self.features) - 1}"
        self.stages = {**stages, "head": "classifier"}
        side, units = (1, channels) if image_size <= SMALL_IMAGE else (7, 8 * channels)
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        last = dense(units, num_classes)
        self.classifier = nn.Sequential(
            dense(channels * side * side, units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            dense(units, units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            last,
        )
        if init == "xavier":
            glorot_init(self, nn.init.calculate_gain("relu"))
            nn.init.normal_(last.weight, std=0.01)
        else:
            for layer in self.classifier.modules():
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 512, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 25088)
        return self.classifier(x)  # (N, num_classes)


PAPER = Paper(
    "Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition",
    year=2014,
    url="https://arxiv.org/abs/1409.1556",
    introduced="Depth from 3x3 convolutions alone; the width doubles when the size halves.",
    min_size=32,
    small="with a small head",
    protocol="one scale",
)

VARIANTS = (  # layers, parameters, multiply-adds, top-1 and top-5 error, weights, their top-1 accuracy
    ("vgg11", "VGG-11, configuration A", 11, 132_863_336, 7_609_090_048, (29.6, 10.4), "8a719046", 69.02),
    ("vgg13", "VGG-13, configuration B", 13, 133_047_848, 11_308_466_176, (28.7, 9.9), "19584684", 69.928),
    ("vgg16", "VGG-16, configuration D", 16, 138_357_544, 15_470_264_320, (27.0, 8.8), "397923af", 71.592),
    ("vgg19", "VGG-19, configuration E", 19, 143_667_240, 19_632_062_464, (27.3, 9.0), "dcbb9e9d", 72.376),
    ("vgg11_bn", "VGG-11 with BatchNorm", 11, 132_868_840, 7_609_090_048, (None, None), "6002323d", 70.37),
    ("vgg13_bn", "VGG-13 with BatchNorm", 13, 133_053_736, 11_308_466_176, (None, None), "abd245e5", 71.586),
    ("vgg16_bn", "VGG-16 with BatchNorm", 16, 138_365_992, 15_470_264_320, (None, None), "6c64b313", 73.36),
    ("vgg19_bn", "VGG-19 with BatchNorm", 19, 143_678_248, 19_632_062_464, (None, None), "c79401a0", 74.218),
)
for name, title, layers, parameters, macs, errors, digits, top1 in VARIANTS:
    aliases = ("vgg", "vggnet") if name == "vgg11" else ()
    globals()[name] = PAPER.register(
        partial(VGG, layers, 64, name.endswith("_bn")),
        Variant(name, title, parameters=parameters, macs=macs, errors=errors, aliases=aliases),
        torchvision(f"{name}-{digits}", top1),
    )
QUARTER = "VGG-11 with a quarter of the channels and dense units, for lessons"
vgg11_quarter = PAPER.register(
    partial(VGG, 11, 16, False), Variant("vgg11_quarter", QUARTER, parameters=9_075_272, macs=492_593_152)
)
