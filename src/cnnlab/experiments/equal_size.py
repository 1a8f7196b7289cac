"""Studies that compare blocks of a small convolutional network at equal numbers of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from cnnlab.experiments.drawing import seed_bands
from cnnlab.experiments.network_size import equal_widths, size_columns
from cnnlab.experiments.study import Study
from cnnlab.training import Event, Started
from cnnlab.zoo import create_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Row


class EqualSizeStudy(Study):
    """A study whose networks differ in their blocks, and have the channels that make their parameters equal.

    Attributes:
        blocks: name of each variant -> options of the zoo's ``convnet`` for its blocks.
        small_epochs: epochs at small scale.
    """

    blocks: ClassVar[Mapping[str, Mapping[str, int]]]
    small_epochs: ClassVar[int]
    data = "cifar10"
    pairing = (
        "Within a seed all variants share images and their order, but not initial weights, whose shapes differ; "
        "initialisation, order and the choice of training images vary from seed to seed; the test images are the same."
    )

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": 16},
            small={"train_limit": 1500, "epochs": self.small_epochs, "image_size": 16},
            full={"train_limit": None, "epochs": 60, "image_size": 32},
        )
        base = bench.choose(tiny=(16, 32, 64), small=(16, 32, 64), full=(32, 64, 128))
        colour = bench.data.train.channels == 3  # mirrored digits would be other ones
        recipe = bench.recipe(
            "convnet", optimizer="sgd", momentum=0.9, nesterov=False, weight_decay=5e-4, lr=0.05, schedule="cosine",
            batch_size=64, augment={"crop": size["image_size"] // 8, "flip": colour}, **size,
        )  # fmt: skip
        options = network_options(self.blocks, base, len(bench.data.classes), bench.data.train.channels)
        recipes = {variant: recipe.with_overrides(model_options=option) for variant, option in options.items()}

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Started):
                bench.result(variant, **size_columns(event.session))

        # All networks are tested after every epoch: 2,000 images would take a third of the time.
        images = bench.data.limited(test=bench.choose(tiny=None, small=1000, full=None), seed=0)
        bench.train(recipes, watch, data=dict.fromkeys(recipes, images))


def network_options(
    blocks: Mapping[str, Mapping[str, int]], base: tuple[int, ...], classes: int, channels: int
) -> dict[str, dict[str, Any]]:
    """Return the options of the network of each variant: equal numbers of parameters within 2 percent.

    Args:
        blocks: name of each variant -> options of ``convnet`` for its blocks.
        base: widths of the three blocks of the network with two 3x3 convolutions each, whose size the others have.
        classes: number of classes.
        channels: number of channels of the images.
    """
    wanted = sum(p.numel() for p in create_model("convnet", classes, channels, options={"widths": base}).parameters())
    options = {}
    for variant, block in blocks.items():

        def build(widths: tuple[int, ...], block: Mapping[str, int] = block) -> Any:
            return create_model("convnet", classes, channels, options={**block, "widths": widths})

        options[variant] = {**block, "widths": equal_widths(build, base, wanted)}
    return options


def accuracy_and_size(rows: Sequence[Row], lines: Sequence[str], x: str) -> Figure:
    """Draw test accuracy, parameters and multiply-adds over a property of the blocks.

    Args:
        rows: rows of ``results``, with the name of the line as ``variant``.
        lines: names of the lines.
        x: column of the property.
    """
    panels = {"test accuracy after training": "accuracy", "parameters in thousands": "thousand_parameters",
              "multiply-adds per image in millions": "million_multiply_adds"}  # fmt: skip
    figure = seed_bands(rows, tuple(lines), panels, x, log_x=True)
    for axes in figure.axes[1:]:
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])  # sizes that are nearly equal should look so
    return figure
