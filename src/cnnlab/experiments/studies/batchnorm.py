"""BatchNorm in a feed-forward network on digits, as its paper first showed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from cnnlab.experiments.bench import probe_images
from cnnlab.experiments.drawing import seed_bands, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, register_study
from cnnlab.tracing.hooks import evaluating, recording
from cnnlab.training import EpochDone, Event, Started

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

HIDDEN = (100, 100, 100)


@register_study
class BatchNorm(Study):
    """Two feed-forward networks of sigmoid units, one with BatchNorm before every activation, trained side by side."""

    title = "What does BatchNorm do for a feed-forward network?"
    about = (
        "Two networks of three hidden layers with 100 sigmoid units learn the same digits side by side, one of them "
        "with BatchNorm before each sigmoid: the first experiment of the BatchNorm paper, with batches of 60. Both "
        "start from the same weights (Glorot) and are trained by plain SGD at the same rate. After every epoch the "
        "inputs of the sigmoids are looked at: their mean and standard deviation over 256 test images and all units "
        "of a layer."
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "With BatchNorm the training loss is lower after the same number of epochs.",
            "Ioffe, Szegedy: Batch Normalization, 2015, section 4.1 and figure 1",
            Difference("plain", "batchnorm", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
    )
    variants = ("plain", "batchnorm")
    network: ClassVar[dict[str, Any]] = {"hidden": HIDDEN, "activation": "sigmoid", "init": "glorot"}

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 4000, "epochs": 6},
            full={"train_limit": None, "epochs": 50},
        )
        recipe = bench.recipe(
            "mlp", optimizer="sgd", momentum=0.0, lr=0.05, schedule="constant", batch_size=60, **size,
            model_options=self.network,
        )  # fmt: skip
        with_norm = recipe.with_overrides(model_options=self.network | {"norm": "batch"})

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started | EpochDone):
                record_outputs(bench, variant, event)

        bench.train({"plain": recipe, "batchnorm": with_norm}, watch)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {f"layer {layer}: mean": f"mean_{layer}" for layer in range(1, len(HIDDEN) + 1)}
        panels |= {f"layer {layer}: standard deviation": f"std_{layer}" for layer in range(1, len(HIDDEN) + 1)}
        return {
            "curves": training_curves(tables, self.variants),
            "layer_outputs": seed_bands(tables["layer_outputs"], self.variants, panels, "epoch"),
        }


def record_outputs(bench: Bench, variant: str, event: Event) -> None:
    """Record mean and standard deviation of the outputs of each hidden layer before its activation function."""
    session = event.session
    place = 1 if session.recipe.model_options.get("norm") == "batch" else 0
    names = [f"hidden.{layer}.{place}" for layer in range(len(HIDDEN))]
    with evaluating(session.model), torch.no_grad(), recording(session.model, names) as outputs:
        session.model(probe_images(session))
    row: dict[str, float] = {}
    for number, name in enumerate(names, 1):
        row |= {f"mean_{number}": float(outputs[name].mean()), f"std_{number}": float(outputs[name].std())}
    bench.record("layer_outputs", variant=variant, epoch=session.epoch, **row)
