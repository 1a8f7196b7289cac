"""Convolutions of 3x3 against 1x1, 5x5 and 7x7 in networks of equal numbers of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.experiments.drawing import training_curves
from cnnlab.experiments.equal_size import EqualSizeStudy, accuracy_and_size
from cnnlab.experiments.study import Claim, accuracy_gain, register_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.tables import Tables

SIDE = "side_of_the_kernels_in_pixels"


LINES = ("one in a block", "two in a block")
BLOCKS = {
    "two 3x3": {"convolutions": 2, "kernel": 3},
    "one 5x5": {"convolutions": 1, "kernel": 5},
    "two 7x7": {"convolutions": 2, "kernel": 7},
    "two 1x1": {"convolutions": 2, "kernel": 1},
}


@register_study
class KernelSize(EqualSizeStudy):
    """Four networks whose blocks have other kernels, and as many channels as make their parameters equal."""

    title = "Are small kernels better than large ones?"
    about = (
        "Four networks of three blocks learn small photos side by side. A block has two 3x3 convolutions, one 5x5 "
        "convolution, which looks at as many pixels as those two, two 7x7 or two 1x1 convolutions; each is followed by "
        "BatchNorm and ReLU, and a block ends with max pooling. The network of 3x3 kernels has 16, 32 and 64 channels; "
        "the channels of the others are searched, in about the same proportions, so that all networks have the same "
        "number of parameters within 2 percent. (The VGG paper let the channels be equal instead, so that its network "
        "of 5x5 kernels had more parameters than the one of 3x3.) With 1x1 kernels only the pooling brings pixels "
        "together. As the shapes of the weights differ, each network draws its own (He). All are trained by SGD with "
        "momentum 0.9 and weight decay 0.0005 in batches of 64, from a rate of 0.05 down a cosine, on randomly shifted "
        "and mirrored photos."
    )
    claims = (
        Claim(
            "Two 3x3 convolutions give a higher test accuracy than one of 5x5.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, sections 2.3 and 4.1; Szegedy et al.: "
            "Rethinking the Inception Architecture, 2016, section 3.1",
            accuracy_gain("two 3x3", "one 5x5", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "3x3 convolutions give a higher test accuracy than 7x7 convolutions.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 2.3",
            accuracy_gain("two 3x3", "two 7x7", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "3x3 convolutions give a higher test accuracy than 1x1 convolutions.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 4.1",
            accuracy_gain("two 3x3", "two 1x1", chance=0.1),
            worth=1.0,
        ),
    )
    variants = tuple(BLOCKS)
    blocks = BLOCKS
    small_epochs = 8

    def draw(self, tables: Tables) -> dict[str, Figure]:
        rows = []
        for row in tables["results"]:
            block = BLOCKS[str(row["variant"])]
            rows.append({**row, "variant": LINES[block["convolutions"] - 1], SIDE: block["kernel"]})
        return {
            "over_side": accuracy_and_size(rows, LINES[::-1], SIDE),
            "curves": training_curves(tables, self.variants),
        }
