"""Training by the clock: it ends in time, the learning rate follows the time, and the epochs are written down."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path

import pytest
import torch

from cnnlab.data import ImageData
from cnnlab.errors import RecipeError, TrainingError
from cnnlab.runs import Recorder, open_run
from cnnlab.runs.continuation import extend, resume
from cnnlab.training import EpochDone, Event, Finished, Recipe, Session, StepDone, fit, prepare
from cnnlab.training.clock import AUGMENTATION_SHARE, Clock
from cnnlab.training.evaluation import SixViews
from cnnlab.training.loop import rate_at
from cnnlab.training.session import evaluation_loader
from tests.helpers import make_bars, tiny_recipe


@pytest.fixture(scope="module", autouse=True)
def libraries_are_loaded() -> None:
    """The first training of a process loads them, which takes as long as the trainings here."""
    trained(tiny_recipe(epochs=1), make_bars())


class Watch:
    """A clock that moves only when the test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("cnnlab.training.clock.time.perf_counter", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def test_the_share_runs_from_the_first_step_to_the_last_that_fits(watch: Watch) -> None:
    clock = Clock(60, reserve=5)
    watch.wait(3)  # loading
    clock.start(final_images=0)
    assert clock.share == 0
    shares = []
    while clock.share < 1:
        shares.append(clock.share)
        watch.wait(2)
        clock.step_done()
    # 52 s are left for steps of 2 s.
    assert len(shares) == 26
    assert shares[13] == pytest.approx(26 / 52)
    assert watch.now == 100 + 3 + 52


def test_time_is_kept_for_the_last_evaluation(watch: Watch) -> None:
    clock = Clock(60)
    clock.start(final_images=500)
    clock.measured(0.004, unsure=1)
    watch.wait(1)
    clock.step_done()
    assert clock.evaluation_seconds(500) == pytest.approx(2)
    assert clock.share == pytest.approx(1 / 58)
    watch.wait(6)
    clock.evaluated(6.0, 300)
    assert (clock.evaluation_seconds(500), clock.epoch_evaluation) == (pytest.approx(10), 6)
    assert clock.share == pytest.approx(7 / 50)
    clock.evaluated(0.1, 300, whole=False)  # cached features: the images at the end still pass the whole network
    assert (clock.evaluation_seconds(500), clock.epoch_evaluation) == (pytest.approx(10), 0.1)
    for image_seconds, counts in ((0.001, 0.001), (0.008, 0.001), (0.002, 0.001), (0.003, 0.002), (0.004, 0.002)):
        clock.measured(image_seconds, unsure=1)  # the fastest of the last three: any one may have been disturbed
        assert clock.evaluation_seconds(500) == pytest.approx(500 * counts)
    clock.evaluated(6.0, 300)  # a whole split is worth more than they
    assert clock.evaluation_seconds(500) == pytest.approx(10)


def test_time_is_kept_for_looking_at_unsure_images_again(watch: Watch) -> None:
    clock = Clock(100, reserve=3)
    clock.start(final_images=1000, augmented_images=500, views=6)
    clock.measured(0.01, unsure=0.2)
    assert clock.augmentation_seconds == pytest.approx(0.01 * 6 * 0.2 * 500)
    watch.wait(50)
    assert clock.share == pytest.approx(50 / (100 - 3 - 10 - 6))
    clock.measured(0.01, unsure=0.9)
    assert clock.augmentation_seconds == pytest.approx(AUGMENTATION_SHARE * 100)  # 27 s would be more than that
    watch.wait(41)
    assert clock.images_left == 100  # 6 s for six views of 10 ms
    watch.wait(7)
    assert clock.images_left == 0


def test_an_evaluation_that_seems_too_long_leaves_half_of_the_time_for_steps(watch: Watch) -> None:
    clock = Clock(30)
    clock.start(final_images=10_000)
    clock.measured(0.004, unsure=1)  # 40 s
    assert clock.share == 0
    watch.wait(7.5)
    assert clock.share == pytest.approx(7.5 / 15)
    clock.measured(0.0005, unsure=1)  # the first measurement was disturbed
    assert clock.share == pytest.approx(7.5 / (30 - 5))


def test_a_machine_that_becomes_slower_makes_fewer_steps_in_the_same_time(watch: Watch) -> None:
    clock = Clock(100)
    clock.start(final_images=0)
    steps = 0
    while clock.share < 1:
        watch.wait(1 if steps < 50 else 3)
        clock.step_done()
        steps += 1
    assert 95 <= watch.now - 100 <= 100
    assert steps == pytest.approx(50 + 50 / 3, abs=2)


def test_an_interrupted_training_has_the_rest_of_its_time(watch: Watch) -> None:
    clock = Clock(60)
    clock.start(final_images=0, trained=20)
    assert clock.share == pytest.approx(20 / 60)
    watch.wait(39)
    assert clock.share == pytest.approx(59 / 60)


def trained(recipe: Recipe, data: ImageData) -> list[Event]:
    return list(fit(recipe, data=data))


def test_it_ends_in_time_and_the_rate_falls_to_zero(bars_data: ImageData) -> None:
    start = time.perf_counter()
    events = trained(tiny_recipe(minutes=0.03, schedule="cosine", lr=0.01), bars_data)
    assert 0.9 <= (time.perf_counter() - start) / 1.8 <= 1.5  # the limits are for a machine that is busy
    rates = [event.lr for event in events if isinstance(event, StepDone)]
    assert rates[0] == pytest.approx(0.01, rel=0.01)
    assert min(rates) == rates[-1] < 0.0005
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "completed"
    assert finished.accuracy >= 0.9
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert finished.session.recipe.epochs == len(epochs)
    assert epochs[-1].step == len(rates)


def test_a_step_that_takes_little_time_does_not_raise_the_rate(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(minutes=1, schedule="cosine", warmup_epochs=0, lr=0.01), bars_data)
    rates = []
    for step, share in ((100, 0.3), (101, 0.3001), (102, 0.3002), (103, 0.3002)):  # of 333 steps, at the mean pace
        session.time_share = share
        rates.append(rate_at(session, step))
        assert rates[-1] == pytest.approx(0.01 * (1 + math.cos(math.pi * share)) / 2)  # the share of the time counts
    assert sorted(rates, reverse=True) == rates


def slow_to_evaluate(recipe: Recipe, data: ImageData, image_seconds: float, batch_seconds: float = 0) -> Session:
    """A training whose time begins now, of a network that takes longer by so much in eval mode only."""
    session = prepare(recipe, data)
    session.model.register_forward_pre_hook(
        lambda model, inputs: None if model.training else time.sleep(batch_seconds + image_seconds * len(inputs[0]))
    )
    session.clock = Clock(60 * (recipe.minutes or 0))
    return session


# The limits are for a machine that is busy; without what is tested the training takes longer.
def test_a_slow_evaluation_is_known_before_it_comes() -> None:
    recipe = tiny_recipe(minutes=0.05, evaluate_every=1000)
    session = slow_to_evaluate(recipe, make_bars(n_test=240), 2 / 240)
    start = time.perf_counter()
    *_, finished = fit(recipe, session=session)
    assert 0.9 <= (time.perf_counter() - start) / 3 <= 1.5
    assert finished.session.epoch > 1


def test_what_a_batch_costs_beside_its_images_does_not_count_for_each_of_them() -> None:
    recipe = tiny_recipe(minutes=0.05, evaluate_every=1000)
    # 6,000 times an eighth of 2 ms would be half of the time; 24 batches take 0.05 s.
    session = slow_to_evaluate(recipe, make_bars(n_train=480, n_test=6000), 0, 0.002)
    start = time.perf_counter()
    *_, finished = fit(recipe, session=session)
    assert 0.9 <= (time.perf_counter() - start) / 3 <= 1.5
    assert finished.session.epoch >= 1


def test_time_for_cached_features_counts_once() -> None:
    recipe = tiny_recipe(minutes=0.06, freeze="backbone")
    session = slow_to_evaluate(recipe, make_bars(n_train=240, n_test=60), 1.2 / 300)
    assert session.feature_shape  # they are cached
    start = time.perf_counter()
    *_, finished = fit(recipe, session=session)
    assert 0.9 <= (time.perf_counter() - start) / 3.6 <= 1.5
    assert finished.session.epoch > 1


def test_test_time_augmentation_ends_in_time() -> None:
    data = make_bars(n_test=240)
    assert data.test is not None
    recipe = tiny_recipe(minutes=0.1, tta=1.0, evaluate_every=1000, label_smoothing=0.5)
    session = slow_to_evaluate(recipe, data, 1.2 / 240)  # six views would take 7.2 s
    start = time.perf_counter()
    seen: list[int] = []
    session.model.register_forward_pre_hook(
        lambda model, inputs: None if model.training else seen.append(len(inputs[0]))
    )
    *_, finished = fit(recipe, session=session)
    assert (time.perf_counter() - start) / 6 <= 1.8
    again = seen[-1]
    assert seen[-6:] == [again] * 6
    assert 0 < again < 240 / 3
    assert isinstance(finished, Finished)
    logits = torch.from_numpy(finished.logits)
    least_certain = logits.softmax(1).amax(1).argsort()[:again]
    images = torch.cat([batch.images for batch in evaluation_loader(session, data.test).epoch(0)])
    model = finished.session.model.eval()
    with torch.no_grad():
        logits[least_certain] = SixViews(model)(images[least_certain])
    assert finished.tta_accuracy == pytest.approx(float((logits.argmax(1) == data.test.labels).double().mean()))


def test_less_than_an_epoch(bars_data: ImageData) -> None:
    events = []
    for event in fit(tiny_recipe(minutes=0.02, batch_size=2), data=bars_data):
        if isinstance(event, StepDone):
            time.sleep(0.1)
        events.append(event)
    steps = [event for event in events if isinstance(event, StepDone)]
    (epoch,) = (event for event in events if isinstance(event, EpochDone))
    assert 2 <= len(steps) < len(epoch.session.train_loader)
    assert epoch.step == len(steps)
    assert isinstance(events[-1], Finished)


def test_the_run_says_how_many_epochs_there_was_time_for(tmp_path: Path, bars_data: ImageData) -> None:
    recorder = Recorder(tmp_path / "run")
    *_, finished = recorder.record(fit(tiny_recipe(minutes=0.02, keep_epochs="doubling"), data=bars_data))
    run = open_run(tmp_path / "run")
    done = run.summary["epochs_done"]
    assert run.recipe.epochs == run.summary["epochs"] == done == finished.session.epoch
    assert run.recipe.minutes == 0.02
    assert run.epochs[-1] == done
    *_, longer = Recorder(run=run).record(extend(run, 2, data=bars_data))
    assert longer.session.epoch == done + 2
    assert open_run(tmp_path / "run").recipe.total_epochs == done + 2


def test_stopped_and_resumed(tmp_path: Path, bars_data: ImageData) -> None:
    start = time.perf_counter()
    recorder = Recorder(tmp_path / "run", stop=lambda: time.perf_counter() - start > 0.9)
    for _ in recorder.record(fit(tiny_recipe(minutes=0.03), data=bars_data)):
        pass
    assert recorder.interrupted
    run = open_run(tmp_path / "run")
    *_, finished = Recorder(run=run).record(resume(run, data=bars_data))
    assert finished.reason == "completed"
    assert finished.seconds < 2.4  # 1.8 in all; without the time before the stop it would be 2.7


def test_evaluations_that_take_too_long_are_left_out() -> None:
    """The test split takes longer than many epochs: it is evaluated once, at the end."""
    recipe = tiny_recipe(minutes=0.04)
    events = list(fit(recipe, session=slow_to_evaluate(recipe, make_bars(n_test=240), 0.5 / 240)))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert len(epochs) > 2
    assert [event.split for event in epochs[1:]] == [""] * (len(epochs) - 1)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.split == "test"


def test_an_evaluation_that_takes_longer_than_the_whole_time_does_not_take_the_steps() -> None:
    recipe = tiny_recipe(minutes=0.02)
    events = list(fit(recipe, session=slow_to_evaluate(recipe, make_bars(n_test=240), 2 / 240)))
    assert sum(isinstance(event, StepDone) for event in events) > 10
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.accuracy >= 0.5  # guessing gives a third


def test_epochs_without_time_to_evaluate_use_up_no_patience() -> None:
    recipe = tiny_recipe(minutes=0.03, early_stopping=2)
    events = list(fit(recipe, session=slow_to_evaluate(recipe, make_bars(n_val=240), 0.4 / 240)))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert len(epochs) > 3
    assert not any(event.split for event in epochs[:-1])
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "completed"


def test_time_that_is_over_before_the_first_step_is_an_error(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(minutes=0.05), bars_data)
    session.clock = Clock(3, time.perf_counter() - 20, reserve=2)
    with pytest.raises(
        TrainingError, match=r"training, 3 s, was over before its first step: .* took 20 s, .* take 2 s"
    ):
        list(fit(session.recipe, session=session))


@pytest.mark.parametrize(("epoch", "step"), [(0, 3), (1, 4), (2, 0)])
def test_what_was_begun_is_finished_where_no_time_is_left(epoch: int, step: int, bars_data: ImageData) -> None:
    """A training of 4 steps an epoch goes on at this place, when its time is over."""
    session = prepare(tiny_recipe(minutes=0.5, batch_size=12), bars_data)
    session.clock = Clock(60)
    events = fit(session.recipe, session=session)
    while (session.epoch, session.step) != (epoch, step):
        next(events)
    events.close()  # type: ignore[attr-defined]
    session.clock = Clock(30, time.perf_counter() - 40)
    session.time_share = 0.0
    rest = list(fit(session.recipe, session=session))
    assert not any(isinstance(event, StepDone) for event in rest)
    assert sum(isinstance(event, EpochDone) for event in rest) == (step > 0)
    assert session.recipe.epochs == session.epoch == epoch + (step > 0)
    finished = rest[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "completed"


def test_a_run_may_be_extended_whose_clock_gave_it_fewer_epochs_than_it_was_to_keep(
    tmp_path: Path, bars_data: ImageData
) -> None:
    for _ in Recorder(tmp_path / "run").record(fit(tiny_recipe(minutes=0.02, keep_epochs=[1, 9999]), data=bars_data)):
        pass
    run = open_run(tmp_path / "run")
    done = run.summary["epochs_done"]
    *_, longer = Recorder(run=run).record(extend(run, 2, data=bars_data))
    assert longer.session.epoch == done + 2


def test_nothing_is_measured_for_a_clock_that_does_not_count_evaluations() -> None:
    recipe = tiny_recipe(minutes=0.02, evaluate_every=1000)
    session = prepare(recipe, make_bars(n_test=24))
    session.clock = Clock(1.2, counts_evaluations=False)
    evaluated: list[int] = []
    session.model.register_forward_pre_hook(
        lambda model, inputs: None if model.training else evaluated.append(len(inputs[0]))
    )
    steps = 0
    for event in fit(recipe, session=session):
        if isinstance(event, StepDone):
            steps += 1
            assert not evaluated
    assert steps > 1
    assert sum(evaluated) == 24
    assert session.clock.evaluation_seconds(1000) == 0  # although an evaluation has been timed


def test_minutes_must_be_positive() -> None:
    with pytest.raises(RecipeError, match="minutes"):
        tiny_recipe(minutes=0)
