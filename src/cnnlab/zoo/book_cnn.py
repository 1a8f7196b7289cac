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
images up to 64x64 the first convolution has stride 1 instead of 4. Initialisation: He et al. 2015.
"""

from __future__ import annotations

from torch import Tensor, nn

from cnnlab.zoo._layers import he_init
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Rate, register_model


class BookCNN(Network):
    """Five convolutions, three poolings and three dense layers; shapes are for 32x32 images."""

    stages = numbered_stages("features.2", "features.5", "features.12", head="classifier")

    def __init__(self, num_classes: int, in_channels: int, image_size: int, dropout: float = 0.5) -> None:
        super().__init__()
        stride = 1 if image_size <= SMALL_IMAGE else 4
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 32, 5, stride, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # 16x16
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # 8x8
            nn.Conv2d(64, 128, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # 4x4
        )
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(128 * 2 * 2, 256),
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


@register_model(
    paper="after Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks",
    year=2012,
    url="https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
    introduced="The plan of textbooks after AlexNet: features, an adaptive pooling, a dense classifier with dropout.",
    parameters=589_642,
    macs=30_968_320,
    min_size=16,
)
def book_cnn(num_classes: int = 10, in_channels: int = 3, image_size: int = 32, *, dropout: Rate = 0.5) -> BookCNN:
    """The teaching network of textbooks, a small AlexNet (after Krizhevsky et al. 2012).

    ``dropout``: rate before each of the two hidden dense layers. Images of 16x16 pixels and more; the weights do not
    depend on their size.
    """
    return BookCNN(num_classes, in_channels, image_size, dropout)
