"""Is a claim borne out by paired effects over seeds? Tests, intervals, Holm's correction, and how many seeds it takes.

A claim says that an effect is larger than a margin: for example, that accuracy with BatchNorm minus accuracy without
it, both trained from the same seed, is above 0. Each seed gives one effect::

    batchnorm = PairedEffects(np.array([0.021, 0.013, 0.034, 0.018, 0.026, 0.009]), worth=0.005)
    dropout = PairedEffects(np.array([0.002, -0.004, np.nan, 0.001, 0.003, 0.002]), worth=0.005)
    for verdict in verdicts([batchnorm, dropout]):
        print(verdict.answer, verdict.effect, verdict.low, verdict.high, verdict.needed_seeds)

Every claim is tested against two hypotheses, each with the same sign-flip test. If "the effect is at most the margin"
is rejected, the claim is borne out. If "the effect is at least the smallest one worth claiming" is rejected, it is not
borne out. If neither is, the data cannot tell. Both families of tests are corrected for the number of claims of the
study (Holm 1979), so that a study without any effect reports a claim as borne out in at most 5 % of cases.

A seed that diverged in one of the variants has an effect that is NaN or infinite. It is counted, never dropped: in
either test it stands against the rejection, with the largest magnitude that was measured. Since its sign is the worst
possible one, p is never smaller than with any other effect of at most that magnitude, whatever made the seed diverge.
If seeds diverge exactly where the claim would have done worst, by more than any seed measured, the rate of 5 % can be
exceeded by a little: up to 5.3 % where that was enumerated for heavy tails, and not at all for normal effects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnlab.errors import ShapeError, UsageError

Answer = Literal["borne out", "not borne out", "cannot be told"]
Floats = npt.NDArray[np.float64]

LEVEL = 0.05  # probability of a false answer of either kind, over all claims of a study
POWER = 0.8  # probability of an answer that the planned number of seeds provides for
MAX_SEEDS = 1000  # a study that needs more is told so, without a number
PLANNED_N = (8, 11, 12, 13, 14, 14, 15, 15)  # seeds for 1 to 8 claims, from simulated studies (see the tests)
FLIPS = 2**16  # sign flips: up to 16 seeds all 2^n are enumerated, beyond that as many are drawn
RESAMPLES = 2000  # bootstrap resamples of the test images
CHUNK = 2**21  # numbers in memory at once while resampling


@dataclass(frozen=True, eq=False)
class PairedEffects:
    """The measurements for one claim: the paired effect of each seed, and which effects count.

    Args:
        values: (seeds,) effect of each seed, in favour of the claim when large; NaN or infinite if a variant diverged.
        worth: smallest effect worth claiming, in the unit of the values; larger than the margin.
        margin: effect that the claim says is exceeded.

    Raises:
        UsageError: fewer than two seeds, or ``worth`` is not larger than ``margin``.
    """

    values: Floats
    worth: float
    margin: float = 0.0

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim != 1:
            raise ShapeError(f"Effects are one number per seed, got an array of shape {values.shape}.")
        if len(values) < 2:
            raise UsageError(f"A verdict needs the effects of at least 2 seeds, got {len(values)}. Run more seeds.")
        if not (math.isfinite(self.margin) and self.margin < self.worth < math.inf):
            raise UsageError(
                f"The smallest effect worth claiming must be larger than the margin, got worth={self.worth}"
                f" and margin={self.margin}. Declare a larger worth."
            )
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class Verdict:
    """What the seeds say about one claim.

    Args:
        answer: the answer at a level of 5 % over all claims of the study.
        effect: mean effect over the seeds that did not diverge; NaN if all did.
        low: lower end of the 95 % interval of the effect over seeds; NaN if fewer than two did not diverge.
        high: upper end of that interval.
        p: one-sided p-value of "the effect is at most the margin".
        adjusted_p: that p-value after Holm's correction; the claim is borne out at 0.05 or less.
        adjusted_p_worth: corrected p-value of "the effect is worth claiming"; not borne out at 0.05 or less.
        n: number of seeds that gave a finite effect.
        diverged: number of seeds of which a variant diverged.
        needed: number of seeds that would tell, None if there is an answer or if it takes more than 1000.
    """

    answer: Answer
    effect: float
    low: float
    high: float
    p: float
    adjusted_p: float
    adjusted_p_worth: float
    n: int
    diverged: int
    needed: int | None

    @property
    def needed_seeds(self) -> str:
        """The number of seeds that would tell, in words; empty if there is an answer."""
        if self.answer != "cannot be told":
            return ""
        return f"more than {MAX_SEEDS}" if self.needed is None else str(self.needed)


def verdicts(claims: Sequence[PairedEffects], *, of: int | None = None) -> list[Verdict]:
    """Return the verdict on each claim of a study, with Holm's correction over all of them.

    Args:
        claims: the effects of the claims.
        of: number of claims of the study, where some were not measured: the correction is that for all of them.
    """
    rest = [1.0] * ((of or len(claims)) - len(claims))
    p = [float(sign_flip_p(claim.values - claim.margin)) for claim in claims]
    p_worth = [float(sign_flip_p(claim.worth - claim.values)) for claim in claims]
    rows = zip(claims, p, holm(p + rest).tolist(), holm(p_worth + rest).tolist(), strict=False)
    return [_verdict(*row, level=LEVEL / (len(claims) + len(rest))) for row in rows]


def _verdict(claim: PairedEffects, p: float, adjusted_p: float, adjusted_p_worth: float, *, level: float) -> Verdict:
    answer: Answer = "cannot be told"
    needed = None
    if adjusted_p <= LEVEL:
        answer = "borne out"
    elif adjusted_p_worth <= LEVEL:
        answer = "not borne out"
    else:
        nearer = max(_standardized(claim.values - claim.margin), _standardized(claim.worth - claim.values))
        needed = seeds_needed(nearer, level)
        if needed is not None:
            # As many as there are now were not enough, although that number may find such an effect four times in five.
            needed = max(needed, len(claim.values) + 1)
    finite = claim.values[np.isfinite(claim.values)]
    low, high = seed_interval(finite) if len(finite) > 1 else (math.nan, math.nan)
    return Verdict(
        answer=answer,
        effect=float(finite.mean()) if len(finite) else math.nan,
        low=low,
        high=high,
        p=p,
        adjusted_p=adjusted_p,
        adjusted_p_worth=adjusted_p_worth,
        n=len(finite),
        diverged=len(claim.values) - len(finite),
        needed=needed,
    )


def sign_flip_p(effects: npt.ArrayLike) -> Floats:
    """Return the one-sided p-value of "the effects are symmetric about 0, or smaller", by the sign-flip test.

    Under that hypothesis each effect might as well have had the opposite sign. p is the share of all 2^n choices of
    signs whose mean is at least the one that was measured (Fisher 1935, section 21), which is exact for effects of any
    symmetric distribution. Beyond 16 seeds, 65,536 choices are drawn from a fixed random stream. p is at least 2^-n:
    fewer than five seeds never reach 0.05.

    Args:
        effects: (..., seeds) effect of each seed; one that is not finite enters as minus the largest finite magnitude.

    Returns:
        The p-values, of shape (...).
    """
    from scipy.stats import permutation_test

    # Sorted, so that the drawn signs do not depend on the order of the seeds.
    values = np.sort(_counted_against(effects), axis=-1)
    result = permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        axis=-1,
        n_resamples=FLIPS,
        batch=max(1, CHUNK // max(values.size, 1)),
        random_state=np.random.default_rng(0),
    )
    return np.asarray(result.pvalue)


def _counted_against(effects: npt.ArrayLike) -> Floats:
    """Replace each effect that is not finite by minus the largest finite magnitude along the last axis."""
    values = np.asarray(effects, dtype=np.float64)
    finite = np.isfinite(values)
    largest = np.max(np.abs(values), axis=-1, keepdims=True, where=finite, initial=0.0)
    return np.where(finite, values, -largest)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Return p-values adjusted for their number (Holm 1979): the smallest times k, the next times k - 1, and so on.

    Args:
        p_values: (..., k) p-values of the k tests of a study.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, axis=-1)
    weighted = np.take_along_axis(p, order, axis=-1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.empty_like(p)
    # No p-value is adjusted to less than a smaller one is.
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(weighted, axis=-1), 1.0), axis=-1)
    return adjusted


def seed_interval(effects: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of the mean effect over seeds, by Student's t on the paired differences.

    A bootstrap is not used here: with three seeds, resampling them understates their spread so much that its intervals
    cover the true effect in 74 % of cases (83 % with five seeds), while Student's cover 95 % from two seeds on. A seed
    that diverged is left out of the mean and of the interval, and is counted beside them.

    Args:
        effects: (seeds,) finite effects, at least two.
    """
    from scipy.special import stdtrit

    values = np.asarray(effects, dtype=np.float64)
    n = len(values)
    half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / math.sqrt(n))
    mean = float(values.mean())
    return mean - half, mean + half


def image_interval(correct_a: npt.ArrayLike, correct_b: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval over test images of the difference of two accuracies, a minus b.

    It answers another question than the interval over seeds: had these very networks been tested on other images from
    the same source, how else could the difference have come out? The difference is averaged over seeds for each image;
    then the images are resampled (percentile bootstrap; in simulations BCa intervals cover no better, and take longer).
    It holds for a few hundred images or more; with 100 that seldom differ it covers about 92 %.

    Args:
        correct_a: (seeds, images) whether the first variant was right on each image.
        correct_b: (seeds, images) the same for the second, on the same images in the same order.

    Raises:
        ShapeError: the two are not of the same shape (seeds, images), or there are fewer than two images.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] < 1 or a.shape[1] < 2:
        raise ShapeError(
            f"An interval over test images needs two arrays (seeds, images) for the same images, got shapes {a.shape}"
            f" and {b.shape}. Evaluate both variants on the same split with every seed."
        )
    low, high = bootstrap_mean(a.mean(axis=0) - b.mean(axis=0))
    return float(low), float(high)


def bootstrap_mean(values: Floats) -> tuple[Any, Any]:
    """Return the ends of the 95 % percentile bootstrap interval of the mean along the last axis."""
    from scipy.stats import bootstrap

    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, CHUNK // values.size),
        vectorized=True,
        axis=-1,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return interval.low, interval.high


def planned_n(claims: int) -> int:
    """Return the number of seeds to plan for a study: enough to find effects of one standard deviation.

    With that many seeds, a true effect that is as large as its standard deviation over seeds is found with a
    probability of at least 0.8, even at the strictest step of Holm's correction.

    Args:
        claims: number of claims of the study.

    Raises:
        UsageError: there is no claim, or there are more than eight.
    """
    if 1 <= claims <= len(PLANNED_N):
        return PLANNED_N[claims - 1]
    raise UsageError(
        f"Seeds are planned for studies of 1 to {len(PLANNED_N)} claims, got {claims}. Split the study in two."
    )


def seeds_needed(effect: float, level: float = LEVEL) -> int | None:
    """Return the smallest number of seeds at which the sign-flip test finds an effect with a probability of 0.8.

    The power is that of the t-test at the level that the sign-flip test attains (noncentral t distribution), which
    simulations of the sign-flip test stay below by at most 0.01.

    Args:
        effect: true effect in standard deviations over seeds.
        level: p-value at which the test rejects.

    Returns:
        The number of seeds, or None if it takes more than 1000.
    """
    from scipy.stats import nct, norm, t

    if effect <= 0:
        return None
    effect = min(effect, 10.0)  # beyond that, only the number of possible sign flips matters
    n = np.arange(2, MAX_SEEDS + 1)
    # p is a multiple of 2^-n, so that with few seeds the test's own level is stricter than the one asked for.
    choices = 2.0 ** np.minimum(n, 50)
    attained = np.floor(level * choices) / choices
    power = nct.sf(t.isf(attained, n - 1), n - 1, effect * np.sqrt(n))
    # Where p reaches the level only if every sign is positive, the power is known exactly.
    power = np.where(attained * choices == 1, norm.cdf(effect) ** n, power)
    enough = np.flatnonzero((attained > 0) & (power >= POWER))
    return int(n[enough[0]]) if len(enough) else None


def _standardized(effects: Floats) -> float:
    """Return the mean of the effects as they are tested, in standard deviations over seeds."""
    values = _counted_against(effects)
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if deviation == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / deviation
