"""Few wide convolutions or many thin ones: networks of three depths with equal numbers of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.experiments.drawing import training_curves
from cnnlab.experiments.equal_size import EqualSizeStudy, accuracy_and_size
from cnnlab.experiments.study import Claim, accuracy_gain, register_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.tables import Tables

DEPTHS = {f"{count} per stage": {"convolutions": count} for count in (1, 2, 4)}
DEPTH = "convolutions_per_stage"


@register_study
class WidthDepth(EqualSizeStudy):
    """Three networks whose stages have one, two and four convolutions, and as many channels as makes them equal."""

    title = "Wide and shallow, or thin and deep?"
    about = (
        "Three networks of three stages learn small photos side by side. A stage has one, two or four 3x3 "
        "convolutions, each followed by BatchNorm and ReLU, and ends with max pooling. With two per stage there are "
        "16, 32 and 64 channels; the channels of the others are searched, in about the same proportions, so that all "
        "networks have the same number of parameters within 2 percent: the deeper, the thinner. (The VGG paper added "
        "layers and parameters together; the networks of Wide residual networks have shortcuts, these have none.) "
        "Deeper networks also look at more pixels of the image. As the shapes of the weights differ, each network "
        "draws its own (He). All are trained by SGD with momentum 0.9 and weight decay 0.0005 in batches of 64, from "
        "a rate of 0.05 down a cosine, on randomly shifted and mirrored photos. At small scale there are 1,500 photos "
        "of 16x16 pixels and 240 steps, where the papers took tens of thousands of steps on many more photos, so that "
        "only the beginning of a training is compared. The file timings.csv says how long each training took."
    )
    claims = (
        Claim(
            "Two convolutions per stage give a higher test accuracy than one.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 4.1",
            accuracy_gain("2 per stage", "1 per stage", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "Four convolutions per stage give a higher test accuracy than one.",
            "Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, section 4.1",
            accuracy_gain("4 per stage", "1 per stage", chance=0.1),
            worth=1.0,
        ),
        Claim(
            "Two wide convolutions per stage lose less than 1 point to four thin ones.",
            "Zagoruyko, Komodakis: Wide Residual Networks, 2016, section 3",
            accuracy_gain("2 per stage", "4 per stage", chance=0.1),
            worth=0.0,
            margin=-1.0,
        ),
    )
    variants = tuple(DEPTHS)
    blocks = DEPTHS
    small_epochs = 10

    def draw(self, tables: Tables) -> dict[str, Figure]:
        line = "networks of equal parameters"
        rows = [
            {**row, "variant": line, DEPTH: DEPTHS[str(row["variant"])]["convolutions"]} for row in tables["results"]
        ]
        return {
            "over_depth": accuracy_and_size(rows, (line,), DEPTH),
            "curves": training_curves(tables, self.variants),
        }
