"""The one rule for precision and memory layout: what a recipe says, else what a trial finds fastest here.

Three questions are answered: :func:`choose_precision` for a training (by a trial on the device and batch size of the
run), :func:`usual_precision` where there is no time for a trial, and :func:`saved_precision` for a network that has
been trained already. The answer is printed, saved in the run and can be overridden in the recipe.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cnnlab.hardware import Precision, has_fast_bf16, keep_kernels, memory_given, out_of_memory, time_calls
from cnnlab.training import distributed
from cnnlab.training.recipe import Recipe
from cnnlab.training.seeding import seeded
from cnnlab.training.step import Learner, train_step

# Leaving fp32 and NCHW has to be worth it: smaller gains are noise of the trial, and would differ from run to run.
WORTHWHILE = 1.03
# Images of a step that ranks the settings nearly as a whole batch does; of fewer it is mostly the cost of the weights.
ENOUGH = 16
# The two least times of a call differ by less than this where nothing disturbed them.
SAME = 1.05
# The most turns of a trial, for its fastest calls.
MOST_TURNS = 29

# A step that the system gave so many bytes of memory says little about the next ones.
MUCH_MEMORY = 2**26


def choose_precision(
    recipe: Recipe,
    model: nn.Module,
    input_shape: tuple[int, int, int],
    num_classes: int,
    device: torch.device,
    budget: float = 2.0,
) -> Precision:
    """Decide precision and memory layout of a training; where the recipe says auto, by a trial.

    Args:
        recipe: the recipe, whose ``precision`` and ``channels_last`` are obeyed when they are not ``auto``.
        model: the network, on ``device``; it is copied, not changed, and no random state is consumed.
        input_shape: shape (C, H, W) of an image.
        num_classes: number of outputs of the network.
        device: the device on which it will run.
        budget: seconds for the trial; that of a deep network, or on a busy machine, may take ten times as many (see
            :func:`compare_rates`).
    """
    choices = _choices(recipe, model, device)
    if len(choices) == 1:
        return choices[0]
    prepares = [training_steps(copy.deepcopy(model), choice, input_shape, num_classes, device) for choice in choices]
    share = distributed.share_of(recipe.batch_size)
    with seeded(device, 0):
        measured = compare_rates(prepares, -(-share // recipe.parts(share)), device, budget)
    rates = {choice.label: rate for choice, rate in zip(choices, measured, strict=False)}
    if len(rates) < len(choices):
        # One setting took all the time (a large network or a busy machine): go by what the processor can do.
        fast = has_fast_bf16(device) and recipe.precision == "auto"
        best = choices[-1] if fast else choices[0]
        return Precision(best.bf16, best.channels_last, rates, cut_short=True)
    best = choices[0]
    for choice in choices[1:]:
        if rates[choice.label] > WORTHWHILE * rates[best.label]:
            best = choice
    return Precision(best.bf16, best.channels_last, rates)


def _choices(recipe: Recipe, model: nn.Module, device: torch.device) -> list[Precision]:
    """Return the settings that the recipe allows and the hardware supports, the plainest first."""
    precisions = [recipe.precision] if recipe.precision != "auto" else ["fp32", "bf16"][: 1 + has_fast_bf16(device)]
    formats = [recipe.channels_last] if recipe.channels_last != "auto" else [False, True]
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()) and len(formats) > 1:
        formats = [False]  # without a convolution the layout makes no difference
    choices = [Precision(precision == "bf16", bool(last)) for precision in precisions for last in formats]
    if len(choices) == 4:
        choices.remove(Precision(True, False))  # its kernels are written for NHWC: faster by 2 % at most
    return choices


def usual_precision(device: torch.device) -> Precision:
    """Return the setting that is mostly the fastest on ``device``, without a trial."""
    fast = has_fast_bf16(device)
    return Precision(bf16=fast, channels_last=fast or device.type == "cuda")


def saved_precision(recipe: Recipe, device: torch.device) -> Precision:
    """Return the setting in which a trained network computes on ``device``: that of its training, where it can.

    Args:
        recipe: the recipe of the run, with precision and memory layout decided.
        device: the device on which the network is used. On another kind than that of the training, bf16 is kept only
            where the hardware has it.
    """
    same_kind = recipe.device == "auto" or device.type == torch.device(recipe.device).type
    bf16 = recipe.precision == "bf16" and (same_kind or has_fast_bf16(device))
    return Precision(bf16, recipe.channels_last is True)


def to_memory_format(model: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Store the weights of ``model`` in ``memory_format``, in place."""
    return model.to(memory_format=memory_format)  # type: ignore[call-overload]


def training_rate(
    model: nn.Module,
    precision: Precision,
    batch_size: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    device: torch.device,
    seconds: float,
) -> float:
    """Return how many images/s forward and backward passes take; see :func:`images_per_second`.

    Args:
        model: the network, which is put into train mode and into the memory layout; its weights keep their values.
        precision: the setting to try.
        batch_size, seconds: number of images of the largest batch, and the time that may be spent.
        input_shape, num_classes: shape (C, H, W) of an image, and number of outputs of the network.
        device: the device on which the network is.
    """
    prepare = training_steps(model, precision, input_shape, num_classes, device)
    with seeded(device, 0):
        return images_per_second(prepare, batch_size, device, seconds)


def training_steps(
    model: nn.Module, precision: Precision, input_shape: tuple[int, int, int], num_classes: int, device: torch.device
) -> Callable[[int], Callable[[], object]]:
    """Return a function from the number of images to a call that makes a training step on so many, without an update.

    Args:
        model: the network, on ``device``, which is put into train mode and into the memory layout.
        precision: the setting of the steps.
        input_shape, num_classes: shape (C, H, W) of an image, and number of outputs of the network.
        device: the device on which the steps compute.
    """
    generator = torch.Generator().manual_seed(0)
    model = to_memory_format(model, precision.memory_format).train()
    learner = Learner(model, model, nn.CrossEntropyLoss(), None, precision, clip_norm=0.0)

    def step_on(count: int) -> Callable[[], object]:
        images: Tensor = torch.rand((count, *input_shape), generator=generator).to(device)
        images = images.contiguous(memory_format=precision.memory_format)
        labels = torch.arange(count, device=device) % num_classes
        return lambda: train_step(learner, images, labels)

    return step_on


def compare_rates(
    prepares: Sequence[Callable[[int], Callable[[], object]]], batch_size: int, device: torch.device, seconds: float
) -> list[float]:
    """Return the rates of several calls, in images/s, each of its fastest times on the same numbers of images.

    All calls take turns, so that a machine that becomes slower does so for all. The batch grows from 4 images as the
    time allows (see :func:`_larger_batch`). Where it does not become as large as that of the run, the rate is that of
    the straight line through the times of the two largest ones: some settings take longer for a step and less for each
    of its images. Other programs may disturb a call: when the time is over, the turns go on until the two least times
    of every call agree. A call that runs out of memory has the rate 0.

    Args:
        prepares: functions from the number of images to the call to time.
        batch_size: number of images of a batch of the run, the largest one here.
        device: the device on which the calls compute.
        seconds: the time that is usually spent. To make the batch larger may take up to four times as much, twice, and
            to wait for times that agree four times as much again. Where it does not suffice for a step of each, the
            rates of the last ones are missing.
    """
    keep_kernels()  # the trial is what needs them, and comes before the first step
    deadline = time.perf_counter() + seconds
    batches = [_TimedBatch(prepares, min(max(batch_size, 2), 4), device)]  # BatchNorm cannot train on a single image

    def rate(number: int) -> float:
        return batch_size / _expected_time(batches, number, batch_size)

    for number in range(len(prepares)):
        if time.perf_counter() > deadline:
            return [rate(done) for done in range(number)]
        batches[0].measure(number, least=2)
    while larger := _larger_batch(batches[-1], batch_size, deadline - time.perf_counter(), seconds):
        batches = [batches[-1], _TimedBatch(prepares, larger, device)]
        for number in range(len(prepares)):
            batches[-1].measure(number, least=2)
    if batches[-1].count >= batch_size:
        del batches[:-1]
    possible = [number for number, least in enumerate(batches[-1].times) if least < math.inf]
    latest = max(deadline, time.perf_counter()) + 4 * seconds
    for _ in range(MOST_TURNS):
        agree = all(batch.agrees(number) for batch in batches for number in possible)
        turn_seconds = sum(batch.times[number] for batch in batches for number in possible)
        if time.perf_counter() + turn_seconds > (deadline if agree else latest):
            break
        for number in possible:
            for batch in batches:
                batch.measure(number)
    return [rate(number) for number in range(len(prepares))]


class _TimedBatch:
    """Calls on the same number of images, and the least and second least seconds that each of them took.

    Args:
        prepares: functions from the number of images to the call.
        count: the number of images.
        device: the device on which the calls compute.
    """

    def __init__(
        self, prepares: Sequence[Callable[[int], Callable[[], object]]], count: int, device: torch.device
    ) -> None:
        self.count, self.device = count, device
        self.calls = [prepare(count) for prepare in prepares]
        self.times = [math.inf] * len(prepares)
        self.second_times = [math.inf] * len(prepares)

    def agrees(self, number: int) -> bool:
        """Return whether the two least times of a call agree."""
        return self.second_times[number] < SAME * self.times[number]

    def measure(self, number: int, least: int = 1) -> None:
        """Time a call ``least`` times more; its time stays at infinity where the memory does not suffice.

        Memory that the system gives to the process is filled with zeros first, which can take longer than the call: a
        call during which the process got much is timed again, up to three times in all.
        """
        try:
            for done in range(1, 4):
                before = memory_given()
                times = time_calls(self.calls[number], self.device, warmup=0)
                known = self.times[number], self.second_times[number]
                self.times[number], self.second_times[number] = sorted((*known, *times))[:2]
                if done >= least and memory_given() - before < MUCH_MEMORY:
                    break
        except RuntimeError as error:
            if not out_of_memory(error):
                raise


def _expected_time(batches: Sequence[_TimedBatch], number: int, count: int) -> float:
    """Return the seconds of a call on ``count`` images: in proportion to the time of a batch, or by a line through two.

    Noise could make the line as flat as you like; a quarter of the proportion is the least that counts for an image.
    """
    last = batches[-1]
    least = last.times[number]
    proportion = least / last.count
    if len(batches) == 1 or least == math.inf:
        return count * proportion
    slope = (least - batches[0].times[number]) / (last.count - batches[0].count)
    return least + (count - last.count) * min(max(slope, proportion / 4), proportion)


def _larger_batch(batch: _TimedBatch, batch_size: int, left: float, seconds: float) -> int:
    """Return the next number of images to compare the calls on: four times or twice as many, or 0 for no other one.

    Two turns of the larger batch have to fit into half of the time that is left. For the batch of the run itself, they
    may take twice the whole time, and up to ``ENOUGH`` images four times: what is expected of a larger batch favours
    the settings that need more memory, whose layer outputs leave the processor's cache sooner, and a deep network takes
    nearly as long for 4 images as for 8, in every setting.
    """
    per_image = sum(least for least in batch.times if least < math.inf) / batch.count
    most = 4 * seconds if batch.count < ENOUGH else 2 * seconds
    for larger in (min(4 * batch.count, batch_size), min(2 * batch.count, batch_size)):
        worth_more = batch.count < ENOUGH or larger == batch_size
        if larger > batch.count and 2 * larger * per_image <= (max(left / 2, most) if worth_more else left / 2):
            return larger
    return 0


def images_per_second(
    prepare: Callable[[int], Callable[[], object]], batch_size: int, device: torch.device, seconds: float
) -> float:
    """Return the rate of the fastest call within about ``seconds``.

    The batch grows from 4 images until a call fills a tenth of the time or the batch is as large as the run's: a slow
    network is judged on a small batch, a fast one on the real one.

    Args:
        prepare: a function from the number of images to the call to time.
        batch_size: number of images of the largest batch.
        device: the device on which the call computes.
        seconds: the time that may be spent.
    """
    start = time.perf_counter()
    count = min(max(batch_size, 2), 4)  # BatchNorm cannot train on a single image
    call = prepare(count)
    times = time_calls(call, device, warmup=0)
    while count < batch_size and times[0] < seconds / 10 and time.perf_counter() - start < seconds / 2:
        count = min(batch_size, count * 4)
        call = prepare(count)
        times = time_calls(call, device)
    rest = seconds - (time.perf_counter() - start)
    if rest > times[0]:
        times += time_calls(call, device, rest, warmup=0, most=29)
    return count / min(times)
