"""Mirroring, cropping or cutting a square out of the training photos, one at a time, against none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnnlab.data.batch_augment import BatchAugment
from cnnlab.experiments.bench import training_scores
from cnnlab.experiments.drawing import group_by, recorded_map, training_curves
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.figures import sample_grid
from cnnlab.training import EpochDone, Event, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Row, Tables

NONE = "no augmentation"
PHOTOS = 8  # in the figure


@register_study
class Augmentation(Study):
    """A small convolutional network learns the same few photos with three augmentations, one at a time."""

    title = "What do flips, crops and cutout bring?"
    about = (
        "A small convolutional network (six 3x3 convolutions of 12, 24 and 48 channels with BatchNorm, global average "
        "pooling, one dense layer) learns 2,000 photos of CIFAR-10, reduced to 16x16 pixels, in 15 epochs. The "
        "variants differ in what happens to a photo each time it is shown: nothing (no augmentation); it is mirrored "
        "with probability 1/2 (flip); it gets a black border of 2 pixels, an eighth of its side as in the ResNet "
        "paper, from which 16x16 pixels are cut at random (crop); or a square of 4x4 pixels around a random pixel "
        "gets the mean colour (cutout). That is a quarter of the side, which its authors use for CIFAR-100; the full "
        "scale cuts out half of the side, which they use for CIFAR-10. Photos, their order, initial weights and the "
        "number of steps are the same. All use SGD with Nesterov momentum 0.9, weight decay 0.0005, batches of 64 and "
        "a one-cycle schedule up to a rate of 0.05. The gap is the accuracy on the training photos, without "
        "augmentation, minus that on the test photos."
    )
    claims = (
        Claim(
            "Mirroring photos at random (flip) gives a higher test accuracy than no augmentation.",
            "Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep CNNs, 2012, section 4.1",
            accuracy_gain("flip", NONE, chance=0.1),
            worth=1.0,
        ),
        Claim(
            "Moving photos at random (crop) gives a higher test accuracy than no augmentation.",
            "Krizhevsky, Sutskever, Hinton, 2012, section 4.1; in the form of He, Zhang, Ren, Sun: Deep residual "
            "learning, 2015, section 4.2",
            accuracy_gain("crop", NONE, chance=0.1),
            worth=1.0,
        ),
        Claim(
            "Cutting a random square out of photos (cutout) gives a higher test accuracy than no augmentation.",
            "DeVries, Taylor: Improved Regularization of Convolutional Neural Networks with Cutout, 2017, table 1",
            accuracy_gain("cutout", NONE, chance=0.1),
            worth=1.0,
        ),
    )
    variants = (NONE, "flip", "crop", "cutout")
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        small = {"image_size": 16, "model_options": {"widths": (12, 24, 48)}}
        size: dict[str, Any] = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, **small},
            small={"train_limit": 2000, "epochs": 15, **small},
            full={"train_limit": None, "epochs": 200, "image_size": 32},
        )
        # NHWC: max pooling on CPUs is several times faster than with NCHW, and no less repeatable.
        recipe = bench.recipe(
            "convnet", optimizer="sgd", momentum=0.9, nesterov=True, weight_decay=5e-4, lr=0.05, batch_size=64,
            channels_last=True, **size,
        )  # fmt: skip
        side = size["image_size"]
        augmentations = {
            NONE: {},
            "flip": {"flip": True},
            "crop": {"crop": side // 8},
            "cutout": {"cutout": bench.choose(tiny=side // 4, small=side // 4, full=side // 2)},
        }
        recipes = {variant: recipe.with_overrides(augment=augment) for variant, augment in augmentations.items()}

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone) and event.epoch == size["epochs"]:
                _, train_accuracy = training_scores(event.session)
                bench.result(variant, clean_train_accuracy=train_accuracy, gap=train_accuracy - event.val_accuracy)

        for variant, session in bench.train(recipes, watch).items():
            if bench.keeps_pictures:
                photos = augmented_photos(session, PHOTOS, bench.seed)
                bench.record_pictures("pictures", variant, photos.flatten(0, 1).float())

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {"training loss, on augmented photos": "train_loss", "test loss": "loss", "test accuracy": "accuracy"}
        rows = tables["pictures"]
        pictures = {variant: recorded_photos(group) for variant, group in group_by(rows, "variant").items()}
        return {
            "photos": sample_grid(np.stack(list(pictures.values())), list(pictures)),
            "curves": training_curves(tables, self.variants, panels),
        }


def augmented_photos(session: Session, count: int, seed: int) -> Tensor:
    """Return the first training photos as one epoch might show them.

    Args:
        session: a training, whose recipe says how photos are augmented.
        count: number of photos.
        seed: seed of the random changes.

    Returns:
        uint8 (count, C, S, S), before normalisation.
    """
    train, preprocess = session.data.train, session.preprocess
    positions = torch.arange(count)
    augment = BatchAugment(session.recipe.augment, preprocess, len(session.data.classes))
    pixels = train.fetch(positions, preprocess)
    images, _ = augment(pixels, train.labels[positions], np.random.default_rng(seed))
    return preprocess.denormalize(images)


def recorded_photos(rows: Sequence[Row]) -> npt.NDArray[np.uint8]:
    """Return the photos (N, H, W, C) whose channels follow each other in the rows of a variant."""
    channels = np.stack([recorded_map(row) for row in rows]).round().astype(np.uint8)  # (N * C, H, W)
    return channels.reshape(PHOTOS, -1, *channels.shape[1:]).transpose(0, 2, 3, 1)
