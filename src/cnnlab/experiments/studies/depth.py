"""Plain and residual networks of 20, 32 and 44 layers: does depth help the training?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cnnlab.experiments.bench import Diverged
from cnnlab.experiments.drawing import seed_band, seed_bands, split_variants
from cnnlab.experiments.study import Claim, Difference, Study, register_study
from cnnlab.figures import bands
from cnnlab.training import EpochDone, Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

DEPTHS = (20, 32, 44)
KINDS = {"plain": False, "residual": True}
BATCH, RATE = 128, 0.1  # those of the paper


@register_study
class Depth(Study):
    """The paper's networks for CIFAR-10 at three depths, with and without shortcuts, trained side by side."""

    title = "What do shortcuts do for deep networks?"
    about = (
        "The networks of the ResNet paper for CIFAR-10 with 20, 32 and 44 layers, each once with its shortcuts "
        "(residual) and once without them (plain), learn the same photos side by side. All have BatchNorm, so that "
        "the signal vanishes in none of them. SGD with momentum 0.9, weight decay 0.0001, random crops and mirrored "
        "images, and a rate that is divided by 10 after half and after three quarters of the training are those of "
        "the paper. The training error is the share of wrong answers over the last epoch, each given before the step "
        "that learns from the image. At small scale there are 900 photos of 16x16 pixels and 170 steps of 16 photos, "
        "where the paper made 64,000 steps of 128 on 50,000 photos; the paper's rate of 0.1 is divided by 8 as the "
        "batch is (Goyal et al. 2017). So the study sees the beginning of what the paper saw."
    )
    claims = (
        Claim(
            "A plain network of 44 layers has a higher training error than one of 20 layers.",
            "He, Zhang, Ren, Sun: Deep residual learning, 2015, section 4.2 and figure 6, left",
            Difference("plain 44", "plain 20", "train_error", factor=100, diverged=0.9),
            worth=1.0,
        ),
        Claim(
            "A residual network of 44 layers has a lower training error than one of 20 layers.",
            "He, Zhang, Ren, Sun: Deep residual learning, 2015, section 4.2 and figure 6, middle",
            Difference("residual 20", "residual 44", "train_error", factor=100, diverged=0.9),
            worth=1.0,
        ),
    )
    variants = tuple(f"{kind} {depth}" for kind in KINDS for depth in DEPTHS)
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 32, "epochs": 2, "batch_size": 16, "image_size": 8},
            small={"train_limit": 900, "epochs": 3, "batch_size": 16, "image_size": 16},
            full={"train_limit": None, "epochs": 164, "batch_size": BATCH, "image_size": 32},
        )
        recipe = bench.recipe(
            "resnet20", optimizer="sgd", momentum=0.9, nesterov=False, weight_decay=1e-4, decay_all=True,
            lr=RATE * size["batch_size"] / BATCH, schedule="step", milestones=(0.5, 0.75),
            augment={"crop": size["image_size"] // 8, "flip": bench.data.train.channels == 3}, **size,
        )  # fmt: skip
        recipes = {
            f"{kind} {depth}": recipe.with_overrides(model=f"resnet{depth}", model_options={"shortcuts": shortcuts})
            for kind, shortcuts in KINDS.items()
            for depth in DEPTHS
        }

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone):
                bench.result(variant, train_error=1 - event.train_accuracy)
            elif isinstance(event, Diverged):
                bench.result(variant, train_error=math.nan)

        # The claims are about the training: more test images would take a third of the time.
        images = bench.data.limited(test=bench.choose(tiny=50, small=200, full=None), seed=0)
        bench.train(recipes, watch, data=dict.fromkeys(recipes, images))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        curves = [
            {**row, "train_error": 1 - float(row["train_accuracy"]), "test_error": 1 - float(row["accuracy"])}
            for row in split_variants(tables["curves"], "depth")
        ]
        errors = {
            f"{kind}: {title}": {
                f"{depth} layers": band
                for depth in DEPTHS
                if (band := seed_band([row for row in curves if row["depth"] == depth], kind, "epoch", column))
            }
            for kind in KINDS
            for title, column in (("training error", "train_error"), ("test error", "test_error"))
        }
        last = max(int(row["epoch"]) for row in curves)
        final = [row for row in curves if row["epoch"] == last]
        panels = {"training error of the last epoch": "train_error", "test error after training": "test_error"}
        return {
            "over_depth": seed_bands(final, tuple(KINDS), panels, "depth", percent=list(panels)),
            "curves": bands(errors, x="epoch", percent=list(errors), columns=2),
        }
