"""Verdicts say what they promise: error rates, power and coverage on made-up studies, and p-values by hand."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnlab.errors import ShapeError, UsageError
from cnnlab.experiments.statistics import (
    LEVEL,
    PLANNED_N,
    PairedEffects,
    Verdict,
    bootstrap_mean,
    holm,
    image_interval,
    planned_n,
    seed_interval,
    seeds_needed,
    sign_flip_p,
    verdicts,
)

Effects = npt.NDArray[np.float64]
Draw = Callable[..., Effects]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def verdict(*effects: float, worth: float = 1.0, margin: float = 0.0) -> Verdict:
    return verdicts([PairedEffects(np.array(effects), worth=worth, margin=margin)])[0]


# The test


@pytest.mark.parametrize(
    ("effects", "p"),
    [
        ([4, 3, 2, 1], 1 / 16),  # only the signs that were measured reach the sum of 10
        ([4, 3, 2, -1], 2 / 16),  # a sum of at least 8: at most 1 in all is negative
        ([4, 3, 1, -2], 3 / 16),  # a sum of at least 6: the negative ones are none, {1} or {2}
        ([1, 1, 1, -1], 5 / 16),  # none negative, or any one of the four
        ([-4, -3, -2, -1], 1.0),
        ([0, 0, 0, 0], 1.0),
    ],
)
def test_p_of_four_seeds_by_hand(effects: list[float], p: float) -> None:
    assert sign_flip_p(effects) == p


def test_p_is_the_share_of_all_sign_flips_that_reach_the_measured_mean() -> None:
    effects = rng().normal(0.5, 1, 4)
    flipped = [np.dot(signs, effects) for signs in itertools.product([1, -1], repeat=4)]
    assert sign_flip_p(effects) == np.mean(np.array(flipped) >= effects.sum() - 1e-12)


@pytest.mark.parametrize("n", [5, 8, 13])
def test_p_of_signed_ranks_is_that_of_the_exact_wilcoxon_test(n: int) -> None:
    effects = np.arange(1, n + 1) * rng(n).choice([1, 1, 1, -1], n)
    expected = stats.wilcoxon(effects, alternative="greater", method="exact").pvalue
    assert sign_flip_p(effects) == pytest.approx(expected)


def test_beyond_sixteen_seeds_the_drawn_flips_come_close_to_all_of_them() -> None:
    effects = rng(3).normal(0.7, 1, 18)
    signs = 1 - 2 * (np.arange(2**18)[:, None] >> np.arange(18) & 1)
    expected = np.mean(signs @ effects >= effects.sum() - 1e-12)
    assert 0.005 < expected < 0.2
    assert sign_flip_p(effects) == pytest.approx(expected, abs=4 * np.sqrt(expected / 2**16))


def test_many_studies_at_once_are_the_same_as_one_by_one() -> None:
    for n in (6, 17):
        effects = rng(n).normal(0.5, 1, (3, 2, n))
        assert sign_flip_p(effects).tolist() == [[float(sign_flip_p(row)) for row in study] for study in effects]


def test_a_diverged_seed_is_tested_as_the_most_adverse_effect() -> None:
    # [1, 2, -2]: the sum is at least 1 with the signs that were measured, and with none, 1 or either 2 negative.
    for diverged in (np.nan, np.inf, -np.inf):
        assert sign_flip_p([1, diverged, 2]) == sign_flip_p([1, -2, 2]) == 4 / 8


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_the_level_is_exact_for_any_magnitudes_and_whichever_seed_diverged(hidden: int) -> None:
    """Under the null hypothesis all signs are equally likely: count those that reject, whatever the magnitudes."""
    signs = 1 - 2 * (np.arange(2**8)[:, None] >> np.arange(8) & 1)
    for magnitudes in (np.ones(8), np.arange(1, 9), 3.0 ** np.arange(8), np.abs(rng(1).standard_cauchy(8))):
        for first in (0, 3, 6):
            effects = signs * magnitudes.astype(float)
            effects[:, first : first + hidden] = np.nan
            p = sign_flip_p(effects)
            for level in (0.05, 0.0125, 0.2):
                assert np.mean(p <= level) <= level


# Holm


def test_holm_by_hand() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03; and 1 x 0.04 is less than the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([0.03]).tolist() == [0.03]
    assert holm([[0.01, 0.02], [0.02, 0.01]]).tolist() == [[0.02, 0.02], [0.02, 0.02]]


def test_a_claim_among_many_needs_stronger_evidence() -> None:
    clear, weak, nothing = (PairedEffects(np.array(v), worth=9.0) for v in ([1] * 8, [1] * 5 + [-1], [1, -1, 1, -1]))
    alone = verdicts([clear])[0]
    among = verdicts([clear, weak, nothing, nothing])[0]
    assert alone.p == alone.adjusted_p == among.p == 1 / 256
    assert among.adjusted_p == 4 / 256
    assert verdicts([clear] * 13)[0].adjusted_p == 13 / 256
    assert verdicts([clear] * 13)[0].answer == "cannot be told"


# Verdicts


def test_the_three_answers() -> None:
    strong, none, unclear = (
        verdict(*rng(4).normal(mean, deviation, 8), worth=1.0) for mean, deviation in ((2, 1), (0, 0.3), (0.6, 1))
    )
    assert (strong.answer, strong.needed, strong.needed_seeds) == ("borne out", None, "")
    assert (none.answer, none.needed, none.needed_seeds) == ("not borne out", None, "")
    assert unclear.answer == "cannot be told"
    assert unclear.needed is not None
    assert unclear.needed > 8
    assert unclear.needed_seeds == str(unclear.needed)


def test_an_effect_in_the_opposite_direction_is_not_borne_out() -> None:
    assert verdict(-3, -2, -4, -3, -2).answer == "not borne out"


def test_three_seeds_cannot_tell_and_say_how_many_would() -> None:
    # Equal effects of one sign reach 0.05 with five seeds: 1/32, while four reach only 1/16.
    result = verdict(2, 2, 2)
    assert (result.answer, result.p, result.needed) == ("cannot be told", 1 / 8, 5)
    assert verdict(0, 0, 0).needed == 5
    assert verdict(0, 0, 0, 0, 0).answer == "not borne out"


def test_changing_the_effects_changes_the_verdict() -> None:
    effects = [0.03, 0.02, 0.04, 0.01, 0.02]
    assert verdict(*effects, worth=0.05).answer == "borne out"
    assert verdict(*effects[:-1], -0.02, worth=0.05).answer == "not borne out"
    assert verdict(*effects[:-1], -0.02, worth=0.03).answer == "cannot be told"
    assert verdict(*effects, worth=0.05, margin=0.015).answer == "not borne out"


def test_a_diverged_seed_is_counted_and_speaks_for_neither_answer() -> None:
    effects = [1.0, 1.1, 0.9, 1.0, 1.2]
    assert verdict(*effects).answer == "borne out"
    assert verdict(*(-e for e in effects)).answer == "not borne out"
    for sign in (1, -1):
        for diverged in (np.nan, np.inf, -np.inf):
            result = verdict(*(sign * e for e in effects[:4]), diverged)
            assert (result.answer, result.n, result.diverged) == ("cannot be told", 4, 1)
            assert result.effect == pytest.approx(sign * 1.0)
            assert result.needed is not None
            assert result.needed > 5


def test_a_mean_of_almost_nothing_needs_more_seeds_than_anyone_runs() -> None:
    result = verdict(40, -40, 39, -39, 0, worth=1.0)
    assert (result.answer, result.needed, result.needed_seeds) == ("cannot be told", None, "more than 1000")


def test_mean_and_interval_are_those_of_the_t_test_on_the_finite_seeds() -> None:
    effects = rng(2).normal(1, 1, 6)
    result = verdict(*effects, np.nan)
    expected = stats.ttest_1samp(effects, 0).confidence_interval(0.95)
    assert (result.effect, result.low, result.high) == pytest.approx((effects.mean(), expected.low, expected.high))


def test_claims_that_were_not_measured_count_in_the_correction() -> None:
    claim = PairedEffects(np.arange(1.0, 9.0), worth=0.5)
    alone, of_three = verdicts([claim])[0], verdicts([claim], of=3)[0]
    assert (alone.adjusted_p, of_three.adjusted_p) == (1 / 256, 3 / 256)


@pytest.mark.parametrize("effects", [[], [0.5]])
def test_fewer_than_two_seeds_are_refused(effects: list[float]) -> None:
    with pytest.raises(UsageError, match=rf"at least 2 seeds, got {len(effects)}"):
        PairedEffects(np.array(effects), worth=1)


@pytest.mark.parametrize("effects", [[0.5] + 9 * [np.nan], 10 * [np.inf], 10 * [np.nan]])
def test_where_nearly_all_seeds_diverged_nothing_can_be_told(effects: list[float]) -> None:
    result = verdict(*effects, worth=0.1)
    assert result.answer == "cannot be told"
    assert (result.n, result.diverged) == (int(np.isfinite(effects).sum()), len(effects) - np.isfinite(effects).sum())
    assert np.isnan(result.low)
    assert np.isnan(result.high)


@pytest.mark.parametrize(("worth", "margin"), [(0, 0), (1, 2), (np.nan, 0), (1, np.nan), (np.inf, 0)])
def test_an_effect_worth_claiming_is_larger_than_the_margin(worth: float, margin: float) -> None:
    with pytest.raises(UsageError, match="larger than the margin"):
        PairedEffects(np.array([1, 2, 3]), worth=worth, margin=margin)


def test_effects_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        PairedEffects(np.ones((2, 2)), worth=1)


# Multiples of 1/64 are added and scaled without rounding.
SIXTYFOURTHS = st.integers(-640, 640).map(lambda k: k / 64)
SEEDS = st.lists(SIXTYFOURTHS | st.just(np.nan), min_size=3, max_size=9).filter(lambda e: np.isfinite(e).sum() >= 2)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.randoms())
def test_the_order_of_the_seeds_does_not_matter(effects: list[float], shuffler: object) -> None:
    shuffled = list(effects)
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = verdict(*effects), verdict(*shuffled)
    assert (first.answer, first.p, first.needed) == (second.answer, second.p, second.needed)
    assert (first.effect, first.low) == pytest.approx((second.effect, second.low))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(-6, 6).map(lambda k: 2.0**k))
def test_the_unit_of_the_effects_does_not_matter(effects: list[float], scale: float) -> None:
    first = verdict(*effects, worth=1.5, margin=0.25)
    second = verdict(*(e * scale for e in effects), worth=1.5 * scale, margin=0.25 * scale)
    assert (first.answer, first.p, first.needed) == (second.answer, second.p, second.needed)
    assert second.effect == pytest.approx(first.effect * scale)


@settings(max_examples=30, deadline=None)
@given(SEEDS, SIXTYFOURTHS)
def test_a_constant_added_to_effects_margin_and_worth_moves_the_interval_alone(effects: list[float], c: float) -> None:
    first, second = verdict(*effects), verdict(*(e + c for e in effects), worth=1 + c, margin=c)
    assert (first.answer, first.p) == (second.answer, second.p)
    assert (second.effect, second.low, second.high) == pytest.approx(
        (first.effect + c, first.low + c, first.high + c), abs=1e-9
    )


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, 8))
def test_a_seed_that_diverges_never_helps_a_claim_that_it_did_not_help_before(effects: list[float], which: int) -> None:
    """The effect of a seed is hidden; p does not fall unless it was the largest of all in magnitude.

    The largest magnitude is what diverged seeds count with: without it they all cost less. That helps when it was
    negative, or when other seeds diverged too.
    """
    which %= len(effects)
    rest = np.delete(effects, which)
    if np.isfinite(rest).sum() < 2:
        return
    if abs(effects[which]) > np.nanmax(np.abs(rest)) and (effects[which] < 0 or np.isnan(rest).any()):
        return
    hidden = np.insert(rest, which, np.nan)
    assert sign_flip_p(hidden) >= sign_flip_p(effects)


# Made-up studies: error rates


def skewed_then_signed(generator: np.random.Generator, size: tuple[int, ...]) -> Effects:
    """Magnitudes that are strongly skewed (log-normal), with signs at random."""
    return generator.lognormal(0, 1.5, size) * generator.choice([-1.0, 1.0], size)


def shared(generator: np.random.Generator, size: tuple[int, ...]) -> Effects:
    """All claims of a study share their seeds, so that their effects are correlated."""
    return generator.standard_normal((size[0], 1, size[2])) + 0.5 * generator.standard_normal(size)


NULLS: dict[str, Draw] = {
    "normal": lambda generator, size: generator.standard_normal(size),
    "heavy tails": lambda generator, size: generator.standard_t(2, size),
    "skewed magnitudes": skewed_then_signed,
    "correlated claims": shared,
}


def diverging(effects: Effects, generator: np.random.Generator, share: float) -> Effects:
    return np.where(generator.random(effects.shape) < share, np.nan, effects)


def false_rate(effects: Effects) -> float:
    """The share of studies, of shape (studies, claims, seeds), that report any claim as borne out."""
    return float(np.mean(np.any(holm(sign_flip_p(effects)) <= LEVEL, axis=-1)))


STUDIES = [(5, 1), (8, 1), (5, 4), (8, 4)]


@pytest.mark.parametrize(("n", "claims"), STUDIES)
@pytest.mark.parametrize("null", NULLS)
def test_without_an_effect_at_most_five_percent_of_studies_are_borne_out(null: str, n: int, claims: int) -> None:
    assert false_rate(NULLS[null](rng(1), (2000, claims, n))) <= 0.05


@pytest.mark.parametrize(("n", "claims"), STUDIES)
def test_without_an_effect_but_with_diverged_seeds_at_most_five_percent_are_borne_out(n: int, claims: int) -> None:
    assert false_rate(diverging(rng(1).standard_normal((2000, claims, n)), rng(2), 0.2)) <= 0.05


@pytest.mark.parametrize("n", [5, 8])
@pytest.mark.parametrize("threshold", [0, 1, 1.5, 2])
def test_seeds_that_diverge_where_the_claim_does_worst_do_not_help_it(threshold: float, n: int) -> None:
    effects = rng(1).standard_normal((2000, 1, n))
    assert false_rate(np.where(effects < -threshold, np.nan, effects)) <= 0.05


@pytest.mark.parametrize("null", ["normal", "heavy tails", "skewed magnitudes"])
@pytest.mark.parametrize("n", [5, 8])
def test_the_rate_without_an_effect_in_twenty_thousand_studies(null: str, n: int) -> None:
    # The exact rates are floor(0.05 x 2^n) / 2^n: 1/32 and 12/256; three standard errors are 0.0045.
    assert false_rate(NULLS[null](rng(2), (20_000, 1, n))) <= np.floor(0.05 * 2**n) / 2**n + 0.0045


@pytest.mark.slow
@pytest.mark.parametrize("claims", [1, 4])
@pytest.mark.parametrize("null", NULLS)
def test_at_the_planned_n_at_most_five_percent_are_borne_out(null: str, claims: int) -> None:
    effects = NULLS[null](rng(5), (2000, claims, planned_n(claims)))
    # The true rate comes close to 5 %, and 2,000 studies show it to within two standard errors of 0.5 % each.
    assert false_rate(effects) <= 0.06
    assert false_rate(diverging(effects, rng(2), 0.1)) <= 0.05


def test_an_effect_worth_claiming_is_called_not_borne_out_in_at_most_five_percent() -> None:
    effects = rng(3).normal(1, 1, (2000, 4, 8))
    assert false_rate(1.0 - effects) <= 0.05


def test_whole_verdicts_keep_the_same_rate() -> None:
    effects = rng(7).standard_normal((50, 2, 6))
    reported = [
        any(v.answer == "borne out" for v in verdicts([PairedEffects(e, worth=0.5) for e in study]))
        for study in effects
    ]
    assert np.mean(reported) == false_rate(effects) <= 0.05


# Made-up studies: power


def power(n: int, claims: int, effect: float = 1.0, studies: int = 1000) -> float:
    p = sign_flip_p(rng(11).normal(effect, 1, (studies, n)))
    return float(np.mean(p <= LEVEL / claims))


@pytest.mark.parametrize("claims", [1, 2])
def test_the_planned_n_finds_an_effect_of_one_standard_deviation(claims: int) -> None:
    assert power(planned_n(claims), claims) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("claims", range(1, 9))
def test_the_planned_n_is_enough_for_up_to_eight_claims_and_not_generous(claims: int) -> None:
    assert power(planned_n(claims), claims, studies=4000) >= 0.8
    assert power(planned_n(claims) - 2, claims, studies=4000) < 0.8


def test_planned_numbers_of_seeds() -> None:
    assert [planned_n(claims) for claims in range(1, 9)] == list(PLANNED_N)
    # The t-test of the same level, for which the noncentral t distribution is exact, needs as many or one fewer.
    for claims, n in enumerate(PLANNED_N, start=1):
        assert seeds_needed(1.0, LEVEL / claims) in (n - 1, n)
    for claims in (0, 9):
        with pytest.raises(UsageError, match=f"got {claims}"):
            planned_n(claims)


@pytest.mark.parametrize("effect", [0.8, 1.2, 1.5, 2, 3, 10])
def test_the_needed_n_finds_the_observed_effect(effect: float) -> None:
    n = seeds_needed(effect)
    assert n is not None
    assert power(n, 1, effect) >= 0.79


def test_numbers_of_seeds_at_the_ends() -> None:
    assert seeds_needed(np.inf) == seeds_needed(10) == 5
    assert seeds_needed(np.inf, level=0.01) == 7
    assert seeds_needed(0.01) is seeds_needed(0) is seeds_needed(-1) is None


# Made-up studies: coverage


@pytest.mark.parametrize(("n", "diverged"), [(3, 0), (5, 0), (8, 0), (3, 1), (5, 1)])
def test_intervals_over_seeds_cover_the_true_effect(n: int, diverged: int) -> None:
    effects = rng(13).normal(0.3, 1, (2000, n))
    effects[:, :diverged] = np.nan
    covered = [v.low <= 0.3 <= v.high for v in (verdict(*e) for e in effects[:20])]
    ends = np.array([seed_interval(e[np.isfinite(e)]) for e in effects])
    inside = (ends[:, 0] <= 0.3) & (ends[:, 1] >= 0.3)
    assert covered == inside[:20].tolist()
    assert 0.93 <= inside.mean() <= 0.97


def test_intervals_over_images_cover_the_true_difference() -> None:
    # 300 images, of which the variants disagree on one in ten with each of three seeds.
    generator = rng(17)
    difficulty = generator.random((400, 300, 1))
    a, b = (difficulty + generator.normal(0, 0.1, (400, 300, 3)) < limit for limit in (0.9, 0.85))
    low, high = bootstrap_mean(a.mean(axis=-1) - b.mean(axis=-1))
    truth = (a.mean(axis=-1) - b.mean(axis=-1)).mean()
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97


def test_interval_over_images_is_that_of_the_differences_per_image() -> None:
    generator = rng(19)
    a, b = generator.random((3, 400)) < 0.9, generator.random((3, 400)) < 0.8
    per_image = a.mean(axis=0) - b.mean(axis=0)
    low, high = image_interval(a, b)
    expected = stats.ttest_1samp(per_image, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert image_interval(b, a) == pytest.approx((-high, -low), abs=0.004)
    assert image_interval(a, a) == (0.0, 0.0)


def test_interval_over_ten_thousand_images_takes_less_than_a_second() -> None:
    generator = rng(23)
    a, b = generator.random((2, 5, 10_000)) < 0.9
    start = time.process_time()
    image_interval(a, b)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(("a", "b"), [((3, 10), (3, 11)), ((10,), (10,)), ((3, 1), (3, 1)), ((0, 9), (0, 9))])
def test_answers_to_other_images_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="same split"):
        image_interval(np.zeros(a, bool), np.zeros(b, bool))
