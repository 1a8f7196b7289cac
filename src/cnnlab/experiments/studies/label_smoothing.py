"""Label smoothing: test accuracy, and how far the confidence of the network can be believed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cnnlab.experiments.drawing import seed_band, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain, register_study
from cnnlab.figures import bands
from cnnlab.training import Event, Finished
from cnnlab.training.metrics import calibration_error, reliability_bins, softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Row, Tables

SMOOTHING = {"no smoothing": 0.0, "smoothing": 0.1}
BINS = 15


@register_study
class LabelSmoothing(Study):
    """A small convolutional network learns from the labels as they are, and from labels that are smoothed."""

    title = "Does label smoothing make answers more accurate, and their confidence more credible?"
    about = (
        "A network of two 5x5 convolutions (16 and 32 channels, each with ReLU and 2x2 max pooling) and a dense layer "
        "learns 3,000 photos of CIFAR-10, reduced to 16x16 pixels, for 10 epochs with Adam at a rate of 0.001 in "
        "batches of 64: once from the labels as they are, once with a smoothing of 0.1, which makes the target 0.91 "
        "for the true class and 0.01 for each other one. The confidence of an answer is its probability. For the "
        "expected calibration error the answers are sorted into 15 bins of confidence; it is the distance between the "
        "mean confidence and the accuracy of a bin, averaged over the test images. Training losses of the two cannot "
        "be compared, because the targets differ; test losses can, because both are measured with the labels as they "
        "are."
    )
    claims = (
        Claim(
            "Label smoothing gives a higher test accuracy.",
            "Szegedy et al.: Rethinking the Inception Architecture for Computer Vision, 2016, section 7",
            accuracy_gain("smoothing", "no smoothing", chance=0.1),
            worth=0.5,
        ),
        Claim(
            "Label smoothing lowers the expected calibration error.",
            "Müller, Kornblith, Hinton: When Does Label Smoothing Help?, 2019, section 3 and table 3",
            Difference("no smoothing", "smoothing", "calibration_error", factor=100),
            worth=1.0,
        ),
    )
    variants = tuple(SMOOTHING)
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": 16},
            small={"train_limit": 3000, "epochs": 10, "image_size": 16},
            full={"train_limit": None, "epochs": 60, "image_size": 32},
        )
        # NHWC: max pooling on CPUs is several times faster than with NCHW, and no less repeatable.
        recipe = bench.recipe(
            "mnist_cnn", optimizer="adam", lr=1e-3, schedule="constant", batch_size=64, channels_last=True, **size
        )
        recipes = {
            variant: recipe.with_overrides(label_smoothing=smoothing) for variant, smoothing in SMOOTHING.items()
        }

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, Finished):
                record_calibration(bench, variant, event.logits, event.labels)

        bench.train(recipes, watch)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        return {
            "reliability": reliability(tables["reliability"], self.variants),
            "curves": training_curves(tables, self.variants, {"test accuracy": "accuracy", "test loss": "loss"}),
        }


def record_calibration(
    bench: Bench, variant: str, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> None:
    """Record the calibration error with its bins, and the mean confidence.

    Args:
        bench: bench that records.
        variant: name of the variant.
        logits: (N, K) outputs of the network for the test images.
        labels: (N,) their classes.
    """
    probabilities = softmax(logits)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = reliability_bins(confidence, correct, BINS)
    bench.result(variant, calibration_error=calibration_error(bins), mean_confidence=float(confidence.mean()))
    for number, one in enumerate(bins, 1):
        bench.record(
            "reliability",
            variant=variant,
            bin=number,
            images=one.count,
            confidence=math.nan if one.confidence is None else one.confidence,
            accuracy=math.nan if one.accuracy is None else one.accuracy,
        )


def reliability(rows: Sequence[Row], variants: Sequence[str]) -> Figure:
    """Draw accuracy over confidence (Guo et al. 2017, figure 1), and how often each confidence occurs.

    Args:
        rows: rows of the table ``reliability``.
        variants: names of the variants.
    """
    images: dict[tuple[object, object], int] = {}
    for row in rows:
        training = (row["seed"], row["variant"])
        images[training] = images.get(training, 0) + int(row["images"])
    points = [
        row
        | {
            "middle": 100 * (int(row["bin"]) - 0.5) / BINS,
            "share": int(row["images"]) / images[row["seed"], row["variant"]],
        }
        for row in rows
    ]
    titles = {"accuracy of the answers": "accuracy", "share of the test images": "share"}
    panels = {
        title: {
            variant: band for variant in variants if (band := seed_band(points, variant, "middle", column)) is not None
        }
        for title, column in titles.items()
    }
    panels["accuracy of the answers"]["perfectly calibrated"] = (np.linspace(0, 100, 50), np.linspace(0, 1, 50)[None])
    return bands(panels, x="confidence in percent", percent=list(titles))
