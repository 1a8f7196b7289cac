"""Convolutions of 3x3 against 1x1, 5x5 and 7x7 in networks of equal numbers of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnlab.experiments.drawing import seed_bands, training_curves
from cnnlab.experiments.network_size import equal_widths, size_columns
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.training import Event, Started
from cnnlab.zoo import create_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

SIDE = "side_of_the_kernels_in_pixels"


@dataclass(frozen=True)
class Block:
    """The convolutions of a block.

    Attributes:
        convolutions: number of convolutions.
        kernel: side of their kernels in pixels.
    """

    convolutions: int
    kernel: int


BLOCKS = {"two 3x3": Block(2, 3), "one 5x5": Block(1, 5), "two 7x7": Block(2, 7), "two 1x1": Block(2, 1)}


@register_study
class KernelSize(Study):
    """Four networks whose blocks have other kernels, and as many channels as make their parameters equal."""

    title = "Are small kernels better than large ones?"
    about = (
        "Four networks of three blocks learn small photos side by side. A block has two 3x3 convolutions, one 5x5 "
        "convolution, which looks at as many pixels as those two, two 7x7 or two 1x1 convolutions; each is followed by "
        "BatchNorm and ReLU, and a block ends with max pooling. The network of 3x3 kernels has 16, 32 and 64 channels; "
        "the channels of the others are searched, in about the same proportions, so that all networks have the same "
        "number of parameters within 2 percent. (The VGG paper let the channels be equal instead, so that its network "
        "of 5x5 kernels had more parameters than the one of 3x3.) With 1x1 kernels only the pooling brings pixels "
        "together. As the shapes of the weights differ, each network draws its own (He). All are trained by SGD with "
        "momentum 0.9 and weight decay 0.0005 in batches of 64, from a rate of 0.05 down a cosine, on randomly shifted "
        "and mirrored photos."
    )
    claims = (
        Claim(
            "Two 3x3 convolutions give a higher test accuracy than one of 5x5.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, sections 2.3 and 4.1; Szegedy et al.: "
            "Rethinking the Inception Architecture, 2016, section 3.1",
            accuracy_gain("two 3x3", "one 5x5", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "3x3 convolutions give a higher test accuracy than 7x7 convolutions.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 2.3",
            accuracy_gain("two 3x3", "two 7x7", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "3x3 convolutions give a higher test accuracy than 1x1 convolutions.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 4.1",
            accuracy_gain("two 3x3", "two 1x1", chance=0.1),
            worth=1.0,
        ),
    )
    variants = tuple(BLOCKS)
    data = "cifar10"
    pairing = (
        "Within a seed all variants share images and their order, but not initial weights, whose shapes differ; "
        "initialisation, order and the choice of training images vary from seed to seed; the test images are the same."
    )

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": 16},
            small={"train_limit": 1500, "epochs": 8, "image_size": 16},
            full={"train_limit": None, "epochs": 60, "image_size": 32},
        )
        base = bench.choose(tiny=(16, 32, 64), small=(16, 32, 64), full=(32, 64, 128))
        colour = bench.data.train.channels == 3  # mirrored digits would be other ones
        recipe = bench.recipe(
            "convnet", optimizer="sgd", momentum=0.9, nesterov=False, weight_decay=5e-4, lr=0.05, schedule="cosine",
            batch_size=64, augment={"crop": size["image_size"] // 8, "flip": colour}, **size,
        )  # fmt: skip
        options = network_options(base, len(bench.data.classes), bench.data.train.channels)
        recipes = {variant: recipe.with_overrides(model_options=option) for variant, option in options.items()}

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started):
                bench.result(variant, **size_columns(event.session))

        # All four networks are tested after every epoch: 2,000 images would take a third of the time.
        images = bench.data.limited(test=bench.choose(tiny=None, small=1000, full=None), seed=0)
        bench.train(recipes, watch, data=dict.fromkeys(recipes, images))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        rows: list[Any] = []
        for row in tables["results"]:
            block = BLOCKS[str(row["variant"])]
            name = f"{('one', 'two')[block.convolutions - 1]} in a block"
            rows.append({**row, "variant": name, SIDE: block.kernel})
        panels = {"test accuracy after training": "accuracy", "parameters in thousands": "thousand_parameters",
                  "multiply-adds per image in millions": "million_multiply_adds"}  # fmt: skip
        over_side = seed_bands(rows, ("two in a block", "one in a block"), panels, SIDE, log_x=True)
        for axes in over_side.axes[1:]:
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])  # sizes that are nearly equal should look so
        return {"over_side": over_side, "curves": training_curves(tables, self.variants)}


def network_options(base: tuple[int, ...], classes: int, channels: int) -> dict[str, dict[str, Any]]:
    """Return the options of the network of each variant: equal numbers of parameters within 2 percent.

    Args:
        base: widths of the three blocks with two 3x3 convolutions each.
        classes: number of classes.
        channels: number of channels of the images.
    """
    wanted = sum(p.numel() for p in create_model("convnet", classes, channels, options={"widths": base}).parameters())
    options = {}
    for variant, block in BLOCKS.items():
        option = {"convolutions": block.convolutions, "kernel": block.kernel}

        def build(widths: tuple[int, ...], option: dict[str, int] = option) -> Any:
            return create_model("convnet", classes, channels, options={**option, "widths": widths})

        options[variant] = {**option, "widths": equal_widths(build, base, wanted)}
    return options
