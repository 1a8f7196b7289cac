"""A notebook's training on MNIST, repeated as it was, and then with one thing mended at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.data import ImageData
from cnnlab.experiments.drawing import seed_band, seed_bands
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.figures import bands
from cnnlab.training import EpochDone, Event, Finished, StepDone, evaluate
from cnnlab.training.seeding import seeded
from cnnlab.zoo.mnist_cnn import MnistCNN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

ROWS = 42_000  # rows of the notebook's CSV file
LEARNED, TESTED = (2_000, 10_000), (23_000, 24_500)  # its slices
REPORTED = 0.952  # accuracy that the notebook printed after its 22 epochs
BATCH = 32
REPEATS = 2  # seeds with which the notebook is repeated for all its epochs: each takes as long as all of SHORT twice
TIME = "epochs_of_the_notebook"  # the column with the number of steps, in epochs of the notebook


@dataclass(frozen=True)
class Setting:
    """What a variant changes; the defaults are the notebook's.

    Attributes:
        softmax: whether the network ends with a softmax, although the cross-entropy takes one itself.
        sampling: order of the images in an epoch.
        more: whether more images are each seen less often, in the same number of steps.
        lr: learning rate of Adam.
        long: whether it is trained for all the epochs of the notebook, with the first seeds only.
    """

    softmax: bool = True
    sampling: str = "in_order"
    more: bool = False
    lr: float = 1e-4
    long: bool = False


VARIANTS = {
    "as it was": Setting(),
    "one softmax": Setting(softmax=False),
    "shuffled": Setting(sampling="shuffle"),
    "more images": Setting(more=True),
    "higher rate": Setting(lr=1e-3),
    "as it was, 22 epochs": Setting(long=True),
    "all mended, 22 epochs": Setting(softmax=False, sampling="shuffle", more=True, lr=1e-3, long=True),
}
SHORT = tuple(variant for variant, setting in VARIANTS.items() if not setting.long)
LONG = tuple(variant for variant, setting in VARIANTS.items() if setting.long)


class NotebookCNN(MnistCNN):
    """The two-convolution network with PyTorch's default initial weights, and a softmax after the last layer if asked.

    Args:
        softmax: whether the outputs are probabilities instead of logits.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, softmax: bool) -> None:
        super().__init__(num_classes, in_channels, image_size)
        for layer in (self.conv1, self.conv2, self.fc):
            layer.reset_parameters()
        self.end = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(super().forward(x))  # (N, num_classes)


@register_study
class Notebook(Study):
    """The training of the MNIST notes, repeated, and mended in four places one by one."""

    title = "What is each change to an MNIST notebook worth?"
    about = (
        "A notebook trains a network of two 5x5 convolutions (16 and 32 channels) on pixels divided by 255 with Adam "
        "at a rate of 0.0001 and batches of 32. It learns from rows 2000 to 10000 of a CSV file of 42,000 digits, "
        "always in the same order, and tests on rows 23000 to 24500. Its network ends with a softmax, and the "
        "cross-entropy of PyTorch takes the softmax of that once more. It prints an accuracy of 95.2 percent after 22 "
        "epochs. The file is not at hand: the first 42,000 images of MNIST's training split, in their own order, "
        "stand in for its rows. With the first two seeds the notebook is repeated for all 22 epochs; with the first "
        "one a training with everything mended is set beside it. With every seed each of four changes is made alone, "
        "for the same number of steps: no softmax in the network; a new order in every epoch; more rows, each seen "
        "less often; and a rate of 0.001. At small scale these trainings end where the second epoch of the notebook "
        "did. The slices are fixed, so that seeds differ in the initial weights and in the shuffled order only. "
        "Losses with and without the second softmax cannot be compared: with it, no loss is below 1.46. The table "
        "counts the digits that a network answers for no test image at all."
    )
    pairing = (
        "Within a seed all variants share the initial weights and, where they learn from the same rows, the images; "
        "initialisation and the shuffled order vary from seed to seed; the rows to train and to test on are the same."
    )
    claims = (
        Claim(
            "Without the second softmax the test accuracy is higher after as many steps.",
            "PyTorch documentation, CrossEntropyLoss: the input is expected to contain unnormalised logits",
            accuracy_gain("one softmax", "as it was", chance=0.1),
            worth=0.5,
        ),
        Claim(
            "Shuffling the images anew in every epoch gives a higher test accuracy.",
            "LeCun, Bottou, Orr, Müller: Efficient BackProp, 1998, section 4.2",
            accuracy_gain("shuffled", "as it was", chance=0.1),
            worth=0.5,
        ),
        Claim(
            "More images, each seen less often, give a higher test accuracy.",
            "Goodfellow, Bengio, Courville: Deep Learning, 2016, section 8.1.3",
            accuracy_gain("more images", "as it was", chance=0.1),
            worth=0.5,
        ),
        Claim(
            "Adam's default rate of 0.001 gives a higher test accuracy than 0.0001.",
            "Kingma, Ba: Adam, 2015, algorithm 1",
            accuracy_gain("higher rate", "as it was", chance=0.1),
            worth=0.5,
        ),
    )
    variants = tuple(VARIANTS)

    def measure(self, bench: Bench) -> None:
        short = bench.choose(tiny=2, small=2, full=22)  # epochs of the notebook's own slice
        long = bench.choose(tiny=2, small=22, full=22)
        channels = bench.data.train.channels
        recipes, data, models = {}, {}, {}
        repeated = LONG if bench.keeps_pictures else LONG[:1] if bench.seed < REPEATS else ()
        for variant in (*SHORT, *repeated):
            setting = VARIANTS[variant]
            data[variant], epochs = notebook_data(bench.data, setting, long if setting.long else short)
            recipes[variant] = bench.recipe(
                "mnist_cnn", optimizer="adam", lr=setting.lr, schedule="constant", batch_size=BATCH, epochs=epochs,
                sampling=setting.sampling, image_size=28, mean=(0.0,) * channels, std=(1.0,) * channels,
            )  # fmt: skip
            with seeded(torch.device("cpu"), bench.seed):
                models[variant] = NotebookCNN(len(bench.data.classes), channels, 28, softmax=setting.softmax)
        every = -(-len(data["as it was"].train) // BATCH)  # steps of an epoch of the notebook

        def watch(variant: str, event: Event) -> None:
            record_progress(bench, variant, event, every)
            if isinstance(event, Finished):
                answered = np.unique(event.logits.argmax(1))
                bench.result(variant, digits_never_answered=event.logits.shape[1] - len(answered))

        bench.train(recipes, watch, data=data, models=models)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        rows = tables["progress"]
        titles = {"running accuracy on training images, as printed": "printed", "test accuracy": "accuracy"}
        repeated = {
            title: {variant: band for variant in LONG if (band := seed_band(rows, variant, TIME, column)) is not None}
            for title, column in titles.items()
        }
        last = max(float(row[TIME]) for row in rows)
        for panel in repeated.values():
            panel["what the notebook says: 95.2%"] = (np.array([1, last]), np.full((1, 2), REPORTED))
        return {
            "notebook": bands(repeated, x=TIME.replace("_", " "), percent=list(titles)),
            "one_at_a_time": seed_bands(rows, SHORT, {"test accuracy": "accuracy"}, TIME),
        }


def notebook_data(data: ImageData, setting: Setting, epochs: int) -> tuple[ImageData, int]:
    """Return the rows that a variant learns from and is tested on, and how many epochs of them it is trained for.

    Fewer images than the notebook had are taken in a fixed random order, because small sets are sorted by class, and
    the slices shrink in proportion.

    Args:
        data: images whose training split stands in for the CSV file.
        setting: the variant.
        epochs: number of epochs of the notebook's own slice.
    """
    rows = np.arange(ROWS) if len(data.train) >= ROWS else np.random.default_rng(0).permutation(len(data.train))

    def positions(*slices: tuple[int, int]) -> list[int]:
        ends = [(start * len(rows) // ROWS, stop * len(rows) // ROWS) for start, stop in slices]
        return [int(row) for start, stop in ends for row in rows[start:stop]]

    learned = [LEARNED]
    if setting.more:
        images = (LEARNED[1] - LEARNED[0]) * epochs
        epochs = max(1, epochs // 4)  # the file has four times as many rows for learning as the slice
        before = TESTED[0] - LEARNED[0]
        learned = [(LEARNED[0], LEARNED[0] + min(before, images // epochs))]
        learned.append((TESTED[1], TESTED[1] + max(0, images // epochs - before)))
    train, test = (data.train.subset(positions(*slices)) for slices in (learned, [TESTED]))
    return replace(data, train=train, val=None, test=test), epochs


def record_progress(bench: Bench, variant: str, event: Event, every: int) -> None:
    """Record the accuracy on the training images of the epoch so far, and that on the test images.

    Args:
        bench: bench that records.
        variant: name of the variant.
        event: event of its training; other events than the one after every ``every`` steps are passed over.
        every: number of steps of an epoch of the notebook.
    """
    session = event.session
    if isinstance(event, EpochDone):
        steps, printed, accuracy = event.step, event.train_accuracy, event.val_accuracy
    elif isinstance(event, StepDone) and event.step < len(session.train_loader):
        steps = (event.epoch - 1) * len(session.train_loader) + event.step
        if steps % every:
            return
        assert session.val_loader is not None
        logits, labels = evaluate(session.model, session.val_loader, session.device, session.precision)
        _, correct, images = session.position.sums.tolist()
        printed, accuracy = correct / images, float((logits.argmax(1) == labels).mean())
    else:
        return
    bench.record("progress", variant=variant, **{TIME: steps / every, "printed": printed, "accuracy": accuracy})
