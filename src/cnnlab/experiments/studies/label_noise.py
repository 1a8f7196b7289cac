"""Training labels that are wrong: what a network memorises, and what it learns all the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cnnlab.data import ImageData
from cnnlab.experiments.drawing import seed_band, seed_bands
from cnnlab.experiments.study import Claim, Study, register_study
from cnnlab.figures import bands
from cnnlab.training import EpochDone, Event, evaluate
from cnnlab.training.session import evaluation_loader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

SHARES = {"0 % wrong": 0.0, "20 % wrong": 0.2, "50 % wrong": 0.5, "80 % wrong": 0.8}
# Images and what they are answered with -> column of the tables.
ANSWERS = {
    "test images: right class": "accuracy",
    "unchanged images: right class": "unchanged_accuracy",
    "changed images: wrong label": "wrong_label_accuracy",
    "changed images: right class": "right_class_accuracy",
}


@register_study
class LabelNoise(Study):
    """LeNet-5 learns digits of which none, a fifth, half or four fifths have a wrong label."""

    title = "What does a network learn from wrong labels?"
    about = (
        "LeNet-5 with ReLU learns digits four times side by side (at small scale 4,000 of them, for 12 epochs). In "
        "the training images of three variants 20, 50 or 80 percent of the labels are wrong: each of these images is "
        "labelled as one of the other nine digits, drawn at random. What is changed in one variant is changed in the "
        "same way in those with more wrong labels. All are trained by Adam at a rate of 0.001 in batches of 64, "
        "without anything against overfitting; the test images have their right labels. After every epoch the network "
        "answers all training images, changed and unchanged ones: does it say the label that it was taught, or the "
        "digit that is on the image? Nothing but the image itself tells a wrong label, so a network that answers with "
        "it has memorised the image: one that knows all digits and has memorised nothing never does, and one that "
        "guesses does so for a tenth of them. The curves show what comes first (Arpit et al. 2017: networks learn "
        "simple patterns first, and memorise afterwards)."
    )
    claims = (
        Claim(
            "Where 80 % of the labels are wrong, the network answers changed images with their wrong label more often "
            "than by guessing, which is 10 %.",
            "Zhang, Bengio, Hardt, Recht, Vinyals: Understanding deep learning requires rethinking generalization, "
            "2017, section 2.1 and figure 1",
            lambda measures: 100 * float(measures["80 % wrong"]["wrong_label_accuracy"]),
            worth=20.0,
            unit="percent of the changed images",
            margin=10.0,
        ),
        Claim(
            "Where half of the labels are wrong, more test images are answered correctly than labels were right.",
            "Rolnick, Veit, Belongie, Shavit: Deep Learning is Robust to Massive Label Noise, 2017, section 3",
            lambda measures: 100 * float(measures["50 % wrong"]["accuracy"]),
            worth=55.0,
            unit="percent of the test images",
            margin=50.0,
        ),
    )
    variants = tuple(SHARES)

    def measure(self, bench: Bench) -> None:
        count, epochs = bench.choose(tiny=(200, 2), small=(4000, 12), full=(None, 100))
        data = bench.data.limited(count, seed=bench.seed)
        recipe = bench.recipe(
            "lenet5", optimizer="adam", lr=1e-3, schedule="constant", batch_size=64, epochs=epochs,
            model_options={"activation": "relu"},
        )  # fmt: skip
        noisy = {variant: with_wrong_labels(data, share, bench.seed) for variant, share in SHARES.items()}

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone):
                record_answers(bench, variant, event, data.train.labels)

        bench.train(dict.fromkeys(SHARES, recipe), watch, data=noisy)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        results = [{**row, "percent": 100 * SHARES[str(row["variant"])], "variant": "all"} for row in tables["results"]]
        over_noise = {}
        for name, column in ANSWERS.items():
            # Without wrong labels there are no changed images.
            rows = [row for row in results if row["percent"] or name.startswith(("test", "unchanged"))]
            if band := seed_band(rows, "all", "percent", column):
                over_noise[name] = band
        panels = {"answers after training: share of the images": over_noise}
        figure = bands(panels, x="percent of the training labels that are wrong", percent=list(panels))
        figure.axes[0].set_xticks(sorted({float(row["percent"]) for row in results}))
        return {
            "over_noise": figure,
            "curves": seed_bands(
                tables["answers_given"], self.variants, ANSWERS, "epoch", columns=2, percent=list(ANSWERS)
            ),
        }


def with_wrong_labels(data: ImageData, share: float, seed: int) -> ImageData:
    """Return the data with a share of the training labels replaced by another class, drawn uniformly.

    With the same seed a larger share changes the same labels in the same way, and further ones.

    Args:
        data: data set; it is not changed.
        share: share of the training images whose label is changed, in 0..1.
        seed: seed of the choice of images and of their new labels.
    """
    count, classes = len(data.train), len(data.classes)
    rng = np.random.default_rng([seed, 0x4015E])
    order, steps = rng.permutation(count), rng.integers(1, classes, count)
    changed = torch.from_numpy(order[: round(share * count)])
    train = copy.copy(data.train)  # the pixels are shared
    train.labels = data.train.labels.clone()
    train.labels[changed] = (train.labels[changed] + torch.from_numpy(steps)[changed]) % classes
    return replace(data, train=train)


def record_answers(bench: Bench, variant: str, event: EpochDone, right: Tensor) -> None:
    """Record what the training images are answered with, changed and unchanged ones apart; it ends as a result.

    Args:
        bench: bench that records.
        variant: name of the variant.
        event: end of an epoch.
        right: right labels of the training images, int64 (N,).
    """
    session = event.session
    train = session.data.train
    logits, taught = evaluate(session.model, evaluation_loader(session, train), session.device, session.precision)
    answers, changed = logits.argmax(1), taught != right.numpy()
    row = {"unchanged_accuracy": float((answers == taught)[~changed].mean())}
    if changed.any():
        row["wrong_label_accuracy"] = float((answers == taught)[changed].mean())
        row["right_class_accuracy"] = float((answers == right.numpy())[changed].mean())
    bench.record("answers_given", variant=variant, epoch=event.epoch, accuracy=event.val_accuracy, **row)
    if event.epoch == session.recipe.epochs:
        bench.result(variant, **row)
