"""BatchNorm2d in a small convolutional network."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnlab.experiments.bench import probe_images
from cnnlab.experiments.drawing import recorded_pictures, seed_bands, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain, register_study
from cnnlab.tracing.hooks import recording, recording_inputs, untouched
from cnnlab.training import EpochDone, Event, Started

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables
    from cnnlab.zoo import Network

CONVOLUTIONS = 6
DRAWN = (1, 3, 6)  # numbers of the convolutions in the figure: the first, one in the middle, the last


@register_study
class BatchNormCNN(Study):
    """Two small convolutional networks, one with BatchNorm2d after every convolution, trained side by side."""

    title = "What does BatchNorm do for a convolutional network?"
    about = (
        "Two networks of six 3x3 convolutions (16, 32 and 64 channels) and one dense layer learn small photos of 16x16 "
        "pixels side by side, one of them with BatchNorm2d between each convolution and its ReLU. Both start from the "
        "same weights (He) and are trained by SGD with momentum 0.9 at a rate of 0.01 in batches of 64. Before the "
        "training and after every epoch, 256 test images show what the ReLUs get: the mean and standard deviation over "
        "all images, channels and positions. BatchNorm normalises those images by their own statistics, as it does "
        "with a batch in training."
    )
    claims = (
        Claim(
            "With BatchNorm2d the training loss is lower after the same number of epochs.",
            "CNN notebooks: BatchNorm2d in a CNN; Ioffe, Szegedy: Batch Normalization, 2015, section 4.2",
            Difference("plain", "batchnorm", "train_loss"),
            worth=0.05,
            unit="nats of training loss",
        ),
        Claim(
            "With BatchNorm2d the test accuracy is higher after the same number of epochs.",
            "Ioffe, Szegedy: Batch Normalization, 2015, section 4.2.2",
            accuracy_gain("batchnorm", "plain"),
            worth=0.5,
        ),
        Claim(
            "With BatchNorm2d the spread of the inputs of the ReLUs changes less from epoch to epoch.",
            "Ioffe, Szegedy: Batch Normalization, 2015, section 4.1 and figure 1 (there for sigmoids)",
            Difference("plain", "batchnorm", "spread_change", factor=100),
            worth=1.0,
            unit="percent of the standard deviation per epoch",
        ),
    )
    variants = ("plain", "batchnorm")
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size: dict[str, Any] = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 3000, "epochs": 10},
            full={"train_limit": None, "epochs": 30},
        )
        recipe = bench.recipe(
            "convnet", image_size=16, optimizer="sgd", momentum=0.9, nesterov=False, lr=0.01, schedule="constant",
            batch_size=64, **size,
        )  # fmt: skip
        options = {"plain": {"batch_norm": False}, "batchnorm": {"batch_norm": True}}
        recipes = {
            variant: recipe.with_overrides(model_options={"widths": (16, 32, 64), **option})
            for variant, option in options.items()
        }

        def watch(variant: str, event: Event) -> None:
            if not isinstance(event, Started | EpochDone):
                return
            session = event.session
            images = probe_images(session)
            inputs = relu_inputs(session.model, images)
            row = {f"mean_{number}": float(values.mean()) for number, values in enumerate(inputs.values(), 1)}
            row |= {f"std_{number}": float(values.std()) for number, values in enumerate(inputs.values(), 1)}
            bench.record("relu_inputs", variant=variant, epoch=session.epoch, **row)
            if session.epoch == session.recipe.epochs and bench.keeps_pictures:
                first = next(iter(inputs))
                with untouched(session.model), torch.no_grad(), recording(session.model, [first]) as outputs:
                    session.model(images[:1])
                bench.record_pictures("first_layer", variant, outputs[first][0])

        for variant in bench.train(recipes, watch):
            rows = [row for table, row in bench.records.rows if table == "relu_inputs" and row["variant"] == variant]
            bench.result(variant, spread_change=spread_change(rows))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {f"convolution {number}: mean of the ReLU's input": f"mean_{number}" for number in DRAWN}
        panels |= {f"convolution {number}: its standard deviation": f"std_{number}" for number in DRAWN}
        return {
            "curves": training_curves(tables, self.variants),
            "relu_inputs": seed_bands(tables["relu_inputs"], self.variants, panels, "epoch"),
            "first_layer": recorded_pictures(tables["first_layer"], self.variants),
        }


def relu_inputs(model: Network, images: Tensor) -> Mapping[str, Tensor]:
    """Return what each ReLU gets, with BatchNorm normalising by the statistics of these images.

    Args:
        model: the network; its running statistics stay as they are.
        images: (N, C, S, S) inputs of the network.

    Returns:
        Name of the ReLU -> (N, channels, H, W) its input.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.ReLU)]
    with untouched(model, evaluate=False), torch.no_grad(), recording_inputs(model, names) as inputs:
        model.train()
        model(images)
    return inputs


def spread_change(rows: list[Any]) -> float:
    """Return by which share the standard deviations of the ReLUs' inputs change in an epoch.

    Args:
        rows: rows of the table ``relu_inputs`` for one training, in the order of the epochs.

    Returns:
        The mean over epochs and layers of the magnitude of log(std after / std before), for small changes the share.
    """
    changes = [
        abs(math.log(float(after[f"std_{number}"]) / float(before[f"std_{number}"])))
        for before, after in pairwise(rows)
        for number in range(1, CONVOLUTIONS + 1)
    ]
    return sum(changes) / len(changes)
