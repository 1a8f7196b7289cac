"""Few wide convolutions or many thin ones: networks of three depths with equal numbers of parameters."""

from __future__ import annotations

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

DEPTHS = {"1 per stage": 1, "2 per stage": 2, "4 per stage": 4}  # convolutions in each of the three stages
DEPTH = "convolutions_per_stage"


@register_study
class WidthDepth(Study):
    """Three networks whose stages have one, two and four convolutions, and as many channels as makes them equal."""

    title = "Wide and shallow, or thin and deep?"
    about = (
        "Three networks of three stages learn small photos side by side. A stage has one, two or four 3x3 "
        "convolutions, each followed by BatchNorm and ReLU, and ends with max pooling. With two per stage there are "
        "16, 32 and 64 channels; the channels of the others are searched, in about the same proportions, so that all "
        "networks have the same number of parameters within 2 percent: the deeper, the thinner. (The VGG paper added "
        "layers and parameters together; the networks of Wide residual networks have shortcuts, these have none.) "
        "Deeper networks also look at more pixels of the image. As the shapes of the weights differ, each network "
        "draws its own (He). All are trained by SGD with momentum 0.9 and weight decay 0.0005 in batches of 64, from "
        "a rate of 0.05 down a cosine, on randomly shifted and mirrored photos. At small scale there are 1,500 photos "
        "of 16x16 pixels and 240 steps, where the papers took tens of thousands of steps on many more photos, so that "
        "only the beginning of a training is compared. The file timings.csv says how long each training took."
    )
    claims = (
        Claim(
            "Two convolutions per stage give a higher test accuracy than one.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 4.1",
            accuracy_gain("2 per stage", "1 per stage", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "Four convolutions per stage give a higher test accuracy than one.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 4.1",
            accuracy_gain("4 per stage", "1 per stage", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "Two wide convolutions per stage lose less than 1 point to four thin ones.",
            "Zagoruyko, Komodakis: Wide Residual Networks, 2016, section 3",
            accuracy_gain("2 per stage", "4 per stage", chance=0.1),
            worth=0.0,
            margin=-1.0,
        ),
    )
    variants = tuple(DEPTHS)
    data = "cifar10"
    pairing = (
        "Within a seed all variants share images and their order, but not initial weights, whose shapes differ; "
        "initialisation, order and the choice of training images vary from seed to seed; the test images are the same."
    )

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": 16},
            small={"train_limit": 1500, "epochs": 10, "image_size": 16},
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

        # All networks are tested after every epoch: 2,000 images would take a third of the time.
        images = bench.data.limited(test=bench.choose(tiny=None, small=1000, full=None), seed=0)
        bench.train(recipes, watch, data=dict.fromkeys(recipes, images))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        equal = "networks of equal parameters"
        rows = [{**row, "variant": equal, DEPTH: DEPTHS[str(row["variant"])]} for row in tables["results"]]
        panels = {"test accuracy after training": "accuracy", "parameters in thousands": "thousand_parameters",
                  "multiply-adds per image in millions": "million_multiply_adds"}  # fmt: skip
        over_depth = seed_bands(rows, (equal,), panels, DEPTH, log_x=True)
        for axes in over_depth.axes[1:]:
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])  # sizes that are nearly equal should look so
        return {"over_depth": over_depth, "curves": training_curves(tables, self.variants)}


def network_options(base: tuple[int, ...], classes: int, channels: int) -> dict[str, dict[str, Any]]:
    """Return the options of the network of each variant: equal numbers of parameters within 2 percent.

    Args:
        base: widths of the three stages with two convolutions each.
        classes: number of classes.
        channels: number of channels of the images.
    """
    wanted = sum(p.numel() for p in create_model("convnet", classes, channels, options={"widths": base}).parameters())
    options = {}
    for variant, depth in DEPTHS.items():

        def build(widths: tuple[int, ...], depth: int = depth) -> Any:
            return create_model("convnet", classes, channels, options={"convolutions": depth, "widths": widths})

        options[variant] = {"convolutions": depth, "widths": equal_widths(build, base, wanted)}
    return options
