"""Dropout where it should help most: a dense network and 500 photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.experiments.bench import training_scores
from cnnlab.experiments.drawing import seed_band, seed_bands
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain, register_study
from cnnlab.figures import bands
from cnnlab.training import EpochDone, Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

KEEP = {"keep 100 %": 1.0, "keep 90 %": 0.9, "keep 75 %": 0.75, "keep 50 %": 0.5, "keep 25 %": 0.25}


@register_study
class DropoutFewImages(Study):
    """A network with one hidden layer learns 500 photos with five rates of dropout side by side."""

    title = "Does dropout help when there are only 500 images?"
    about = (
        "A network with one hidden layer of 500 ReLU units learns 500 photos of CIFAR-10 for 25 epochs with Adam at a "
        "rate of 0.0005, in batches of 100, as in assignment 2 of CS231n. The variants differ in the share of the "
        "hidden units that dropout keeps in a step. Every seed takes another 500 photos. Training and test accuracy "
        "are both measured with all units, so that the noise of dropout is in neither; the gap is their difference. "
        "The paper on dropout itself saw no gain with so few images (Srivastava et al. 2014, section 7.4)."
    )
    claims = (
        Claim(
            "Keeping only a quarter of the units makes the gap between training and test accuracy smaller.",
            "CS231n, assignment 2, Dropout: regularization experiment with 500 images",
            Difference("keep 100 %", "keep 25 %", "gap", factor=100),
            worth=2.0,
        ),
        Claim(
            "Keeping only a quarter of the units gives a higher test accuracy than no dropout.",
            "CS231n, assignment 2, Dropout: regularization experiment with 500 images",
            accuracy_gain("keep 25 %", "keep 100 %", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "Keeping half of the units gives a higher test accuracy than no dropout.",
            "Srivastava et al.: Dropout, 2014, section 1: a half is close to optimal for many networks and tasks",
            accuracy_gain("keep 50 %", "keep 100 %", chance=0.1),
            worth=1.0,
        ),
    )
    variants = tuple(KEEP)
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        # The source's own size takes seconds; at full scale all test images are asked.
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 3},
            small={"train_limit": 500, "epochs": 25},
            full={"train_limit": 500, "epochs": 25},
        )
        recipe = bench.recipe("mlp", optimizer="adam", lr=5e-4, schedule="constant", batch_size=100, **size)
        recipes = {
            variant: recipe.with_overrides(model_options={"hidden": (500,), "dropout": 1 - keep})
            for variant, keep in KEEP.items()
        }

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone):
                record_gap(bench, variant, event)

        bench.train(recipes, watch)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {
            "training accuracy, all units": "train_accuracy",
            "test accuracy": "accuracy",
            "gap between the two accuracies": "gap",
        }
        return {
            "gap_over_training": seed_bands(tables["gaps"], self.variants, panels, "epoch", percent=list(panels)),
            "sweep": sweep(tables),
        }


def record_gap(bench: Bench, variant: str, event: EpochDone) -> None:
    """Record training and test accuracy without the noise of dropout, and their difference; it ends as a result."""
    _, train_accuracy = training_scores(event.session)
    gap = train_accuracy - event.val_accuracy
    bench.record(
        "gaps", variant=variant, epoch=event.epoch, train_accuracy=train_accuracy, accuracy=event.val_accuracy, gap=gap
    )
    if event.epoch == event.session.recipe.epochs:
        bench.result(variant, clean_train_accuracy=train_accuracy, gap=gap)


def sweep(tables: Tables) -> Figure:
    """Draw training and test accuracy, and the gap between them, over the share of the units that is kept."""
    rows = [
        row | {"percent": round(100 * KEEP[str(row["variant"])]), "variant": name, "value": row[column]}
        for row in tables["results"]
        for name, column in (("training", "clean_train_accuracy"), ("test", "accuracy"), ("gap", "gap"))
    ]
    lines = {name: seed_band(rows, name, "percent", "value") for name in ("training", "test", "gap")}
    panels = {
        "accuracy with all units": {name: lines[name] for name in ("training", "test")},
        "gap between training and test accuracy": {"gap": lines["gap"]},
    }
    return bands(
        {title: {name: line for name, line in panel.items() if line is not None} for title, panel in panels.items()},
        x="percent of the hidden units that dropout keeps",
        percent=list(panels),
    )
