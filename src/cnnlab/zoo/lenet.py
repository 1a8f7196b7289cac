"""LeNet-5.

Yann LeCun, Léon Bottou, Yoshua Bengio, Patrick Haffner: Gradient-based learning applied to document recognition.
Proceedings of the IEEE 86(11), 1998, section II.B. https://doi.org/10.1109/5.726791

Introduced: convolution, sub-sampling and dense layers trained together from pixels to classes, in the order that
convolutional networks have kept since.
Reported: 0.95 % test error on MNIST, 0.8 % when trained with distorted digits too. It predates ImageNet.

Deviations from the paper:

- C3 is connected to all six maps of S2; table I of the paper leaves connections out. Hence 61,706 parameters.
- S2 and S4 average without the trainable coefficient, bias and squashing of the paper. As an option they take the
  maximum, or are 2x2 convolutions of stride 2 without an activation.
- The activation is tanh without the paper's scaling 1.7159 tanh(2a/3); as an option ReLU, the logistic sigmoid or GELU.
- The output is a dense layer for softmax and cross-entropy, not radial basis functions.
- 28x28 digits are padded by 2 in C1, which is the paper's 28x28 digit centred in a field of 32x32. Images larger than
  32x32 get a larger C5.
- Initialisation: Glorot & Bengio 2010 (uniform) for tanh and sigmoid, He et al. 2015 for ReLU and GELU; the paper
  draws from +-2.4 / fan-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from cnnlab.zoo._layers import Pooling, glorot_init, halving, he_init
from cnnlab.zoo._network import Network
from cnnlab.zoo._registry import register_model

Activation = Literal["tanh", "relu", "sigmoid", "gelu"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


class LeNet5(Network):
    """LeNet-5 with the paper's layer names; shapes are for 32x32 (and 28x28) images."""

    stages: Mapping[str, str] = {
        "c1": "act1",
        "s2": "s2",
        "c3": "act3",
        "s4": "s4",
        "c5": "act5",
        "f6": "act6",
        "head": "output",
    }

    def __init__(
        self, num_classes: int, in_channels: int, image_size: int, activation: Activation, pooling: Pooling
    ) -> None:
        super().__init__()
        padding = 2 if image_size < 32 else 0
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        make = ACTIVATIONS[activation]
        self.c1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.act1 = make()
        self.s2 = halving(pooling, 6)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.act3 = make()
        self.s4 = halving(pooling, 16)
        self.c5 = nn.Linear(16 * side * side, 120)
        self.act5 = make()
        self.f6 = nn.Linear(120, 84)
        self.act6 = make()
        self.output = nn.Linear(84, num_classes)
        if activation in ("tanh", "sigmoid"):
            glorot_init(self)
        else:
            he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.c1(x))  # (N, 6, 28, 28)
        x = self.s2(x)  # (N, 6, 14, 14)
        x = self.act3(self.c3(x))  # (N, 16, 10, 10)
        x = self.s4(x)  # (N, 16, 5, 5)
        x = x.flatten(1)  # (N, 400)
        x = self.act5(self.c5(x))  # (N, 120)
        x = self.act6(self.f6(x))  # (N, 84)
        return self.output(x)  # (N, num_classes)


@register_model(
    paper="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition",
    year=1998,
    url="https://doi.org/10.1109/5.726791",
    introduced="Convolution, sub-sampling and dense layers trained together from pixels to classes.",
    reported="0.95 % error on MNIST",
    parameters=61_706,
    macs=416_520,
    min_size=28,
    aliases=("lenet",),
)
def lenet5(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 32,
    *,
    activation: Activation = "tanh",
    pooling: Pooling = "average",
) -> LeNet5:
    """LeNet-5, the network that read cheques (LeCun et al. 1998).

    ``activation``: "tanh" as in the paper, "relu", "sigmoid" or "gelu". ``pooling``: what S2 and S4 are, "average" as
    in the paper, "max", or "strided", a 2x2 convolution of stride 2 without an activation. Images of 28x28 pixels and
    more.
    """
    return LeNet5(num_classes, in_channels, image_size, activation, pooling)
