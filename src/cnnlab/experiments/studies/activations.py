"""ReLU, tanh, sigmoid or GELU in LeNet-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from cnnlab.experiments.bench import probe_images
from cnnlab.experiments.drawing import recorded_pictures, seed_bands, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain, register_study
from cnnlab.tracing.hooks import evaluating, recording
from cnnlab.training import EpochDone, Event, Started

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

SATURATED = 0.98  # a tanh beyond this, or a sigmoid as near to one of its ends, passes less than 4 % of the gradient


@register_study
class Activations(Study):
    """LeNet-5 with four activation functions, trained side by side."""

    title = "ReLU, tanh, sigmoid or GELU?"
    about = (
        "LeNet-5 learns digits with four activation functions side by side: same images, same order, same optimizer; "
        "weights are drawn as usual for each function (Glorot for tanh and sigmoid, He for ReLU and GELU). After every "
        "epoch 256 test images show which share of the outputs is saturated, and which units answer no image at all."
    )
    claims = (
        Claim(
            "With ReLU the training loss is lower than with tanh after the same number of epochs.",
            "Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep CNNs, 2012, section 3.1",
            Difference("tanh", "ReLU", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
        Claim(
            "With tanh the training loss is lower than with the sigmoid.",
            "LeCun, Bottou, Orr, Müller: Efficient BackProp, 1998, section 4.4",
            Difference("sigmoid", "tanh", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
        Claim(
            "GELU gives a higher test accuracy than ReLU.",
            "Hendrycks, Gimpel: Gaussian Error Linear Units, 2016, section 3",
            accuracy_gain("GELU", "ReLU"),
            worth=0.5,
        ),
        Claim(
            "Some units of a network with ReLU answer no image.",
            "CS231n, notes on neural networks, part 1: the dying ReLU",
            lambda measures: 100 * float(measures["ReLU"]["dead"]),
            worth=1.0,
            unit="percent of the units",
        ),
    )
    variants = ("ReLU", "tanh", "sigmoid", "GELU")

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 4000, "epochs": 6},
            full={"train_limit": None, "epochs": 20},
        )
        recipe = bench.recipe(
            "lenet5", optimizer="sgd", lr=0.02, momentum=0.9, schedule="constant", batch_size=64, **size
        )
        recipes = {
            variant: recipe.with_overrides(model_options={"activation": variant.lower()}) for variant in self.variants
        }

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started | EpochDone):
                record_activations(bench, variant, event)

        # The initial weights belong to the activation function: each network draws its own.
        bench.train(recipes, watch, share_weights=False)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        shares = {"saturated outputs: share": "saturated", "units that answer no image: share": "dead"}
        return {
            "curves": training_curves(tables, self.variants),
            "units": seed_bands(tables["units"], self.variants, shares, "epoch", percent=list(shares)),
            "first_layer": recorded_pictures(tables["first_layer"], self.variants),
        }


def record_activations(bench: Bench, variant: str, event: Event) -> None:
    """Record shares of saturated outputs and dead units, and after the last epoch the outputs of the first layer."""
    session = event.session
    layers = ["act1", "act3", "act5", "act6"]
    with evaluating(session.model), torch.no_grad(), recording(session.model, layers) as outputs:
        session.model(probe_images(session))
    activation = session.model.get_submodule("act1")
    units = [outputs[name].flatten(2).amax(2) if outputs[name].ndim > 2 else outputs[name] for name in layers]
    dead = torch.cat([(unit <= 0).all(0) for unit in units]) if isinstance(activation, nn.ReLU) else torch.zeros(1)
    values = torch.cat([outputs[name].flatten() for name in layers])
    row = {"saturated": float(saturated(activation, values).float().mean()), "dead": float(dead.float().mean())}
    bench.record("units", variant=variant, epoch=session.epoch, **row)
    if session.epoch == session.recipe.epochs:
        bench.result(variant, **row)
        if bench.keeps_pictures:
            bench.record_pictures("first_layer", variant, outputs["act1"][0])


def saturated(activation: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Return which outputs are so near to an end of the activation function that hardly any gradient passes.

    A ReLU is saturated where its output is 0. GELU has no end that it stays at.
    """
    if isinstance(activation, nn.ReLU):
        return values == 0
    if isinstance(activation, nn.Tanh):
        return values.abs() > SATURATED
    if isinstance(activation, nn.Sigmoid):
        return (2 * values - 1).abs() > SATURATED
    return torch.zeros_like(values, dtype=torch.bool)
