"""What a training does to end by its :class:`~cnnlab.training.clock.Clock`, and to make the most of its time.

It measures evaluations, leaves some out, and uses the cores that other programs leave free.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

import torch

from cnnlab.data import Loader
from cnnlab.errors import TrainingError
from cnnlab.hardware import time_calls
from cnnlab.training import distributed
from cnnlab.training.clock import Clock
from cnnlab.training.evaluation import SixViews, evaluation_batch, outputs_of
from cnnlab.training.session import Session, evaluation_loader

# An epoch is followed by an evaluation only if that takes less than this share of the epoch's time.
EVALUATION_SHARE = 0.1
# Evaluation is measured again when these shares of the time have passed, where a few images take little time. The last
# three are apart, so that a moment in which other programs keep the cores busy does not disturb them all.
LOOKS = (0.5, 0.8, 0.85, 0.9)
# Evaluation is measured on a few images first, then on four times as many while that takes less than this share of the
# time or so many seconds: what a pass costs beside its images must not count for each of a large split's.
FEW_IMAGES, GROWTH, MEASURING_SHARE, MEASURING_SECONDS = 8, 4, 0.01, 0.2
# The first pass pays for memory and the choice of kernels: the fastest one counts (the middle one is worse on a busy
# machine: ``results/LOG.md``).
PASSES = 3


def on_free_cores(clock: Clock | None) -> AbstractContextManager[object]:
    """Return a context in which the training uses the free cores only, or one that does nothing without a clock."""
    return (clock and clock.cores) or nullcontext()


def start_clock(session: Session, trained: float) -> None:
    """Begin to count the time of the steps, where the clock decides when the training ends.

    Args:
        session: the training, before the first step of this process.
        trained: seconds that it took before it was interrupted.

    Raises:
        TrainingError: the time is over although no step was ever made.
    """
    if clock := session.clock:
        data, world = session.data, distributed.world()
        last = len(data.test or data.val or data.train)
        chosen_on = len(data.val) if data.val is not None and not session.on_features else 0
        views = SixViews.COUNT if session.recipe.tta else 0
        clock.start((last + chosen_on) // world, trained, augmented_images=last // world, views=views)
        measure_evaluation(session)
        session.look_at_clock()
        if session.out_of_time and not (session.epoch or session.step):
            raise TrainingError(
                f"The time of this training, {clock.seconds:.0f} s, was over before its first step: the data and the "
                f"network took {time.perf_counter() - clock.begun:.0f} s, and writing the report is expected to take "
                f"{clock.reserve:.0f} s. Give it more time with `minutes`. Data that was downloaded is kept: the next "
                "time is faster."
            )


def follow_machine(session: Session) -> float:
    """Use the cores that are free now, and measure evaluation again when it is due; return the seconds.

    A machine may have become slower since the first measurement, and answers surer.
    """
    before, clock = time.perf_counter(), session.clock
    if clock and clock.cores:
        clock.cores.use()
    if clock and clock.looks < len(LOOKS) and session.time_share >= LOOKS[clock.looks]:
        clock.looks += 1
        if clock.evaluation_seconds(FEW_IMAGES) < MEASURING_SHARE * clock.seconds:
            measure_evaluation(session, passes=1)
    return time.perf_counter() - before


def measure_evaluation(session: Session, passes: int = PASSES) -> None:
    """Pass training images through the network as an evaluation does; tell the clock the time and the unsure share.

    A process measures its own part and waits for no other one. Nothing is measured for a clock that leaves evaluations
    no time: that would only take time from the steps.
    """
    clock, train, world = session.clock, session.data.train, distributed.world()
    assert clock is not None
    if not clock.counts_evaluations:
        return
    largest = min(evaluation_batch(session.recipe, session.preprocess.size), len(train) // world)
    most, count = max(MEASURING_SHARE * clock.seconds, MEASURING_SECONDS), FEW_IMAGES
    while True:
        positions = torch.linspace(0, len(train) - 1, min(count * world, len(train))).long()
        answers, seconds = timed_answers(session, evaluation_loader(session, train.subset(positions)), passes)
        if count >= largest or PASSES * GROWTH * seconds > most:
            break
        count = min(GROWTH * count, largest)
    unsure = float((answers.softmax(1).amax(1) < session.recipe.tta).double().mean()) if len(answers) else 1.0
    clock.measured(seconds / max(len(answers), 1), unsure)  # a process may have no part of a tiny split


def timed_answers(session: Session, loader: Loader, passes: int) -> tuple[torch.Tensor, float]:
    """Return the logits (n, K) for this process's part of ``loader``, and the seconds of the fastest pass."""
    answers = torch.empty(0)

    def answer() -> None:
        nonlocal answers
        parts = [part[0] for part in outputs_of(session.evaluated, loader, session.device, session.precision)]
        answers = torch.cat(parts) if parts else answers

    seconds = min(time_calls(answer, session.device, warmup=0, least=passes))
    return answers, seconds


def has_time_to_evaluate(session: Session) -> bool:
    """Return whether the evaluation after this epoch takes little time beside the epoch, the same on every process.

    When the time is over, a validation split is still evaluated: it chooses the weights. The test split is evaluated
    at the end of the run.
    """
    clock, loader = session.clock, session.val_loader
    if clock is None or loader is None:
        return True
    if session.out_of_time:
        return session.selects
    seconds = clock.epoch_evaluation
    if seconds is None:
        seconds = 0.0 if session.on_features else clock.evaluation_seconds(len(loader.split) // distributed.world())
    return bool(distributed.broadcast(seconds < EVALUATION_SHARE * session.position.epoch_seconds))


def forecast_epochs(session: Session) -> None:
    """Note in the recipe how many epochs there will be, where the clock decides: at the end, how many there were."""
    if session.clock:
        forecast = max(session.epoch + 1, round(session.epoch / max(session.time_share, 1e-6)))
        epochs = session.epoch if session.out_of_time else forecast
        session.recipe = session.recipe.model_copy(update={"epochs": epochs})
