"""What a classifier's scores are worth: accuracy with its uncertainty, per-class figures, calibration, paired tests.

NumPy arrays in, plain Python numbers out, so that every result can be written as JSON. SciPy and scikit-learn are
imported where they are used: they take a second, and who predicts or explains a photo needs neither.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import DataError, DivergedError, UsageError

CALIBRATION_BINS = 15
TOP5_FROM = 10  # classes: with fewer, being among the first five says little


@dataclass(frozen=True)
class ClassColumn:
    """How a value of a class is shown, in the report, in the terminal and in CSV files."""

    title: str  #: head of the column
    about: str = ""  #: sentence that says what the value is
    mean: str = ""  #: name of the value of :class:`Metrics` that stands below the column; ``""`` for none
    #: whether the value is a share of 1, written as a percentage; otherwise it is a number of images
    share: bool = True
    bar: bool = False  #: whether the report draws a bar beside the value
    key: str = ""  #: name of the value in :class:`ClassMetrics`

    def text(self, value: float | None) -> str:
        """Return a value as it is shown."""
        if value is None:
            return "–"
        return f"{value:.1%}" if self.share else f"{value:,}"


def _column(*args: Any, **options: Any) -> Any:
    return field(metadata={"column": ClassColumn(*args, **options)})


@dataclass(frozen=True)
class ClassMetrics:
    """One class. A value that is not defined (no image of the class, or it was never predicted) is ``None``.

    Each value is a column wherever classes are listed. A new one is added here and computed in ``_per_class``.
    """

    name: str
    precision: float | None = _column("precision", "of the images given this name, how many deserve it")
    recall: float | None = _column("recall", "of the images of this class, how many were found", "balanced_accuracy")
    f1: float | None = _column("F1", "the harmonic mean of precision and recall", "macro_f1", bar=True)
    support: int = _column("images", mean="n", share=False)


CLASS_COLUMNS = [replace(f.metadata["column"], key=f.name) for f in fields(ClassMetrics) if f.metadata]


@dataclass(frozen=True)
class Bin:
    """One bin of confidence: its bounds (lower excluded, upper included), how many, how sure, how often right."""

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Metrics:
    """What the scores of N images in K classes are worth."""

    n: int  #: number of images
    accuracy: float  #: share of images whose highest score is that of the true class
    accuracy_interval: tuple[float, float]  #: its 95 % interval (Wilson 1927)
    #: share of images whose true class is among the five highest scores; ``None`` with fewer than 10 classes
    top5: float | None
    loss: float  #: mean cross entropy, in nats
    #: mean recall over the classes that occur: what accuracy would be if all were equally many
    balanced_accuracy: float
    macro_f1: float  #: mean F1 over the classes that occur
    per_class: list[ClassMetrics]  #: one entry per class, in order
    confusion: list[list[int]]  #: (K, K) numbers of images; rows are true classes, columns predicted ones
    calibration_error: float  #: expected calibration error in 15 bins of equal width (Guo et al. 2017, equation 3)
    reliability: list[Bin]  #: those bins

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and lists, ready for JSON."""
        return asdict(self) | {"accuracy_interval": list(self.accuracy_interval)}


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same n images."""

    n: int  #: number of images
    only_a: int  #: images that only the first got right
    only_b: int  #: images that only the second got right
    difference: float  #: accuracy of the second minus that of the first
    interval: tuple[float, float]  #: 95 % interval of the difference (Newcombe 1998, method 10)
    p_value: float  #: exact McNemar test (two-sided binomial test on the images that only one got right)

    @property
    def significant(self) -> bool:
        """Whether chance alone would give such a difference in fewer than 5 % of cases."""
        return self.p_value < 0.05

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a plain dictionary, ready for JSON."""
        return asdict(self) | {"interval": list(self.interval), "significant": self.significant}


def evaluate_scores(logits: npt.ArrayLike, labels: npt.ArrayLike, classes: Sequence[str]) -> Metrics:
    """Measure the scores of a classifier against the truth.

    Args:
        logits: (N, K) scores before the softmax.
        labels: (N,) true classes, 0..K-1.
        classes: K names.

    Raises:
        UsageError: the shapes do not fit together.
        DataError: there is no image, or a label is not one of the classes.
        DivergedError: a score is NaN or infinite.
    """
    from scipy.special import log_softmax
    from sklearn.metrics import confusion_matrix

    scores, truth = _checked(logits, labels, len(classes))
    n, k = scores.shape
    log_probabilities = log_softmax(scores, axis=1)
    predicted = scores.argmax(axis=1)
    correct = predicted == truth
    confidence = np.exp(log_probabilities[np.arange(n), predicted])
    bins = reliability_bins(confidence, correct)
    per_class = _per_class(truth, predicted, classes)
    present = [c for c in per_class if c.support]
    return Metrics(
        n=n,
        accuracy=float(correct.mean()),
        accuracy_interval=wilson_interval(int(correct.sum()), n),
        top5=float((_rank(scores, truth) < 5).mean()) if k >= TOP5_FROM else None,
        loss=float(-log_probabilities[np.arange(n), truth].mean()),
        balanced_accuracy=math.fsum(c.recall or 0.0 for c in present) / len(present),
        macro_f1=math.fsum(c.f1 or 0.0 for c in present) / len(present),
        per_class=per_class,
        confusion=confusion_matrix(truth, predicted, labels=range(k)).tolist(),
        calibration_error=calibration_error(bins),
        reliability=bins,
    )


def softmax(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the probabilities (N, K) of scores (N, K): ``exp(z_k) / sum_j exp(z_j)`` of each row, in float64."""
    scores = np.asarray(logits)
    # Shifted by the largest score, so that nothing overflows; the ratio stays the same.
    exponentials = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion; unlike the normal one it holds near 0 % and 100 %."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def reliability_bins(
    confidence: npt.NDArray[Any], correct: npt.NDArray[Any], bins: int = CALIBRATION_BINS
) -> list[Bin]:
    """Sort predictions into equal bins of confidence (Guo et al. 2017, section 2).

    Args:
        confidence: (N,) probability of the predicted class, 0..1.
        correct: (N,) whether the prediction was right.
    """
    edges = np.linspace(0, 1, bins + 1)
    # Bin m holds the confidences in ((m-1)/M, m/M]; searchsorted on the inner edges gives exactly that.
    number = np.searchsorted(edges[1:-1], confidence, side="left")
    result = []
    for m, (lower, upper) in enumerate(itertools.pairwise(edges.tolist())):
        inside = number == m
        means = (float(confidence[inside].mean()), float(correct[inside].mean())) if inside.any() else (None, None)
        result.append(Bin(lower, upper, int(inside.sum()), *means))
    return result


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the gap between confidence and accuracy, weighted by the bins' counts."""
    gaps = (b.count * abs((b.accuracy or 0.0) - (b.confidence or 0.0)) for b in bins)
    return math.fsum(gaps) / max(sum(b.count for b in bins), 1)


def paired_test(correct_a: npt.ArrayLike, correct_b: npt.ArrayLike) -> PairedTest:
    """Test whether two classifiers differ, from which of the same images each got right.

    McNemar's exact test (McNemar 1947; recommended for comparing two trained classifiers by Dietterich 1998,
    section 3.1) with Newcombe's interval for the difference of paired proportions (Newcombe 1998, Statistics in
    Medicine 17:2635-2650, method 10).

    Args:
        correct_a: (N,) whether the first classifier was right on each image.
        correct_b: (N,) the same for the second, on the same images in the same order.

    Raises:
        UsageError: the two are not of equal length, or empty.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise UsageError(
            f"A paired test needs two lists of right/wrong for the same images, got shapes {a.shape} and {b.shape}."
            " Evaluate both on the same split."
        )
    both, only_a = int((a & b).sum()), int((a & ~b).sum())
    only_b, neither = int((~a & b).sum()), int((~a & ~b).sum())
    return PairedTest(
        n=len(a),
        only_a=only_a,
        only_b=only_b,
        difference=(only_b - only_a) / len(a),
        interval=_paired_interval(both, only_b, only_a, neither),
        p_value=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
    )


def _paired_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Newcombe's method 10: the difference of two paired proportions, (first - second) / n, and its 95 % interval."""
    n = both + first + second + neither
    p1, p2 = (both + first) / n, (both + second) / n
    low1, high1 = wilson_interval(both + first, n)
    low2, high2 = wilson_interval(both + second, n)
    # phi: the correlation of the two, with a continuity correction when it is positive.
    margins = math.prod((both + first, second + neither, both + second, first + neither))
    product = both * neither - first * second
    phi = (max(product - n / 2, 0) if product > 0 else product) / math.sqrt(margins) if margins else 0.0
    down, up = p1 - low1, high1 - p1
    down2, up2 = p2 - low2, high2 - p2
    difference = p1 - p2
    below = math.sqrt(max(down**2 - 2 * phi * down * up2 + up2**2, 0.0))
    above = math.sqrt(max(up**2 - 2 * phi * up * down2 + down2**2, 0.0))
    return difference - below, difference + above


def _checked(logits: npt.ArrayLike, labels: npt.ArrayLike, k: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    scores, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or scores.shape[1] != k:
        raise UsageError(
            f"Scores are (N, {k}) for {k} classes with (N,) labels, got shapes {scores.shape} and {truth.shape}."
        )
    if not len(scores):
        raise DataError("There is no image to evaluate on. Choose a split that is not empty.")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= k:
        raise DataError(
            f"Labels are whole numbers of 0..{k - 1} for {k} classes, got {truth.min()}..{truth.max()} ({truth.dtype})."
            " Check the class names of the data."
        )
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise DivergedError(
            f"The scores of image {row} are not finite ({scores[row].tolist()[:4]}...): the network has diverged."
            " Train with a lower learning rate or with clip_norm=1.0."
        )
    return scores, truth.astype(np.int64)


def _per_class(truth: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: Sequence[str]) -> list[ClassMetrics]:
    from sklearn.metrics import precision_recall_fscore_support

    # zero_division=nan keeps "not defined" apart from zero, and silences scikit-learn's warning about it.
    columns = precision_recall_fscore_support(truth, predicted, labels=range(len(classes)), zero_division=np.nan)
    *shares, support = (np.asarray(column) for column in columns)
    precision, recall, f1 = ([None if math.isnan(value) else value for value in share.tolist()] for share in shares)
    return [ClassMetrics(*row) for row in zip(classes, precision, recall, f1, support.tolist(), strict=True)]


def _rank(scores: npt.NDArray[Any], truth: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return how many classes come before the true one; of equal scores the lower class comes first, as in argmax."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    tied_before = (scores == own) & (np.arange(scores.shape[1]) < truth[:, None])
    return np.asarray(((scores > own) | tied_before).sum(axis=1))
