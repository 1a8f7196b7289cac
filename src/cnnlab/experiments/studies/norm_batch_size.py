"""BatchNorm and LayerNorm against the size of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.experiments.bench import training_scores
from cnnlab.experiments.drawing import seed_bands, split_variants, training_curves
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.training import EpochDone, Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

NORMS = {"BatchNorm": "batch", "LayerNorm": "layer"}
BATCHES = (2, 8, 32, 128)
RATE, BATCH_OF_RATE = 0.1, 128  # the learning rate is 0.1 for a batch of 128, and proportional to the batch
CHANCE = 0.1  # both data sets have ten classes


@register_study
class NormBatchSize(Study):
    """Two hidden layers with BatchNorm or LayerNorm, trained with batches of four sizes."""

    title = "Does BatchNorm need large batches?"
    about = (
        "Networks of two hidden layers with 128 ReLU units learn digits with BatchNorm or LayerNorm before each ReLU, "
        "in batches of 2, 8, 32 or 128. BatchNorm takes mean and variance of a unit over the images of a batch, "
        "LayerNorm those of an image over the units of a layer, so that the batch does not matter to it. All start "
        "from the same weights and see the images equally often: at small scale 1,500 images for five epochs. SGD has "
        "momentum 0.9 and a constant rate that is proportional to the batch (Goyal et al. 2017), 0.1 for 128 images. "
        "In test mode BatchNorm uses running means of the statistics of all batches instead. The accuracy on the "
        "training images is therefore shown twice: over the last epoch, in training mode, and after it, in test mode. "
        "A training that diverged counts as guessing, 10 %."
    )
    claims = (
        Claim(
            "BatchNorm gives a higher test accuracy in batches of 32 than of 2.",
            "Ioffe: Batch Renormalization, 2017, section 4.2; CS231n, assignment 2: batch normalization and batch size",
            accuracy_gain("BatchNorm 32", "BatchNorm 2", chance=CHANCE),
            worth=1.0,
        ),
        Claim(
            "From batches of 32 to 2, LayerNorm loses less than a point of test accuracy.",
            "Ba, Kiros, Hinton: Layer Normalization, 2016, section 6.6 (there with batches of 128 and 4)",
            accuracy_gain("LayerNorm 2", "LayerNorm 32", chance=CHANCE),
            worth=0.0,
            margin=-1.0,
        ),
        Claim(
            "In batches of 2, LayerNorm gives a higher test accuracy than BatchNorm.",
            "Ba, Kiros, Hinton: Layer Normalization, 2016, section 6.6; CS231n, assignment 2: layer normalization",
            accuracy_gain("LayerNorm 2", "BatchNorm 2", chance=CHANCE),
            worth=1.0,
        ),
        Claim(
            "In batches of 32, BatchNorm gives a higher test accuracy than LayerNorm.",
            "Wu, He: Group Normalization, 2018, section 4.1 (there for a ResNet on ImageNet)",
            accuracy_gain("BatchNorm 32", "LayerNorm 32", chance=CHANCE),
            worth=0.5,
        ),
    )
    variants = tuple(f"{norm} {batch}" for norm in NORMS for batch in BATCHES)

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 1500, "epochs": 5},
            full={"train_limit": None, "epochs": 20},
        )
        recipe = bench.recipe("mlp", optimizer="sgd", momentum=0.9, nesterov=False, schedule="constant", **size)
        recipes = {
            f"{name} {batch}": recipe.with_overrides(
                batch_size=batch, lr=RATE * batch / BATCH_OF_RATE, model_options={"hidden": (128, 128), "norm": norm}
            )
            for name, norm in NORMS.items()
            for batch in BATCHES
        }

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone) and event.epoch == event.session.recipe.epochs:
                _, accuracy = training_scores(event.session)
                bench.result(variant, accuracy_in_training=event.train_accuracy, accuracy_after_training=accuracy)

        bench.train(recipes, watch)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {
            "test accuracy": "accuracy",
            "training accuracy, training mode": "accuracy_in_training",
            "training accuracy, test mode": "accuracy_after_training",
        }
        guessing = dict.fromkeys(panels.values(), CHANCE)
        rows = [
            {**row, **guessing} if row["diverged"] else row for row in split_variants(tables["results"], "batch_size")
        ]
        curves = [f"{norm} {batch}" for norm in NORMS for batch in (2, 32)]
        return {
            "batch_sizes": seed_bands(rows, tuple(NORMS), panels, "batch_size", log_x=True),
            "curves": training_curves(tables, curves, log_y=["training loss"]),
        }
