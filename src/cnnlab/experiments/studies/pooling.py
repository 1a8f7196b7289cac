"""Max pooling, average pooling or a strided convolution at the end of each block of a convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cnnlab.experiments.bench import probe_images
from cnnlab.experiments.drawing import recorded_pictures, training_curves
from cnnlab.experiments.network_size import size_columns
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.tracing.hooks import evaluating, recording
from cnnlab.training import EpochDone, Event, Started
from cnnlab.training.seeding import seeded
from cnnlab.zoo import create_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables
    from cnnlab.training import Session
    from cnnlab.zoo import Network

SIZE = 16  # side of the images in pixels, at tiny and small scale
RELU, POOLING = "block1.5", "block1.6"  # the layer whose outputs the first pooling gets, and that pooling
CHANNELS = 8  # channels in the figures
UNTRAINED = "before training,"


@register_study
class Pooling(Study):
    """Three small convolutional networks that differ only in how a block ends, trained side by side."""

    title = "Max pooling, average pooling or a strided convolution?"
    about = (
        "A network of three blocks, each with two 3x3 convolutions (16, 32 and 64 channels), BatchNorm and ReLU, "
        "learns small photos. Each block ends by halving the sides of its maps in one of three ways: the maximum of "
        "every 2x2 pixels, their average, or a 2x2 convolution of stride 2 over all channels, which learns what to "
        "keep and adds 22 thousand parameters to 73 thousand. All other weights start equal (He), images and their "
        "order are the same, and SGD with momentum 0.9 starts at a rate of 0.05 in batches of 64, with a cosine "
        "schedule and without augmentation. Scherer et al. compared max pooling with an average that has a trained "
        "factor and bias, Jarrett et al. with a plain average of outputs that had not been rectified. Springenberg "
        "et al. used 3x3 convolutions of stride 2, each followed by a ReLU. The pictures are outputs of the first "
        "block for one test image: before training, where all poolings get the same input, and after it."
    )
    claims = (
        Claim(
            "Max pooling gives a higher test accuracy than average pooling.",
            "Scherer, Müller, Behnke: Evaluation of Pooling Operations, 2010; Jarrett, Kavukcuoglu, Ranzato, LeCun: "
            "What Is the Best Multi-Stage Architecture for Object Recognition?, 2009 (there without rectification)",
            accuracy_gain("max", "average", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "A strided convolution loses less than 1 point of test accuracy to max pooling.",
            "Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for Simplicity, 2015, section 3.2 and table 3",
            accuracy_gain("strided", "max", chance=0.1),
            worth=0.0,
            margin=-1.0,
        ),
    )
    variants = ("max", "average", "strided")
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": SIZE},
            small={"train_limit": 2000, "epochs": 10, "image_size": SIZE},
            full={"train_limit": None, "epochs": 60, "image_size": 32},
        )
        recipe = bench.recipe(
            "convnet", optimizer="sgd", momentum=0.9, nesterov=False, lr=0.05, schedule="cosine", batch_size=64, **size
        )
        classes, channels = len(bench.data.classes), bench.data.train.channels
        models = networks(self.variants, bench.seed, classes, channels, size["image_size"])

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started):
                bench.result(variant, **size_columns(event.session))
            if not bench.keeps_pictures or not isinstance(event, Started | EpochDone):
                return
            before, after = pooling_maps(event.session)
            if isinstance(event, Started):
                if variant == bench.variants[0]:
                    bench.record_pictures("untrained", f"{UNTRAINED} input of all three", before)
                bench.record_pictures("untrained", f"{UNTRAINED} {variant}", after)
            elif event.epoch == event.session.recipe.epochs:
                bench.record_pictures("trained", f"after training, {variant}: input", before)
                bench.record_pictures("trained", f"after training, {variant}: output", after)

        # The weights have been shared already: counted from the first layer, as the bench does it, the convolutions of
        # the strided network would be paired with other ones.
        bench.train(dict.fromkeys(self.variants, recipe), watch, models=models, share_weights=False)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        untrained = [f"{UNTRAINED} {name}" for name in ("input of all three", *self.variants)]
        trained = [f"after training, {variant}: {end}" for variant in self.variants for end in ("input", "output")]
        drawn = {
            table: [row for row in tables[table] if int(row["channel"]) < CHANNELS]
            for table in ("untrained", "trained")
        }
        return {
            "curves": training_curves(tables, self.variants),
            "before_training": recorded_pictures(drawn["untrained"], untrained),
            "after_training": recorded_pictures(drawn["trained"], trained),
        }


def networks(variants: tuple[str, ...], seed: int, classes: int, channels: int, image_size: int) -> dict[str, Network]:
    """Return a network for each kind of pooling, with equal weights except for those of strided convolutions."""
    models: dict[str, Network] = {}
    for variant in variants:
        with seeded(torch.device("cpu"), seed):
            options = {"widths": (16, 32, 64), "pooling": variant}
            models[variant] = create_model("convnet", classes, channels, image_size, options=options)
        models[variant].load_state_dict(models[variants[0]].state_dict(), strict=False)
    return models


def pooling_maps(session: Session) -> tuple[Tensor, Tensor]:
    """Return input and output of the first pooling, (C, H, W) and (C, H / 2, W / 2), for the first test image."""
    with evaluating(session.model), torch.no_grad(), recording(session.model, [RELU, POOLING]) as outputs:
        session.model(probe_images(session, 1))
    return outputs[RELU][0], outputs[POOLING][0]
