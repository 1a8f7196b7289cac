"""VGG-11 at quarter width from PyTorch's initial weights, from Xavier's, and from Xavier's with the factor for ReLU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from cnnlab.experiments.bench import probe_images
from cnnlab.experiments.drawing import seed_band, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain, register_study
from cnnlab.figures import bands
from cnnlab.tracing.hooks import evaluating
from cnnlab.training import EpochDone, Event, Session, Started
from cnnlab.training.seeding import seeded
from cnnlab.zoo import Network, create_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

# What the standard deviation of Glorot & Bengio is multiplied by; None leaves PyTorch's own initial weights.
GAINS = {"PyTorch's default": None, "Xavier": 1.0, "Xavier for ReLU": 2**0.5}
PROBES = 64  # images over which the gradient is taken


@register_study
class Initialisation(Study):
    """The same VGG from three kinds of initial weights, trained side by side."""

    title = "Does a VGG need Xavier initialisation?"
    about = (
        "VGG-11 with a quarter of the channels learns digits, enlarged to 32x32 pixels, by plain SGD at a rate of "
        "0.05 with dropout of 0.5, as in the source. It starts from PyTorch's default weights (uniform within one "
        "over the square root of the number of inputs), from Xavier's (Glorot and Bengio: the variance is 2 / (inputs "
        "+ outputs)), or from Xavier's times the square root of 2, because a ReLU halves the variance. Biases start "
        "at 0 in the last two. The random numbers behind the weights are the same, only each layer's scale differs; "
        "dropout, images and their order are the same too. At small scale a training has 500 steps of 16 images; the "
        "source had thousands of steps of 128. The gradient of the loss over 64 test images is measured for the "
        "weights of every layer before training and after every epoch, without dropout."
    )
    claims = (
        Claim(
            "Without Xavier initialisation VGG-11 performs poorly: its test accuracy is lower.",
            "A zoo of networks, VGGNet: performs poorly without Xavier initialisation",
            accuracy_gain("Xavier", "PyTorch's default", chance=0.1),
            worth=5.0,
        ),
        Claim(
            "Without Xavier initialisation less gradient reaches the first layer at the start.",
            "Glorot, Bengio: Understanding the difficulty of training deep feedforward networks, 2010, section 4.2",
            Difference("Xavier", "PyTorch's default", "first_gradient"),
            worth=0.3,  # a factor of 2
            unit="powers of ten of the gradient norm",
        ),
        Claim(
            "Xavier's weights with the factor for ReLU reach a lower training loss.",
            "He, Zhang, Ren, Sun: Delving Deep into Rectifiers, 2015, section 2.2 and figure 2",
            Difference("Xavier", "Xavier for ReLU", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
    )
    variants = tuple(GAINS)

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 96, "epochs": 2, "batch_size": 16},
            small={"train_limit": 2000, "epochs": 4, "batch_size": 16},
            full={"train_limit": None, "epochs": 10, "batch_size": 128},
        )
        recipe = bench.recipe(
            "vgg11_quarter", optimizer="sgd", momentum=0.0, lr=0.05, schedule="constant", image_size=32, **size
        )
        classes, channels = len(bench.data.classes), bench.data.train.channels
        models = {}
        for variant, gain in GAINS.items():
            with seeded(torch.device("cpu"), bench.seed):
                models[variant] = create_model("vgg11_quarter", classes, channels, 32, options={"init": "torch"})
            if gain is not None:
                rescale(models[variant], gain)

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started | EpochDone):
                for layer, norm in enumerate(gradient_norms(event.session), 1):
                    bench.record("gradients", variant=variant, epoch=event.session.epoch, layer=layer, norm=norm)
                    if isinstance(event, Started) and layer == 1:
                        bench.result(variant, first_gradient=math.log10(max(norm, 1e-12)))

        # The scale of the initial weights is what is compared; the random numbers behind them are the same.
        bench.train(dict.fromkeys(self.variants, recipe), watch, models=models, share_weights=False)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        rows = tables["gradients"]
        last = max(int(row["epoch"]) for row in rows)
        layers = max(int(row["layer"]) for row in rows)
        panels = {
            "before training, by layer": ([row for row in rows if row["epoch"] == 0], "layer"),
            f"after epoch {last}, by layer": ([row for row in rows if row["epoch"] == last], "layer"),
            "of layer 1, by epoch": ([row for row in rows if row["layer"] == 1], "epoch"),
            f"of layer {layers}, by epoch": ([row for row in rows if row["layer"] == layers], "epoch"),
        }
        drawn = {
            f"gradient norm {title}": {
                variant: band
                for variant in self.variants
                if (band := seed_band(chosen, variant, x, "norm")) is not None
            }
            for title, (chosen, x) in panels.items()
        }
        return {
            "curves": training_curves(tables, self.variants),
            "gradients": bands(drawn, log_y=list(drawn), columns=2),
        }


def rescale(model: Network, gain: float) -> None:
    """Bring PyTorch's default weights to the standard deviation of Glorot & Bengio (equation 16) times ``gain``.

    Both are uniform around 0, so that only the scale of each layer changes. Biases become 0.
    """
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in = layer.weight[0].numel()
                fan_out = layer.weight[:, 0].numel()
                layer.weight.mul_(gain * math.sqrt(6 / (fan_in + fan_out)) * math.sqrt(fan_in))
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def gradient_norms(session: Session) -> list[float]:
    """Return the norm of the gradient of the mean loss over test images for the weights of each layer, from the first.

    The network is in eval mode, so that dropout does not disturb the measurement, and its own gradients stay as they
    are.
    """
    test = session.data.test
    assert test is not None
    weights = [layer.weight for layer in session.model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    images = probe_images(session, PROBES)
    labels = test.labels[: len(images)].to(session.device)
    with evaluating(session.model):
        loss = F.cross_entropy(session.model(images), labels)
        gradients = torch.autograd.grad(loss, weights)
    return [float(gradient.norm()) for gradient in gradients]
