"""The choice of precision and layout: obeyed when given, measured when not, within its time, disturbing nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
import torch

from cnnlab.hardware import Precision
from cnnlab.training import precision
from cnnlab.training.precision import (
    _larger_batch,
    _TimedBatch,
    choose_precision,
    compare_rates,
    saved_precision,
    usual_precision,
)
from cnnlab.zoo import create_model
from tests.helpers import tiny_recipe

CPU = torch.device("cpu")


def auto(**changes: object) -> object:
    return tiny_recipe(precision="auto", channels_last="auto", **changes)


def test_what_is_given_is_obeyed_without_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "compare_rates", lambda *a: pytest.fail("a trial was made"))
    model = create_model("convnet", 3, 1, 8)
    for bf16 in (True, False):
        for last in (True, False):
            recipe = tiny_recipe(precision="bf16" if bf16 else "fp32", channels_last=last)
            assert choose_precision(recipe, model, (1, 8, 8), 3, CPU) == Precision(bf16, last)


def test_the_trial_is_of_the_part_of_a_batch_that_is_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(precision, "compare_rates", lambda prepares, size, *a: sizes.append(size) or [1.0] * 4)
    for accumulate in (1, 8, 24):
        recipe = auto(batch_size=30, accumulate=accumulate)
        choose_precision(recipe, create_model("convnet", 3, 1, 8), (1, 8, 8), 3, CPU)
    assert sizes == [30, 4, 2]  # no part is of a single image


def test_a_setting_without_memory_for_it_has_the_rate_0() -> None:
    def too_large() -> object:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")

    def wrong() -> object:
        raise RuntimeError("shapes do not fit")

    rates = compare_rates([lambda count: too_large, lambda count: lambda: None], 8, CPU, 0.1)
    assert rates[0] == 0 < rates[1]
    with pytest.raises(RuntimeError, match="shapes"):
        compare_rates([lambda count: wrong], 8, CPU, 0.1)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"fp32": 100, "fp32 channels_last": 120, "bf16 channels_last": 200}, Precision(True, True)),
        ({"fp32": 100, "fp32 channels_last": 120, "bf16 channels_last": 123}, Precision(False, True)),
        ({"fp32": 100, "fp32 channels_last": 106, "bf16 channels_last": 108}, Precision(False, True)),
        ({"fp32": 0, "fp32 channels_last": 10, "bf16 channels_last": 0}, Precision(False, True)),  # out of memory
        ({"fp32": 100, "fp32 channels_last": 102, "bf16 channels_last": 60}, Precision(False, False)),
    ],
)
def test_the_fastest_wins_if_it_is_clearly_faster(
    rates: dict[str, float], expected: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "compare_rates", lambda *arguments: list(rates.values()))
    chosen = choose_precision(auto(), create_model("convnet", 3, 1, 8), (1, 8, 8), 3, CPU)
    assert (chosen.bf16, chosen.channels_last) == (expected.bf16, expected.channels_last)
    assert chosen.measured == rates
    assert f"fp32 {rates['fp32']}" in chosen.describe()


def test_bf16_is_not_tried_where_the_hardware_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    chosen = choose_precision(auto(), create_model("convnet", 3, 1, 8), (1, 8, 8), 3, CPU, budget=30.0)
    assert chosen.measured.keys() == {"fp32", "fp32 channels_last"}


def test_no_layout_is_tried_without_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    chosen = choose_precision(auto(), create_model("mlp", 3, 1, 8), (1, 8, 8), 3, CPU, budget=0.2)
    assert chosen == Precision(False, False)


def test_a_trial_keeps_to_its_time_and_changes_nothing() -> None:
    model = create_model("resnet18", 10, 3, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    start = time.perf_counter()
    chosen = choose_precision(auto(batch_size=128), model, (3, 32, 32), 10, CPU, budget=2.0)
    assert time.perf_counter() - start < 20  # 2 s, and slack for a busy machine
    assert len(chosen.measured) >= 2
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("fast", [True, False])
def test_a_trial_that_takes_too_long_leaves_it_to_the_hardware(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    monkeypatch.setattr(precision, "train_step", lambda *arguments: time.sleep(0.05))
    chosen = choose_precision(auto(), create_model("convnet", 3, 1, 8), (1, 8, 8), 3, CPU, budget=0.01)
    assert (chosen.bf16, chosen.channels_last, chosen.cut_short) == (fast, fast, True)
    assert chosen.measured.keys() == {"fp32"}
    assert "too long" in chosen.describe()


def test_all_calls_are_compared_on_the_same_images() -> None:
    counts: list[list[int]] = [[], [], []]

    def prepared(place: int, per_image: float) -> Callable[[int], Callable[[], None]]:
        def call_on(count: int) -> Callable[[], None]:
            def call() -> None:
                counts[place].append(count)
                time.sleep(per_image * count)

            return call

        return call_on

    rates = compare_rates([prepared(0, 2e-4), prepared(1, 1e-4), prepared(2, 4e-4)], 32, CPU, 30.0)
    assert counts[0] == counts[1] == counts[2]  # in turns, on batches of the same sizes
    assert counts[0][0] == 4
    assert rates[1] > rates[0] > rates[2]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which moves only when the test moves it."""
    now = [0.0]
    monkeypatch.setattr("cnnlab.training.precision.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("cnnlab.hardware.time.perf_counter", lambda: now[0])
    return now


def waiting(now: list[float], seconds: float) -> Callable[[], None]:
    """A call that takes so long."""

    def call() -> None:
        now[0] += seconds

    return call


def bursts(now: list[float], rng: random.Random, mean_seconds: float) -> Callable[[float], None]:
    """A function that lets time pass for so many seconds of work, on a machine that is slower now and then.

    It is undisturbed and slower by a factor of 1.5 to 2.5 in turns, each for a random time of the given mean.
    """
    end, factor = 0.0, 1.0

    def work(seconds: float) -> None:
        nonlocal end, factor
        while seconds > 0:
            if now[0] >= end:
                end = now[0] + rng.expovariate(1 / mean_seconds)
                factor = rng.uniform(1.5, 2.5) if factor == 1 else 1.0
            done = min(seconds, (end - now[0]) / factor)
            seconds -= done
            now[0] = end if seconds > 0 else now[0] + done * factor

    return work


def working(work: Callable[[float], None], image_seconds: float) -> Callable[[int], Callable[[], None]]:
    """Calls with so many seconds of work for each image."""
    return lambda count: lambda: work(count * image_seconds)


@pytest.mark.parametrize("mean_seconds", [1.0, 4.0])
@pytest.mark.parametrize("image_seconds", [0.005, 0.03])
def test_the_fastest_one_is_mostly_found_on_a_machine_that_is_slower_now_and_then(
    image_seconds: float, mean_seconds: float, now: list[float]
) -> None:
    wrong = 0
    for seed in range(100):
        rng, now[0] = random.Random(seed), 0.0
        work = bursts(now, rng, mean_seconds)
        factors = [1.0, 1.2, 1.36]
        rng.shuffle(factors)
        rates = compare_rates([working(work, image_seconds * factor) for factor in factors], 32, CPU, 2.0)
        wrong += len(rates) == 3 and rates.index(max(rates)) != factors.index(1.0)
        assert now[0] < 30
    assert wrong <= 8  # 9 to 38 where the trial ends without two least times that agree


def test_times_that_agree_end_the_trial(now: list[float]) -> None:
    called: list[int] = []

    def prepared(number: int) -> Callable[[int], Callable[[], None]]:
        def call_on(count: int) -> Callable[[], None]:
            def call() -> None:
                called.append(number)
                disturbed = number == 2 and called.count(2) < 6
                now[0] += count * (0.02, 0.011, 0.009)[number] * (1 + 0.1 * called.count(2) if disturbed else 1)

            return call

        return call_on

    rates = compare_rates([prepared(0), prepared(1), prepared(2)], 16, CPU, 1.0)
    assert rates == pytest.approx([1 / 0.02, 1 / 0.011, 1 / 0.009])
    assert called.count(0) == called.count(1) == called.count(2) == 7  # its sixth and seventh time agree


def test_the_rate_is_that_of_the_batch_of_the_run(now: list[float]) -> None:
    """The second call takes longer for a step and less for an image: on 16 images it is slower, on 64 it is faster."""
    seen: set[int] = set()

    def prepared(step_seconds: float, image_seconds: float) -> Callable[[int], Callable[[], None]]:
        return lambda count: seen.add(count) or waiting(now, step_seconds + count * image_seconds)

    rates = compare_rates([prepared(0.1, 0.02), prepared(0.3, 0.01)], 64, CPU, 3.0)
    assert seen == {4, 16}
    assert rates == pytest.approx([64 / (0.1 + 64 * 0.02), 64 / (0.3 + 64 * 0.01)])


def test_noise_makes_no_image_free(now: list[float]) -> None:
    """Of times that fall with the number of images, or rise faster than it, the rate still follows the larger batch."""
    times = ({4: 0.5, 16: 0.4}, {4: 0.05, 16: 0.4})
    prepares = [lambda count, seconds=seconds: waiting(now, seconds[count]) for seconds in times]
    falls, rises = compare_rates(prepares, 64, CPU, 3.0)
    assert falls == pytest.approx(64 / (0.4 + 48 * 0.4 / 16 / 4))
    assert rises == pytest.approx(64 / (4 * 0.4))


@pytest.mark.parametrize(
    ("count", "per_call", "left", "expected"),
    [
        (4, 0.01, 2.0, 16),
        (4, 0.3, 1.7, 16),  # two turns of three calls take 7.2 s: less than four times 2 s
        (4, 0.6, 1.0, 8),
        (4, 0.7, 0.5, 0),
        (8, 0.6, 0.5, 16),
        (8, 0.7, 0.5, 0),
        (16, 0.1, 1.0, 32),  # 1.2 s for the batch of the run: less than twice 2 s
        (16, 0.4, 1.0, 0),
        (16, 0.01, 1.0, 32),
        (32, 0.01, 1.0, 0),  # the batch of the run
    ],
)
def test_the_batch_grows_as_the_time_allows(count: int, per_call: float, left: float, expected: int) -> None:
    batch = _TimedBatch([lambda count: lambda: None] * 3, count, CPU)
    batch.times = [per_call] * 3
    assert _larger_batch(batch, 32, left, 2.0) == expected


def test_a_batch_between_enough_and_that_of_the_run_gets_no_extra_time() -> None:
    batch = _TimedBatch([lambda count: lambda: None] * 3, 16, CPU)
    batch.times = [0.1] * 3
    assert _larger_batch(batch, 128, 1.0, 2.0) == 0
    assert _larger_batch(batch, 64, 1.0, 2.0) == 64


def test_a_deep_network_is_compared_on_enough_images(now: list[float]) -> None:
    """EfficientNet-B5 at 32 pixels, with AMX: on 4 images its settings take the same time, on 16 they do not."""
    seen: set[int] = set()

    def prepared(step_seconds: float, image_seconds: float) -> Callable[[int], Callable[[], None]]:
        return lambda count: seen.add(count) or waiting(now, step_seconds + count * image_seconds)

    calls = [prepared(0.05, 0.08), prepared(0.2, 0.05), prepared(0.2, 0.043)]
    rates = compare_rates(calls, 32, CPU, 2.0)
    assert max(seen) >= 16
    assert rates == pytest.approx([32 / (0.05 + 32 * 0.08), 32 / (0.2 + 32 * 0.05), 32 / (0.2 + 32 * 0.043)])
    assert now[0] < 16


def test_a_call_without_enough_memory_has_no_rate() -> None:
    def greedy(count: int) -> Callable[[], None]:
        def call() -> None:
            raise torch.OutOfMemoryError

        return call

    first, second = compare_rates([greedy, lambda count: lambda: time.sleep(0.001)], 8, CPU, 30.0)
    assert first == 0 < second


@pytest.mark.parametrize(("steps", "expected"), [([9, 8, 1], 1), ([9, 8, 7, 1], 7), ([3, 1], 3)])
def test_a_step_that_was_given_new_memory_is_timed_again(
    steps: list[int], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, left = [0], list(steps)

    def timed(call: Callable[[], object], device: torch.device, warmup: int) -> list[float]:
        seconds = left.pop(0)
        given[0] += precision.MUCH_MEMORY if seconds > 5 else precision.MUCH_MEMORY - 1
        return [seconds]

    monkeypatch.setattr(precision, "memory_given", lambda: given[0])
    monkeypatch.setattr(precision, "time_calls", timed)
    batch = _TimedBatch([lambda count: lambda: None], 4, CPU)
    batch.measure(0)
    assert batch.times == [expected]


def test_without_a_trial_the_hardware_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    assert usual_precision(CPU) == Precision(True, True)
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    assert usual_precision(CPU) == Precision(False, False)
    assert usual_precision(torch.device("cuda")) == Precision(False, True)


@pytest.mark.parametrize(
    ("trained_on", "used_on", "fast", "bf16"),
    [("cpu", "cpu", False, True), ("cuda:0", "cpu", False, False), ("cuda:0", "cpu", True, True)],
)
def test_a_trained_network_keeps_bf16_where_the_hardware_has_it(
    trained_on: str, used_on: str, fast: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    recipe = tiny_recipe(device=trained_on, precision="bf16", channels_last=True)
    assert saved_precision(recipe, torch.device(used_on)) == Precision(bf16, True)
