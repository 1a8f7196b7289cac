"""The multi-layer perceptron: dense layers only, the yardstick for what convolution brings.

David Rumelhart, Geoffrey Hinton, Ronald Williams: Learning representations by back-propagating errors. Nature 323,
1986. https://doi.org/10.1038/323533a0
With, as options: Ioffe & Szegedy 2015 (BatchNorm, https://arxiv.org/abs/1502.03167) and Srivastava, Hinton, Krizhevsky,
Sutskever, Salakhutdinov 2014 (dropout, https://jmlr.org/papers/v15/srivastava14a.html).

Introduced: training hidden layers by propagating the error backwards.
Reported: nothing on images of this kind.

Deviations from the paper: ReLU instead of the logistic function, softmax output with cross-entropy. Initialisation: He
et al. 2015.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from cnnlab.zoo._layers import he_init
from cnnlab.zoo._network import Network
from cnnlab.zoo._registry import Rate, Width, register_model


class MLP(Network):
    """Flattened pixels, hidden layers, a dense head; shapes are for 1x28x28 images and ``hidden=(512, 256)``."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        hidden: tuple[int, ...] = (512, 256),
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden = nn.Sequential()
        features = in_channels * image_size * image_size
        for units in hidden:
            layers: list[nn.Module] = [nn.Linear(features, units, bias=not batch_norm)]
            if batch_norm:
                layers.append(nn.BatchNorm1d(units))
            layers.append(nn.ReLU(inplace=True))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            self.hidden.append(nn.Sequential(*layers))
            features = units
        self.fc = nn.Linear(features, num_classes)
        self.stages = {f"hidden{i + 1}": f"hidden.{i}" for i in range(len(hidden))} | {"head": "fc"}
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)  # (N, 784)
        x = self.hidden(x)  # (N, 256)
        return self.fc(x)  # (N, num_classes)


@register_model(
    paper="Rumelhart, Hinton, Williams: Learning representations by back-propagating errors",
    year=1986,
    url="https://doi.org/10.1038/323533a0",
    introduced="Hidden layers trained by propagating the error backwards.",
    parameters=535_818,
    macs=535_040,
    min_size=1,
)
def mlp(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    *,
    hidden: Annotated[tuple[Width, ...], Field(min_length=1)] = (512, 256),
    batch_norm: bool = False,
    dropout: Rate = 0.0,
) -> MLP:
    """The multi-layer perceptron, without any convolution (Rumelhart et al. 1986).

    ``hidden``: units of each hidden layer. ``batch_norm``: normalise before each ReLU. ``dropout``: rate after each
    hidden layer, 0 for none.
    """
    return MLP(num_classes, in_channels, image_size, hidden, batch_norm, dropout)
