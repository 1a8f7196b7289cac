"""The multi-layer perceptron: dense layers only, the yardstick for what convolution brings.

David Rumelhart, Geoffrey Hinton, Ronald Williams: Learning representations by back-propagating errors. Nature 323,
1986. https://doi.org/10.1038/323533a0
With, as options: Ioffe & Szegedy 2015 (BatchNorm, https://arxiv.org/abs/1502.03167), Ba, Kiros & Hinton 2016
(LayerNorm, https://arxiv.org/abs/1607.06450) and Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014
(dropout, https://jmlr.org/papers/v15/srivastava14a.html).

Introduced: training hidden layers by propagating the error backwards.
Reported: nothing on images of this kind.

Deviations from the paper: ReLU (as an option the logistic function), softmax output with cross-entropy.
Initialisation: He et al. 2015; as an option Glorot & Bengio 2010 (uniform), or PyTorch's default.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.zoo._layers import glorot_init, he_init
from cnnlab.zoo._network import Network
from cnnlab.zoo._registry import Rate, Width, register_model

Norm = Literal["none", "batch", "layer"]
Init = Literal["he", "glorot", "torch"]
Activation = Literal["relu", "sigmoid"]


class MLP(Network):
    """Flattened pixels, hidden layers, a dense head; shapes are for 1x28x28 images and ``hidden=(512, 256)``."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        hidden: tuple[int, ...],
        norm: Norm,
        dropout: float,
        init: Init,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.hidden = nn.Sequential()
        features = in_channels * image_size * image_size
        for units in hidden:
            # BatchNorm subtracts the mean of each unit, so a bias before it would have no effect.
            layers: list[nn.Module] = [nn.Linear(features, units, bias=norm != "batch")]
            if norm != "none":
                layers.append(nn.BatchNorm1d(units) if norm == "batch" else nn.LayerNorm(units))
            layers.append(nn.ReLU(inplace=True) if activation == "relu" else nn.Sigmoid())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            self.hidden.append(nn.Sequential(*layers))
            features = units
        self.fc = nn.Linear(features, num_classes)
        self.stages = {f"hidden{i + 1}": f"hidden.{i}" for i in range(len(hidden))} | {"head": "fc"}
        if init == "he":
            he_init(self)
        elif init == "glorot":
            glorot_init(self)

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
    norm: Norm = "none",
    init: Init = "he",
    activation: Activation = "relu",
) -> MLP:
    """The multi-layer perceptron, without any convolution (Rumelhart et al. 1986).

    ``hidden``: units of each hidden layer. ``activation``: function behind each hidden layer, "relu", or "sigmoid", the
    logistic function of the paper. ``norm``: normalisation before it, "none", "batch" (BatchNorm, over
    the images of a batch) or "layer" (LayerNorm, over the units of a layer). ``batch_norm=True`` means
    ``norm="batch"``. ``dropout``: rate after each hidden layer, 0 for none. ``init``: initialisation, "he", "glorot",
    or "torch", which leaves PyTorch's default (uniform in +-1 / sqrt(fan-in), also for the biases).
    """
    if batch_norm and norm == "layer":
        raise UsageError('batch_norm=True and norm="layer" ask for two normalisations. Leave batch_norm out.')
    return MLP(num_classes, in_channels, image_size, hidden, "batch" if batch_norm else norm, dropout, init, activation)
