"""The small convolutional network of MNIST tutorials.

A teaching network without a paper of its own: the two convolutions and poolings of LeNet-5 (Yann LeCun, Léon Bottou,
Yoshua Bengio, Patrick Haffner: Gradient-based learning applied to document recognition, Proceedings of the IEEE
86(11), 1998, https://doi.org/10.1109/5.726791) with the ReLU and max pooling of AlexNet (Krizhevsky, Sutskever, Hinton
2012) and a single dense layer.

Introduced: nothing; it is the least that is worth calling a convolutional network, and reaches 99 % on MNIST.
Reported: nothing. 28,938 parameters at 1 channel, 28x28 and 10 classes.

Deviations from LeNet-5: 16 and 32 maps instead of 6 and 16; padding keeps the size; max pooling; ReLU; no hidden dense
layers. Initialisation: He et al. 2015.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cnnlab.zoo._layers import he_init
from cnnlab.zoo._network import Network
from cnnlab.zoo._registry import register_model


class MnistCNN(Network):
    """Two 5x5 convolutions with pooling and a dense layer; shapes are for 28x28 images."""

    stages: Mapping[str, str] = {"stage1": "pool1", "stage2": "pool2", "head": "fc"}

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        side = image_size // 4
        self.conv1 = nn.Conv2d(in_channels, 16, 5, padding=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.pool2 = nn.MaxPool2d(2)
        self.fc = nn.Linear(32 * side * side, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.conv1(x))  # (N, 16, 28, 28)
        x = self.pool1(x)  # (N, 16, 14, 14)
        x = self.relu2(self.conv2(x))  # (N, 32, 14, 14)
        x = self.pool2(x)  # (N, 32, 7, 7)
        x = x.flatten(1)  # (N, 1568)
        return self.fc(x)  # (N, num_classes)


@register_model(
    paper="after LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition",
    year=1998,
    url="https://doi.org/10.1109/5.726791",
    introduced="The least that is worth calling a convolutional network: two convolutions and a dense layer.",
    parameters=28_938,
    macs=2_838_080,
    min_size=8,
)
def mnist_cnn(num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> MnistCNN:
    """The two-convolution network of MNIST tutorials (after LeCun et al. 1998).

    Images of 8x8 pixels and more.
    """
    return MnistCNN(num_classes, in_channels, image_size)
