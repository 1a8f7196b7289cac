"""Do all filters of a convolution share one bias, or has each its own?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.experiments.drawing import seed_bands
from cnnlab.experiments.study import Claim, Study, register_study
from cnnlab.figures import bands
from cnnlab.training import EpochDone, Event, Session, Started, evaluate
from cnnlab.training.seeding import seeded
from cnnlab.zoo.mnist_cnn import MnistCNN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

LAYERS = ("conv1", "conv2")
CLOSE = 0.01  # two biases count as the same if they differ by less than this share of the layer's largest


class SharedBias(nn.Conv2d):
    """A convolution with a single bias that it adds to all output channels.

    Args:
        conv: convolution whose weights it takes over; the bias starts at 0.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 5, padding=2, bias=False)
        self.weight = conv.weight
        self.shared = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.shared.expand(self.out_channels), padding=2)  # (N, out_channels, H, W)


class SharedBiasCNN(MnistCNN):
    """The small network of MNIST tutorials with a single bias in each convolution."""

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__(num_classes, in_channels, image_size)
        self.conv1 = SharedBias(self.conv1)
        self.conv2 = SharedBias(self.conv2)


@register_study
class FilterBias(Study):
    """A small network as PyTorch builds it, and one that is made to share a bias between its filters."""

    title = "Do all filters of a convolution share the same bias?"
    about = (
        "A network of two 5x5 convolutions with 16 and 32 filters learns digits. All biases start at 0, so that at "
        "first all filters have the same. After every epoch the bias of each filter is read. Two biases count as the "
        "same if they differ by less than a hundredth of the largest one of their layer; the effect is the share of "
        "the filters that have the most frequent bias of their layer. A second network, which does share one bias "
        "between the filters of a layer, is the control: for it the same measurement says 100 percent. At the end "
        "each layer's biases are replaced by their mean and the test images are answered once more, which would "
        "change nothing if they were the same."
    )
    claims = (
        Claim(
            "All filters of a convolution share the same bias.",
            "A book chapter on CNNs (fish against cats), convolution layers",
            lambda measures: float(measures["PyTorch's layer"]["same_bias"]),
            worth=100.0,
            margin=99.0,
            unit="percent of the filters have the most frequent bias",
        ),
    )
    variants = ("PyTorch's layer", "one shared bias")

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 4000, "epochs": 4},
            full={"train_limit": None, "epochs": 10},
        )
        recipe = bench.recipe(
            "mnist_cnn", optimizer="adam", lr=1e-3, schedule="constant", batch_size=64, image_size=28, **size
        )
        with seeded(torch.device("cpu"), bench.seed):
            shared = SharedBiasCNN(len(bench.data.classes), bench.data.train.channels, 28)

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started | EpochDone):
                record_biases(bench, variant, event.session)

        trained = bench.train(dict.fromkeys(self.variants, recipe), watch, models={"one shared bias": shared})
        for variant, session in trained.items():
            bench.result(variant, mean_bias_accuracy=accuracy_with_mean_biases(session))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        spreads = {f"{layer}: standard deviation of the biases": f"spread_{layer}" for layer in LAYERS}
        first = [row for row in tables["biases"] if row["seed"] == tables["biases"][0]["seed"]]
        panels = {}
        for layer in LAYERS:
            panels[f"{layer} after training: the bias of each filter"] = {
                variant: (range(1, len(own) + 1), [sorted(own)])
                for variant in self.variants
                if (own := [row["bias"] for row in first if row["layer"] == layer and row["variant"] == variant])
            }
        return {
            "biases": bands(panels, x="filters in the order of their biases"),
            "spread": seed_bands(tables["spreads"], self.variants, spreads, "epoch"),
        }


def filter_biases(layer: nn.Module) -> Tensor:
    """Return the bias that a convolution adds to each of its output channels, (out_channels,)."""
    assert isinstance(layer, nn.Conv2d)
    if isinstance(layer, SharedBias):
        return layer.shared.detach().expand(layer.out_channels)
    assert layer.bias is not None
    return layer.bias.detach()


def same_bias(layers: Sequence[Tensor]) -> float:
    """Return the percentage of filters that have the most frequent bias of their layer.

    Args:
        layers: biases of the filters of each layer, (filters,).
    """
    most = 0
    for biases in layers:
        near = (biases[:, None] - biases[None]).abs() <= CLOSE * biases.abs().max()
        most += int(near.sum(1).max())
    return 100 * most / sum(len(biases) for biases in layers)


def record_biases(bench: Bench, variant: str, session: Session) -> None:
    """Record how far the biases of each layer differ, and at the end of the first seed the biases themselves."""
    biases = {name: filter_biases(session.model.get_submodule(name)) for name in LAYERS}
    spread = {f"spread_{name}": float(values.std(correction=0)) for name, values in biases.items()}
    bench.record("spreads", variant=variant, epoch=session.epoch, **spread)
    bench.result(variant, same_bias=same_bias(list(biases.values())), **spread)
    if bench.keeps_pictures and session.epoch == session.recipe.epochs:
        for name, values in biases.items():
            for number, value in enumerate(values.tolist()):
                bench.record("biases", variant=variant, layer=name, filter=number, bias=value)


def accuracy_with_mean_biases(session: Session) -> float:
    """Return the test accuracy of the network when every filter gets the mean bias of its layer."""
    model = copy.deepcopy(session.model)
    with torch.no_grad():
        for name in LAYERS:
            layer = model.get_submodule(name)
            if not isinstance(layer, SharedBias):
                biases = filter_biases(layer)
                biases.fill_(float(biases.mean()))
    assert session.val_loader is not None
    logits, labels = evaluate(model, session.val_loader, session.device, session.precision)
    return float((logits.argmax(1) == labels).mean())
