"""How much accuracy dense, convolutional and mixing networks lose when the test images are shifted by a few pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.data import ArraySplit
from cnnlab.experiments.drawing import recorded_map, seed_bands, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, register_study
from cnnlab.figures import image_grid
from cnnlab.training import Session
from cnnlab.training.evaluation import evaluate, loss_and_accuracy
from cnnlab.training.seeding import seeded
from cnnlab.training.session import evaluation_loader
from cnnlab.zoo.mixer import Mixer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Tables

SIDE = 28  # side of the images in pixels
SHIFTS = (1, 2, 3, 4)  # pixels
PANELS = {"test accuracy, shifted left or right": "across", "test accuracy, shifted up or down": "down"}


def lost_by_convnet(measures: Measures) -> float:
    """Return what the convnet loses on shifted images, in percentage points; NaN if its training diverged."""
    row = measures["convnet"]
    return math.nan if row["diverged"] else 100 * float(row["lost_by_shifts"])


@register_study
class Shift(Study):
    """Four networks of about 62 thousand parameters learn centred digits and are tested on shifted ones."""

    title = "How much accuracy does a shift of a few pixels cost?"
    about = (
        "Four networks of about 62 thousand parameters each learn centred digits, without augmentation: an MLP with "
        "one hidden layer, LeNet-5 with ReLU, a small VGG-like convnet that averages its last maps over all positions, "
        "and a small MLP-Mixer on patches of 4x4 pixels, whose dense layers across the patches have weights of their "
        "own for every position. Then 500 test digits (all at full scale) are shifted by 1 to 4 pixels to the right, "
        "to the left, down and up, and the border is filled with zeros. A digit fits into 20x20 of 28x28 pixels, its "
        "centre of mass in the middle, so that most shifts cut nothing off, and others the tip of a stroke. What a "
        "network loses is its accuracy on the same digits without a shift minus the mean accuracy over the 16 shifts. "
        "All are trained by Adam with the same one-cycle schedule and an equal number of steps."
    )
    claims = (
        Claim(
            "An MLP-Mixer loses more accuracy on shifted images than a convolutional network with global pooling.",
            "Tolstikhin et al.: MLP-Mixer, 2021: its dense layers across patches have a weight per position",
            Difference("MLP-Mixer", "convnet", "lost_by_shifts", factor=100),
            worth=2.0,
        ),
        Claim(
            "An MLP loses more accuracy on shifted images than LeNet-5.",
            "LeCun, Bottou, Bengio, Haffner: Gradient-based learning, 1998, section II: dense networks have no "
            "built-in invariance to translation",
            Difference("MLP", "LeNet-5", "lost_by_shifts", factor=100),
            worth=2.0,
        ),
        Claim(
            "LeNet-5, which ends with dense layers, loses more than a convolutional network with global pooling.",
            "Lin, Chen, Yan: Network in Network, 2014, section 3.2: global pooling is more robust to translation",
            Difference("LeNet-5", "convnet", "lost_by_shifts", factor=100),
            worth=2.0,
        ),
        Claim(
            "Even a convolutional network with global pooling loses accuracy on shifted images.",
            "Azulay, Weiss: Why do deep convolutional networks generalize so poorly to small image transformations?, "
            "2019; Zhang: Making convolutional networks shift-invariant again, 2019",
            lost_by_convnet,
            worth=1.0,
        ),
    )
    variants = ("MLP", "LeNet-5", "convnet", "MLP-Mixer")

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 3000, "epochs": 3},
            full={"train_limit": None, "epochs": 20},
        )
        # NHWC: max pooling on CPUs is several times faster than with NCHW, and no less repeatable.
        recipe = bench.recipe(
            "mlp", model_options={"hidden": (77,)}, image_size=SIDE, optimizer="adam", lr=1e-3, batch_size=32,
            channels_last=True, **size,
        )  # fmt: skip
        recipes = {
            "MLP": recipe,
            "LeNet-5": recipe.with_overrides(model="lenet5", model_options={"activation": "relu"}),
            "convnet": recipe.with_overrides(model="convnet", model_options={"widths": (15, 30, 60)}),
            "MLP-Mixer": recipe,
        }
        with seeded(torch.device("cpu"), bench.seed):
            mixer = Mixer(4, 40, len(bench.data.classes), bench.data.train.channels, SIDE)
        trained = bench.train(recipes, models={"MLP-Mixer": mixer})
        count = bench.choose(tiny=50, small=500, full=None)
        for variant, session in trained.items():
            record_shifts(bench, variant, session, count)
        if bench.keeps_pictures and trained:
            example = first_test_images(next(iter(trained.values())), 1).pixels[0].float().mean(0) / 255  # in grey
            bench.record_pictures("pictures", "example", torch.stack([shifted(example, 0, by) for by in (0, *SHIFTS)]))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        images = [(recorded_map(row), int(row["channel"])) for row in tables["pictures"]]
        return {
            "accuracy_over_shift": seed_bands(tables["shifts"], self.variants, PANELS, "shift_in_pixels"),
            "images": image_grid(
                [image for image, _ in images], [f"shifted by {pixels} px" for _, pixels in images], len(images)
            ),
            "curves": training_curves(tables, self.variants),
        }


def record_shifts(bench: Bench, variant: str, session: Session, count: int | None) -> None:
    """Record the accuracy at every shift, and as a result what is lost on average over all shifts.

    Args:
        bench: bench of the seed.
        variant: name of the variant.
        session: its finished training.
        count: number of test images that are shifted; ``None`` shifts all.
    """
    images = first_test_images(session, count)
    centred = accuracy_on(session, images)
    bench.record("shifts", variant=variant, shift_in_pixels=0, across=centred, down=centred)
    all_accuracies = []
    for by in SHIFTS:
        right, left, down, up = [
            accuracy_on(session, ArraySplit(shifted(images.pixels, by * rows, by * columns), images.labels))
            for rows, columns in ((0, 1), (0, -1), (1, 0), (-1, 0))
        ]
        bench.record("shifts", variant=variant, shift_in_pixels=by, across=(right + left) / 2, down=(down + up) / 2)
        all_accuracies += [right, left, down, up]
    parameters = sum(parameter.numel() for parameter in session.model.parameters())
    bench.result(
        variant,
        lost_by_shifts=centred - sum(all_accuracies) / len(all_accuracies),
        thousand_parameters=parameters / 1000,
    )


def first_test_images(session: Session, count: int | None) -> ArraySplit:
    """Return the first test images, all if ``count`` is ``None``, as uint8 pixels (N, C, SIDE, SIDE)."""
    test = session.data.test
    assert test is not None
    positions = torch.arange(len(test))[:count]
    return ArraySplit(test.fetch(positions, session.preprocess), test.labels[positions])


def accuracy_on(session: Session, images: ArraySplit) -> float:
    """Return the accuracy of a trained network on images that are not normalised yet."""
    loader = evaluation_loader(session, images)
    return loss_and_accuracy(*evaluate(session.model, loader, session.device, session.precision))[1]


def shifted(pixels: Tensor, down: int, right: int) -> Tensor:
    """Return images that are moved by some pixels; zeros move in at one border, and the opposite one is cut off.

    Args:
        pixels: images (..., H, W).
        down, right: numbers of pixels; negative ones move the images up and to the left.
    """
    return F.pad(pixels, (right, -right, down, -down))  # negative padding cuts off
