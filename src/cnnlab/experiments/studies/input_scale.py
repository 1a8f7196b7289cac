"""Inputs of 0..255, 0..1, or standardised: how much does it matter to a convolutional network?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnlab.experiments.study import Claim, Difference, Study, register_study

if TYPE_CHECKING:
    from cnnlab.experiments.bench import Bench

# What is subtracted from pixels in 0..1, and what they are divided by.
SCALES = {"0 to 255": (0.0, 1 / 255), "0 to 1": (0.0, 1.0), "standardised": None}


@register_study
class InputScale(Study):
    """The same network on pixels of 0..255, of 0..1, and with the mean and deviation of the training images removed."""

    title = "Do pixels have to be scaled?"
    about = (
        "A small convolutional network learns digits from pixels of 0 to 255, from pixels divided by 255, and from "
        "pixels that have mean 0 and standard deviation 1 over the training images. Optimizer, learning rate, initial "
        "weights and order of the images are the same."
    )
    claims = (
        Claim(
            "Dividing pixels by 255 lowers the training loss after the same number of epochs.",
            "MNIST notes: without normalisation it will converge, but very slowly",
            Difference("0 to 255", "0 to 1", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
        Claim(
            "Standardised pixels give a lower training loss than pixels of 0 to 1.",
            "LeCun, Bottou, Orr, Müller: Efficient BackProp, 1998, section 4.3",
            Difference("0 to 1", "standardised", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
        Claim(
            "Standardised pixels give a higher test accuracy than pixels of 0 to 255.",
            "LeCun, Bottou, Orr, Müller: Efficient BackProp, 1998, section 4.3",
            Difference("standardised", "0 to 255", factor=100, diverged=0.1),
            worth=0.5,
        ),
    )
    variants = tuple(SCALES)

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 4000, "epochs": 5},
            full={"train_limit": None, "epochs": 20},
        )
        recipe = bench.recipe("mnist_cnn", optimizer="adam", lr=1e-4, schedule="constant", batch_size=32, **size)
        channels = bench.data.train.channels
        recipes = {}
        for variant, scale in SCALES.items():
            numbers: dict[str, Any] = (
                {} if scale is None else {"mean": (scale[0],) * channels, "std": (scale[1],) * channels}
            )
            recipes[variant] = recipe.with_overrides(**numbers)
        bench.train(recipes)
