"""Small and large batches for Network in Network, at one learning rate and at a scaled one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.experiments.bench import training_scores
from cnnlab.experiments.drawing import seed_bands, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain, register_study
from cnnlab.training import EpochDone, Event, Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

RATE, BATCH_OF_RATE = 0.01, 16
SMALLEST, MIDDLE, LARGEST, SCALED = "batch 16", "batch 64", "batch 256", "batch 256, rate scaled"
SETTINGS = {
    SMALLEST: (16, RATE),
    MIDDLE: (64, RATE),
    LARGEST: (256, RATE),
    SCALED: (256, RATE * 256 / BATCH_OF_RATE),
}
CHANCE = 0.1  # both data sets have ten classes


@register_study
class NINBatchSize(Study):
    """Network in Network learns from the same photos in batches of three sizes, and with a scaled learning rate."""

    title = "Do smaller batches help Network in Network?"
    about = (
        "Network in Network with an eighth of its channels learns small photos in batches of 16, 64 or 256 at one "
        f"learning rate of {RATE}, and in batches of 256 at sixteen times that rate ({SETTINGS[SCALED][1]:g}), as the "
        "linear scaling rule has it (Goyal et al. 2017). All start from the same weights and see every image equally "
        "often, so that a batch of 256 has a sixteenth of the steps of a batch of 16. SGD has momentum 0.9; the rate "
        "rises over the first tenth of the epochs, for all of them, and is constant then. Dropout is 0.5 between the "
        "layers, as in the paper; nothing is augmented. The loss on the training images is also measured after the "
        "last epoch without dropout, to tell whether a large batch fits the training images less or generalises less. "
        "A training that diverged counts as guessing, 10 %."
    )
    claims = (
        Claim(
            "Batches of 16 give a higher test accuracy than batches of 256 after as many epochs.",
            "Course notes on a zoo of networks: smaller batches help NIN; Masters, Luschi: Revisiting Small Batch "
            "Training for Deep Neural Networks, 2018, abstract; Keskar et al.: On Large-Batch Training for Deep "
            "Learning, 2017",
            accuracy_gain(SMALLEST, LARGEST, chance=CHANCE),
            worth=1.0,
        ),
        Claim(
            "With a rate scaled by the batch, batches of 256 lose less than a point of test accuracy to batches of 16.",
            "Goyal et al.: Accurate, Large Minibatch SGD, 2017, section 2.1 (there for a ResNet on ImageNet)",
            accuracy_gain(SCALED, SMALLEST, chance=CHANCE),
            worth=0.0,
            margin=-1.0,
        ),
        Claim(
            "Large batches take too few steps: at one rate batches of 256 fit even the training images less than "
            "batches of 16.",
            "Hoffer, Hubara, Soudry: Train longer, generalize better, 2017",
            Difference(LARGEST, SMALLEST, "loss_on_training_images"),
            worth=0.05,
            unit="nats of loss on the training images",
        ),
    )
    variants = tuple(SETTINGS)
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone) and event.epoch == event.session.recipe.epochs:
                loss, accuracy = training_scores(event.session)
                bench.result(variant, loss_on_training_images=loss, training_accuracy=accuracy)

        bench.train(recipes(bench), watch)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panel = {"training loss of a batch": "loss"}
        return {
            "curves": training_curves(tables, self.variants),
            "steps": seed_bands(tables["steps"], self.variants, panel, "step", log_x=True),
        }


def recipes(bench: Bench) -> dict[str, Recipe]:
    """Return the recipe of each variant: the same number of epochs, and its own batch and learning rate."""
    size = bench.choose(
        tiny={"train_limit": 300, "epochs": 2, "image_size": 16, "model_options": {"divisor": 8}},
        small={"train_limit": 1500, "epochs": 12, "image_size": 16, "model_options": {"divisor": 8}},
        full={"train_limit": None, "epochs": 100, "image_size": 32},
    )
    recipe = bench.recipe(
        "nin", optimizer="sgd", momentum=0.9, nesterov=False, schedule="constant", warmup_epochs=size["epochs"] / 10,
        **size,
    )  # fmt: skip
    return {variant: recipe.with_overrides(batch_size=batch, lr=rate) for variant, (batch, rate) in SETTINGS.items()}
