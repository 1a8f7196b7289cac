"""The teaching network of textbooks: AlexNet's plan at a hundredth of its size.

A teaching network without a paper of its own. Textbooks introduce photo classifiers with a network in three parts,
``features``, ``avgpool`` and ``classifier``, after Alex Krizhevsky, Ilya Sutskever, Geoffrey Hinton: ImageNet
classification with deep convolutional neural networks (NIPS 2012,
https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks) in its form with a
single tower. This is that plan, layer by layer, small enough for a lesson on a laptop.

Introduced: nothing; convolutions that see, a pooling that makes every image size fit, dense layers that decide, with
the layers at the same places as in AlexNet (``features.0`` to ``features.12``, ``classifier.0`` to ``classifier.6``).
Reported: nothing. 589,642 parameters at 3 channels and 10 classes, 1 % of AlexNet's.

Deviations from AlexNet: 32, 64, 128, 128 and 128 channels and 256 units instead of 64 to 384 and 4096; the first
kernel is 5x5 and the second 3x3; poolings of 2x2 do not overlap; 2x2 maps instead of 6x6 enter the dense layers. For
images up to 64x64 the first convolution has stride 1 instead of 4. As options, what a convolution and a pooling can be
told: other channels, kernels, strides and padding, average pooling, and adaptive pooling to maps of a stated size.
Initialisation: He et al. 2015.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from cnnlab.errors import ModelError
from cnnlab.zoo._layers import he_init
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Rate, Width, register_model

Channels = tuple[Width, Width, Width, Width, Width]
Padding = Annotated[int, Field(ge=0)]
Pooling = Literal["max", "average", "adaptive"]

CHANNELS: Channels = (32, 64, 128, 128, 128)
ADAPTIVE = (16, 8, 4)  # sides of the maps after the three adaptive poolings: those of 32x32 images


class BookCNN(Network):
    """Five convolutions, three poolings and three dense layers; shapes are for 32x32 images and the default options.

    Args:
        num_classes: number of classes.
        in_channels: number of channels of the images.
        image_size: side of the images in pixels.
        dropout: rate before each of the two hidden dense layers.
        channels: numbers of output channels of the five convolutions.
        kernel: side in pixels of the windows of all convolutions; None for 5 in the first and 3 in the others.
        stride: stride of the first convolution; None for 1 up to 64x64 pixels and 4 above.
        padding: rows and columns of zeros on each side of every convolution's input; None for half the kernel.
        pooling: kind of the three poolings: ``"max"``, ``"average"`` or ``"adaptive"``.

    Raises:
        ModelError: with these options nothing is left of the map before one of the layers.
    """

    stages = numbered_stages("features.2", "features.5", "features.12", head="classifier")

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        dropout: float = 0.5,
        channels: Channels = CHANNELS,
        kernel: int | None = None,
        stride: int | None = None,
        padding: int | None = None,
        pooling: Pooling = "max",
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        poolings = iter(ADAPTIVE)
        for position, outputs in enumerate(channels):
            window = kernel or (3 if position else 5)
            step = 1 if position else stride or (1 if image_size <= SMALL_IMAGE else 4)
            zeros = window // 2 if padding is None else padding
            self.features.append(nn.Conv2d(in_channels, outputs, window, step, zeros))
            self.features.append(nn.ReLU(inplace=True))
            if position in (0, 1, 4):
                self.features.append(make_pooling(pooling, next(poolings)))
            in_channels = outputs
        check_sides(self.features, image_size)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels[-1] * 2 * 2, 256),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(256, 256),
            nn.ReLU(inplace=True),
            nn.Linear(256, num_classes),
        )
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 128, 4, 4)
        x = self.avgpool(x).flatten(1)  # (N, 512)
        return self.classifier(x)  # (N, num_classes)


def make_pooling(kind: Pooling, side: int) -> nn.Module:
    """Return a pooling of 2x2 pixels, or an adaptive average pooling to ``side`` x ``side`` pixels."""
    if kind == "adaptive":
        return nn.AdaptiveAvgPool2d(side)
    return nn.MaxPool2d(2) if kind == "max" else nn.AvgPool2d(2)


def check_sides(features: nn.Sequential, image_size: int) -> None:
    """Follow the side of the map through the convolutions and poolings.

    Args:
        features: the layers.
        image_size: side of the images in pixels.

    Raises:
        ModelError: a window is larger than the map with its padding.
    """
    side = image_size
    for name, layer in features.named_children():
        if isinstance(layer, nn.Conv2d):
            window, step, zeros = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
            before = f"{side}x{side} pixels and padding {zeros}"
        elif isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            window, step, zeros = 2, 2, 0
            before = f"{side}x{side} pixels"
        else:
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                assert isinstance(layer.output_size, int)
                side = layer.output_size
            continue
        if side + 2 * zeros < window:
            raise ModelError(
                f"book_cnn: features.{name} has a window of {window}x{window} pixels, and of images of {image_size}x"
                f"{image_size} only {before} come to it. Choose a smaller kernel, a smaller stride, more padding or "
                "larger images."
            )
        side = (side + 2 * zeros - window) // step + 1


@register_model(
    paper="after Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks",
    year=2012,
    url="https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
    introduced="The plan of textbooks after AlexNet: features, an adaptive pooling, a dense classifier with dropout.",
    parameters=589_642,
    macs=30_968_320,
    min_size=16,
)
def book_cnn(
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    *,
    dropout: Rate = 0.5,
    channels: Channels = CHANNELS,
    kernel: Width | None = None,
    stride: Width | None = None,
    padding: Padding | None = None,
    pooling: Pooling = "max",
) -> BookCNN:
    """The teaching network of textbooks, a small AlexNet (after Krizhevsky et al. 2012).

    ``dropout``: rate before each of the two hidden dense layers. ``channels``: output channels of the five
    convolutions. ``kernel``: side of their windows in pixels, by default 5 in the first and 3 in the others.
    ``stride``: stride of the first convolution, by default 1 up to 64x64 pixels and 4 above. ``padding``: zeros on each
    side of the input of every convolution, by default half the kernel. ``pooling``: what makes the maps smaller, "max"
    or "average" of 2x2 pixels, or "adaptive", averages that give maps of 16x16, 8x8 and 4x4 pixels whatever came in.
    Images of 16x16 pixels and more; the weights do not depend on their size.
    """
    return BookCNN(
        num_classes, in_channels, image_size,
        dropout=dropout, channels=channels, kernel=kernel, stride=stride, padding=padding, pooling=pooling,
    )  # fmt: skip
