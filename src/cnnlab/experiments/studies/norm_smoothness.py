"""Smoothness of the loss along the gradient, and internal covariate shift, with and without BatchNorm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from cnnlab.experiments.drawing import group_by, seed_bands, seed_lines, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, register_study
from cnnlab.figures import bands
from cnnlab.tracing.hooks import untouched
from cnnlab.training import Event, Session, Started, StepDone

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables
    from cnnlab.zoo import Network

RATE = 0.05
TINY = 1e-12  # in place of 0 below a fraction or in a logarithm
LENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # of the steps along the gradient, in learning rates
PROBES = 12  # during a training
DRAWN = (2, 4, 7)  # numbers of the layers in the figure: the second convolution, the fourth, the dense layer
# Name of a measure -> the table with its values.
MEASURES = {
    "loss_range": "landscape",
    "gradient_change": "landscape",
    "beta": "landscape",
    "covariate_shift": "covariate_shift",
}
PAPER = "Santurkar, Tsipras, Ilyas, Madry: How Does Batch Normalization Help Optimization?, 2018"
UNIT = "powers of ten"


@register_study
class NormSmoothness(Study):
    """The loss around the weights of two convolutional networks, one with BatchNorm, while they are trained."""

    title = "Does BatchNorm make the loss smoother?"
    about = (
        "A network of six 3x3 convolutions (16, 32 and 64 channels) and one dense layer learns photos, with and "
        "without BatchNorm between each convolution and its ReLU. Both start from the same weights (He) and are "
        "trained by SGD without momentum at a rate of 0.05 in batches of 64; at small scale on 2,000 photos of 16x16 "
        "pixels for six epochs. Twelve times during the training, before a step, the loss on the batch of that step "
        "is followed along its gradient, 0.5 to 4 times as far as the step will go. The loss range is the largest "
        "loss on the way minus the smallest one. The gradient change is the largest distance (L2) between the "
        "gradient at the start and one on the way. The effective β is the largest such distance divided by that "
        "between the weights; a smooth loss has a small β. Internal covariate shift, as the paper defines it, is the "
        "distance between the gradients of a layer's weights before and after all earlier layers have made their "
        "step. Numbers are compared as logarithms, averaged over the probes, and for the shift over layers 2 to 7. "
        "BatchNorm normalises as in training, and the training goes on as if nothing had been measured."
    )
    claims = (
        Claim(
            "Along the gradient the loss varies less with BatchNorm.",
            f"{PAPER}, section 3.1 and figure 4a",
            Difference("plain", "batchnorm", "log_loss_range"),
            worth=0.1,
            unit=f"{UNIT} of the loss range",
        ),
        Claim(
            "Along the gradient the gradient changes less with BatchNorm.",
            f"{PAPER}, section 3.1 and figure 4b",
            Difference("plain", "batchnorm", "log_gradient_change"),
            worth=0.1,
            unit=f"{UNIT} of the gradient change",
        ),
        Claim(
            "The loss is smoother with BatchNorm: its effective β is smaller.",
            f"{PAPER}, section 3.1 and figure 4c",
            Difference("plain", "batchnorm", "log_beta"),
            worth=0.1,
            unit=f"{UNIT} of the effective β",
        ),
        Claim(
            "Internal covariate shift is not smaller with BatchNorm.",
            f"{PAPER}, section 2.2, definition 2.1 and figure 3",
            Difference("batchnorm", "plain", "log_covariate_shift"),
            worth=0.0,
            unit=f"{UNIT} of the covariate shift",
            margin=-0.1,
        ),
    )
    variants = ("plain", "batchnorm")
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 128, "epochs": 2, "image_size": 8},
            small={"train_limit": 2000, "epochs": 6, "image_size": 16},
            full={"train_limit": None, "epochs": 20, "image_size": 32},
        )
        recipe = bench.recipe(
            "convnet", optimizer="sgd", momentum=0.0, lr=RATE, schedule="constant", batch_size=64,
            channels_last=True, **size,
        )  # fmt: skip
        recipes = {
            variant: recipe.with_overrides(model_options={"widths": (16, 32, 64), "batch_norm": batch_norm})
            for variant, batch_norm in (("plain", False), ("batchnorm", True))
        }

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started | StepDone) and is_probed(event.session):
                record_probe(bench, variant, event.session)

        for variant in bench.train(recipes, watch):
            for column, table in MEASURES.items():
                values = [
                    float(row[column])
                    for name, row in bench.records.rows
                    if name == table and row["variant"] == variant
                ]
                bench.result(variant, **{f"log_{column}": mean_log(values)})

    def draw(self, tables: Tables) -> dict[str, Figure]:
        along = {
            "loss range along the gradient (nats)": "loss_range",
            "gradient change (L2)": "gradient_change",
            "effective β (smaller: smoother)": "beta",
        }
        of_layer = group_by(tables["covariate_shift"], "layer")
        shifts = {
            f"layer {layer}: {title}": seed_lines(of_layer[layer], self.variants, "step", column)
            for title, column in (("covariate shift (L2)", "covariate_shift"), ("cosine", "cosine"))
            for layer in DRAWN
        }
        return {
            "landscape": seed_bands(tables["landscape"], self.variants, along, "step", log_y=list(along)),
            "covariate_shift": bands(shifts, x="step", log_y=[title for title in shifts if "L2" in title]),
            "curves": training_curves(tables, self.variants),
        }


def is_probed(session: Session) -> bool:
    """Return whether the loss is looked at before the next step."""
    total = session.recipe.epochs * len(session.train_loader)
    interval = max(1, total // PROBES)
    step = steps_made(session)
    return step % interval == 0 and step < min(total, PROBES * interval)


def steps_made(session: Session) -> int:
    """Return the number of steps since the start of the training."""
    return session.epoch * len(session.train_loader) + session.step


def record_probe(bench: Bench, variant: str, session: Session) -> None:
    """Record the loss along the gradient and the covariate shift for the batch of the next step."""
    step = steps_made(session)
    epoch, step_of_epoch = divmod(step, len(session.train_loader))
    batch = next(iter(session.train_loader.epoch(epoch, start_step=step_of_epoch)))
    with untouched(session.model, evaluate=False):
        session.model.train()
        bench.record("landscape", variant=variant, step=step, **landscape(session.model, batch.images, batch.labels))
        shifts = covariate_shifts(session.model, batch.images, batch.labels)
    for layer, shift in enumerate(shifts, 2):
        bench.record("covariate_shift", variant=variant, step=step, layer=layer, **shift)


def landscape(model: Network, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Follow the loss along its gradient.

    Args:
        model: the network, in the mode in which the loss is computed.
        images: (N, C, S, S) inputs of the network.
        labels: (N,) their classes.

    Returns:
        The loss at the weights of the network, and of the steps of all lengths: the smallest and the largest loss,
        their difference, the largest L2 distance between the gradient there and that at the start, and the largest
        such distance divided by the distance between the weights.
    """
    start = {name: parameter.detach() for name, parameter in model.named_parameters()}
    loss, gradient = loss_and_gradient(model, start, images, labels, start)
    norm = distance(gradient)
    losses, changes, ratios = [], [], []
    for length in LENGTHS:
        moved = {name: value - length * RATE * gradient[name] for name, value in start.items()}
        loss_there, gradient_there = loss_and_gradient(model, moved, images, labels, start)
        losses.append(loss_there)
        changes.append(distance(gradient_there, gradient))
        ratios.append(changes[-1] / max(length * RATE * norm, TINY))
    return {
        "loss": loss,
        "lowest_loss": min(losses),
        "highest_loss": max(losses),
        "loss_range": max(losses) - min(losses),
        "gradient_change": max(changes),
        "beta": max(ratios),
    }


def covariate_shifts(model: Network, images: Tensor, labels: Tensor) -> list[dict[str, float]]:
    """Return how the gradient of each layer's weights changes when all earlier layers make their step (definition 2.1).

    Args:
        model: the network, in the mode in which the loss is computed; its parameters are in the order of its layers.
        images: (N, C, S, S) inputs of the network.
        labels: (N,) their classes.

    Returns:
        For each convolution and dense layer from the second on: the L2 distance between the two gradients, and the
        cosine of the angle between them.
    """
    start = {name: parameter.detach() for name, parameter in model.named_parameters()}
    _, gradient = loss_and_gradient(model, start, images, labels, start)
    names = list(start)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    shifts = []
    for layer in layers[1:]:
        weight = f"{layer}.weight"
        earlier = names[: names.index(weight)]
        moved = {name: value - RATE * gradient[name] if name in earlier else value for name, value in start.items()}
        _, after = loss_and_gradient(model, moved, images, labels, [weight])
        cosine = F.cosine_similarity(after[weight].flatten(), gradient[weight].flatten(), dim=0)
        shifts.append({
            "covariate_shift": distance(after, {weight: gradient[weight]}), "cosine": float(cosine),
        })  # fmt: skip
    return shifts


def loss_and_gradient(
    model: Network, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor, names: Collection[str]
) -> tuple[float, dict[str, Tensor]]:
    """Return the mean cross-entropy that the network would have with other parameters, and its gradient.

    Args:
        model: the network; its own parameters stay as they are.
        parameters: name of every parameter -> its value.
        images: (N, C, S, S) inputs of the network.
        labels: (N,) their classes.
        names: names of the parameters whose gradients are returned.
    """
    values = {name: value.detach().clone().requires_grad_(name in names) for name, value in parameters.items()}
    loss = F.cross_entropy(functional_call(model, values, (images,)), labels)
    gradients = torch.autograd.grad(loss, [values[name] for name in names])
    return float(loss.detach()), dict(zip(names, gradients, strict=True))


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor] | None = None) -> float:
    """Return the L2 norm of all tensors together, or of their difference from others of the same names."""
    squares = [((value - other[name]) if other else value).double().square().sum() for name, value in one.items()]
    return math.sqrt(float(sum(squares)))


def mean_log(values: list[float]) -> float:
    """Return the mean of the logarithms to base 10, where numbers below 1e-12 count as 1e-12."""
    return sum(math.log10(max(value, TINY)) for value in values) / len(values)
