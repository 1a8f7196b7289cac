"""How the test error falls with the number of labelled images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnlab.data import ImageData
from cnnlab.experiments.drawing import group_by, training_curves
from cnnlab.experiments.study import Claim, Study, register_study
from cnnlab.figures import bands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Tables

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]

VARIANTS = {f"{count:,} images": count for count in (100, 200, 400, 800, 1600, 3200)}
COUNTS = np.array(list(VARIANTS.values()))
IMAGES = "labelled images"
CHANCE = 0.1  # accuracy that stands for a training that diverged


def accuracies(measures: Measures, variants: Sequence[str] = tuple(VARIANTS)) -> Floats:
    """Return the test accuracy in 0..1 for each number of images; one that diverged counts as guessing."""
    rows = [measures[variant] for variant in variants]
    return np.array([CHANCE if row["diverged"] else float(row["accuracy"]) for row in rows])


def diminishing(measures: Measures) -> float:
    """Return how much more the first doubling of the images gains than the last one, in percentage points."""
    gains = np.diff(100 * accuracies(measures))
    return float(gains[0] - gains[-1])


def power_against_logarithm(measures: Measures) -> float:
    """Return the R2 of the power law minus that of the logarithmic law, both fitted to the test errors."""
    errors = 1 - accuracies(measures)
    power, logarithm = (r_squared(errors, law(COUNTS, errors, COUNTS)) for law in (power_law, logarithmic_law))
    return power - logarithm


@register_study
class LabelCount(Study):
    """LeNet-5 learns from 100 to 3,200 digits, in the same number of steps."""

    title = "What are more labelled images worth?"
    about = (
        "LeNet-5 with ReLU learns digits from 100, 200, 400, 800, 1,600 and 3,200 images side by side; each set is "
        "half of the next larger one, with all classes in proportion. All are trained for the same number of steps by "
        "Adam at a rate of 0.001 in batches of 50: an epoch is 3,200 images for all of them, in which 100 images come "
        "32 times, and at small scale there are ten epochs. Two laws with two parameters are fitted to the test "
        "errors of each seed by least squares: a power law, error = a * images^(-b), which is a straight line where "
        "both axes are logarithmic, and a logarithmic law, error = a - b * log(images), which is one where only that "
        "of the images is. R2 is the share of the variance of the six errors that a law explains. Neither law has a "
        "floor that the error would not fall below. The figure shows the laws fitted to the mean over the seeds."
    )
    pairing = (
        "Within a seed all variants share the initial weights, and the images of a variant are among those of the next "
        "one; initialisation, order and the choice of training images vary from seed to seed; the test images are the "
        "same."
    )
    claims = (
        Claim(
            "Doubling the images from 100 to 200 gains more test accuracy than doubling them from 1,600 to 3,200.",
            "Cortes, Jackel, Solla, Vapnik, Denker: Learning Curves: Asymptotic Values and Rate of Convergence, 1994",
            diminishing,
            worth=1.0,
        ),
        Claim(
            "The test error falls with the number of images by a power law rather than a logarithmic law.",
            "Hestness et al.: Deep Learning Scaling is Predictable, Empirically, 2017; Cortes et al. 1994",
            power_against_logarithm,
            worth=0.01,
            unit="of R2",
        ),
    )
    variants = tuple(VARIANTS)

    def measure(self, bench: Bench) -> None:
        recipe = bench.recipe(
            "lenet5", optimizer="adam", lr=1e-3, schedule="constant", batch_size=50,
            epochs=bench.choose(tiny=1, small=10, full=100), model_options={"activation": "relu"},
        )  # fmt: skip
        recipes = dict.fromkeys(VARIANTS, recipe)
        bench.train(recipes, data=dict(zip(VARIANTS, nested(bench.data, bench.seed), strict=True)))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        measured = {row["variant"] for row in tables["results"]}
        variants = [variant for variant in VARIANTS if variant in measured]
        counts = np.array([VARIANTS[variant] for variant in variants])
        seeds = group_by(tables["results"], "seed").values()
        errors = np.array([1 - accuracies({str(row["variant"]): row for row in rows}, variants) for rows in seeds])
        lines = {"measured": (counts, errors)}
        xs = np.geomspace(counts[0], counts[-1], 60)
        for name, law in {"power law": power_law, "logarithmic law": logarithmic_law}.items():
            values = law(counts, errors.mean(axis=0), xs)
            # A logarithmic law comes to 0 and below, where a logarithmic axis has no end.
            lines[name] = (xs, np.where(values > 0.5 * errors.min(), values, np.nan)[None])
        titles = ["test error, logarithmic axis", "test error"]
        gains = {"gain of test accuracy by doubling": {"measured": (counts[1:], -np.diff(errors))}}
        return {
            "laws": with_counts(
                bands(dict.fromkeys(titles, lines), percent=titles, log_x=True, log_y=titles[:1], x=IMAGES), counts
            ),
            "gains": with_counts(
                bands(gains, percent=list(gains), log_x=True, x=f"{IMAGES} after doubling"), counts[1:]
            ),
            "curves": training_curves(tables, self.variants),
        }


def with_counts(figure: Figure, counts: Numbers) -> Figure:
    """Write the numbers of images on the logarithmic axes of a figure instead of powers of ten."""
    for axes in figure.axes:
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.set_xticks([], minor=True)
    return figure


def nested(data: ImageData, seed: int) -> list[ImageData]:
    """Return the data for each number of images, every set a part of the next; an epoch is equally long for all."""
    sets: list[ImageData] = []
    for count in COUNTS[::-1].tolist():
        data = data.limited(count, seed=seed)
        sets.append(data)
    return [repeated(one, int(COUNTS[-1])) for one in reversed(sets)]


def repeated(data: ImageData, count: int) -> ImageData:
    """Return the data with its training images repeated in turn until there are ``count``."""
    return replace(data, train=data.train.subset((np.arange(count) % len(data.train)).tolist()))


def power_law(counts: Numbers, errors: Floats, xs: Numbers) -> Floats:
    """Return the values at ``xs`` of the law a * x^(-b) that fits the errors best, by least squares."""
    from scipy.optimize import minimize_scalar

    def fit(b: float) -> tuple[float, float]:
        """Return the best a for this b, and the sum of the squared residuals."""
        powers = np.power(counts, -b, dtype=float)
        a = float(errors @ powers / (powers @ powers))
        return a, float(((errors - a * powers) ** 2).sum())

    b = float(minimize_scalar(lambda b: fit(b)[1], bounds=(-1.0, 5.0), method="bounded").x)
    return fit(b)[0] * np.power(xs, -b, dtype=float)


def logarithmic_law(counts: Numbers, errors: Floats, xs: Numbers) -> Floats:
    """Return the values at ``xs`` of the law a - b * log(x) that fits the errors best, by least squares."""
    slope, start = np.polyfit(np.log(counts), errors, 1).tolist()
    return start + slope * np.log(xs)


def r_squared(values: Floats, fitted: Floats) -> float:
    """Return the share of the variance of the values that the fitted ones explain."""
    return float(1 - ((values - fitted) ** 2).sum() / ((values - values.mean()) ** 2).sum())
