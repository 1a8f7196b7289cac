"""How fast does ``cnnlab`` train, compared with other loops around the same network?

Run it from the root of the project, on a machine that does nothing else::

    python benchmarks/train_loop.py                     # writes results/train_loop.json and results/train_loop.md
    python benchmarks/train_loop.py --accuracy          # also trains to the end: is the accuracy the same?

What is compared, in images/s of training steps, all within one process:

- ``plain PyTorch``: the loop of the tutorials. fp32, NCHW, ``DataLoader`` over a ``Dataset`` that augments one image
  after the other.
- ``barest``: the settings that ``cnnlab`` chose (precision, memory format, fused optimizer), one batch that is already
  on the device, forward, backward, optimizer step, nothing else. Nothing that uses these settings can be faster.
- ``barest + augmentation``: the same loop on fresh batches in random order, augmented by ``cnnlab``'s batch
  augmentation.
- ``cnnlab.fit``: ``for event in fit(recipe)``; ``cnnlab.fit, recorded``: the same, written into a run folder.
- ``timm-style``: written like the hot path of timm's ``train.py`` (bf16 autocast, channels_last, normalisation of whole
  batches, running averages, a learning rate per update). timm itself is not used.
- ``Lightning``: ``lightning.Trainer`` with its default loop, in fp32 and bf16-mixed, where the package is installed.

Every loop has its own network (same architecture and number of classes), the same batch size, SGD with Nesterov
momentum (as ``torch.optim.SGD`` computes it by default in the loops that do not use ``cnnlab``'s settings) and the same
kind of augmentation. The loops take turns: A B C ... A B C ..., the same number of steps each,
so that a machine that gets slower gets slower for all. In each turn a first step is made before the clock starts.
Loops with a ``DataLoader`` are tried with every number of ``--workers`` in the warm-up round, and the fastest goes on;
its workers start and end within its own turn, so that they do not work while another loop is timed. (The few batches
that they have ready when the clock starts are in favour of these loops.) A ratio is the median over the rounds of the
ratio within a round. An epoch is longer than the measurement: evaluation is not part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import logging
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import cnnlab  # noqa: E402
from benchmarks import stored_runs  # noqa: E402
from cnnlab.data import ArraySplit, ImageData, load_data  # noqa: E402
from cnnlab.data.batch_augment import BatchAugment  # noqa: E402
from cnnlab.errors import DataNotFoundError  # noqa: E402
from cnnlab.hardware import processor_name  # noqa: E402
from cnnlab.runs import Recorder  # noqa: E402
from cnnlab.training import Finished, Recipe, Session, Started, StepDone, fit, prepare  # noqa: E402
from cnnlab.training.optim import learning_rate, make_optimizer, set_learning_rate  # noqa: E402
from cnnlab.training.precision import to_memory_format  # noqa: E402
from cnnlab.zoo import create_model, models  # noqa: E402

PLAIN, BAREST, BAREST_AUGMENTED, FIT = "plain PyTorch", "barest", "barest + augmentation", "cnnlab.fit"


@dataclass(frozen=True)
class Case:
    """A network, its images and the settings that all loops share."""

    recipe: Recipe  # precision and memory format are still "auto"
    data: ImageData
    described: str  # which images these are
    real: bool
    device: torch.device

    def make_model(self, seed: int = 0) -> nn.Module:
        """A new network, in the way of the tutorials: fp32, NCHW."""
        torch.manual_seed(seed)
        channels, size = self.data.train.channels, self.recipe.image_size
        model = create_model(self.recipe.model, len(self.data.classes), channels, size)
        return model.to(self.device)


@dataclass(frozen=True)
class Loop:
    """One way to train.

    Attributes:
        name: what it is called in the tables.
        turn: takes a number of steps and returns the seconds they took, after one step that does not count.
        close: ends what is open (generators, files).
    """

    name: str
    turn: Callable[[int], float]
    close: Callable[[], None] = lambda: None


@dataclass
class Result:
    """What was measured of one loop."""

    name: str
    images_per_second: list[float] = field(default_factory=list)  # one value per round

    def row(self, plain: Result, barest: Result) -> dict[str, Any]:
        """Plain values for JSON: median, quartiles and ratios within rounds."""
        quartiles = np.percentile(self.images_per_second, [25, 75]).tolist()
        return {
            "loop": self.name,
            "images_per_second": statistics.median(self.images_per_second),
            "quartiles": quartiles,
            "ratio_to_plain": ratio(self, plain),
            "ratio_to_barest": ratio(self, barest),
            "rounds": self.images_per_second,
        }


def ratio(one: Result, other: Result) -> float:
    """Median over the rounds of the ratio of two rates within a round."""
    pairs = zip(one.images_per_second, other.images_per_second, strict=True)
    return statistics.median(a / b for a, b in pairs)


# --- the images -----------------------------------------------------------------------------------------------------


class TutorialDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images that are augmented one by one when they are asked for.

    Args:
        split: uint8 pixels and labels.
        recipe: which augmentation.
        mean: per channel, pixels in 0..1. ``std``: likewise.
        as_bytes: leave normalisation to the loop, as timm's loader does, and return uint8.
    """

    def __init__(
        self, split: ArraySplit, recipe: Recipe, mean: Sequence[float], std: Sequence[float], *, as_bytes: bool = False
    ) -> None:
        self.split, self.augment, self.as_bytes = split, recipe.augment, as_bytes
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.split.pixels[index]
        height, width = image.shape[1:]
        if padding := self.augment.crop:
            top, left = torch.randint(0, 2 * padding + 1, (2,)).tolist()
            image = F.pad(image, (padding,) * 4)[:, top : top + height, left : left + width]
        if self.augment.flip and torch.rand(()) < 0.5:
            image = image.flip(2)
        if not self.as_bytes:
            image = (image.float().div(255) - self.mean) / self.std
        return image, self.split.labels[index]


def loader_of(dataset: TutorialDataset, batch_size: int, steps: int | None, workers: int) -> Any:
    """A shuffling ``DataLoader`` of exactly ``steps`` batches, or of an epoch."""
    sampler = RandomSampler(dataset, num_samples=None if steps is None else steps * batch_size)
    return DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers, pin_memory=torch.cuda.is_available())


def make_case(name: str, arguments: argparse.Namespace, device: torch.device) -> Case:
    """Find the images of a network: CIFAR-10, or digits for networks of grey images; else random ones."""
    grey = models.get(name).facts.in_channels == 1
    wanted, channels, size = ("mnist5k", 1, 28) if grey else ("cifar10", 3, 32)
    data = None
    if not arguments.random:
        with contextlib.suppress(DataNotFoundError):
            data = load_data(wanted, data_dir=None if grey else arguments.data_dir, progress=False, download=False)
    described = f"{wanted}, {len(data.train):,} training images" if data else "random pixels"
    real = data is not None
    if data is None:
        data = random_images(channels, size)
    recipe = Recipe.make(
        {
            "model": name,
            "data": wanted if real else "random",
            "image_size": size,
            "epochs": 1,
            "batch_size": arguments.batch_size,
            "optimizer": "sgd",
            "lr": 0.05,
            "weight_decay": 5e-4,
            "schedule": "onecycle",
            "augment": {"crop": 2} if grey else {"flip": True, "crop": 4},
            "device": str(device),
        }
    )
    return Case(recipe, data, f"{described} of {size}x{size}x{channels}", real, device)


def random_images(channels: int, size: int, n: int = 2048) -> ImageData:
    """Random pixels and labels, for a machine without the real ones: throughput is the same."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.arange(n) % 10
    split = ArraySplit(pixels, labels)
    classes = [str(k) for k in range(10)]
    return ImageData("random", classes, split, None, split.subset(torch.arange(min(n, 256))), "made up")


def lengthened(case: Case, steps: int) -> Case:
    """The case with so many training images (repeated if need be) that an epoch has more than ``steps`` steps."""
    train = case.data.train
    needed = max(len(train), (steps + 1) * case.recipe.batch_size)
    return replace(case, data=replace(case.data, train=train.subset(torch.arange(needed) % len(train))))


# --- the loops ------------------------------------------------------------------------------------------------------


def clocked(stepping: Iterator[object], steps: int, device: torch.device) -> float:
    """Seconds of ``steps`` steps of an iterator that makes one per item, after one step that does not count."""
    next(stepping)
    synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        next(stepping)
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait for a GPU to finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plain_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Any, device: torch.device
) -> Iterator[Tensor]:
    """The training loop of the tutorials."""
    criterion = nn.CrossEntropyLoss()
    running_loss = 0.0
    model.train()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        yield loss


def usual_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """SGD as the tutorials build it."""
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def plain_loop(case: Case, session: Session, workers: int) -> Loop:
    """``plain PyTorch``: fp32, NCHW, one image after the other."""
    dataset = TutorialDataset(array(case), case.recipe, session.preprocess.mean, session.preprocess.std)
    model = case.make_model()
    optimizer = usual_optimizer(case.recipe, model)

    def turn(steps: int) -> float:
        batches = loader_of(dataset, case.recipe.batch_size, steps + 1, workers)
        with contextlib.closing(plain_epoch(model, optimizer, batches, case.device)) as stepping:  # type: ignore[type-var]
            return clocked(stepping, steps, case.device)

    return Loop(with_workers(PLAIN, workers), turn)


def barest_loop(case: Case, session: Session, *, augmented: bool) -> Loop:
    """``barest``: cnnlab's settings and nothing but the arithmetic; with or without fresh augmented batches."""
    model = to_memory_format(case.make_model(), session.precision.memory_format).train()
    optimizer = make_optimizer(case.recipe, model)
    criterion = nn.CrossEntropyLoss()
    augment = BatchAugment(case.recipe.augment, session.preprocess, len(case.data.classes))
    rng = np.random.default_rng(0)
    train, size = case.data.train, case.recipe.batch_size
    batches = torch.randperm(len(train)).split(size)[: len(train) // size]

    def batch(step: int) -> tuple[Tensor, Tensor]:
        places = batches[step % len(batches)]
        pixels = train.fetch(places, session.preprocess).to(case.device)
        images, labels = augment(pixels, train.labels[places].to(case.device), rng)
        return images.contiguous(memory_format=session.precision.memory_format), labels

    def stepping() -> Iterator[None]:
        images, labels = batch(0)
        for step in count():
            if augmented:
                images, labels = batch(step)
            optimizer.zero_grad()
            with session.precision.autocast(case.device):
                logits = model(images)
            loss = criterion(logits.float(), labels)
            loss.backward()
            optimizer.step()
            yield

    steps_made = stepping()
    name = BAREST_AUGMENTED if augmented else BAREST
    return Loop(name, lambda steps: clocked(steps_made, steps, case.device), steps_made.close)  # type: ignore[attr-defined]


def fit_loop(case: Case, session: Session) -> Loop:
    """``cnnlab.fit`` as it is: every step is an event."""
    events = fit(session.recipe, session=session)
    assert isinstance(next(events), Started)
    return Loop(FIT, lambda steps: clocked(only_steps(events), steps, case.device), events.close)  # type: ignore[attr-defined]


def recorded_loop(case: Case, session: Session, folder: Path) -> Loop:
    """``cnnlab.fit`` written into a run folder; with the precision that was chosen for ``session``."""
    events = Recorder(root=folder).record(fit(session.recipe, data=case.data))
    assert isinstance(next(events), Started)
    return Loop(f"{FIT}, recorded", lambda steps: clocked(only_steps(events), steps, case.device), events.close)


def only_steps(events: Iterator[object]) -> Iterator[object]:
    """The events of steps; anything else would mean that an epoch ended within the measurement."""
    for event in events:
        assert isinstance(event, StepDone), f"{type(event).__name__} within the measurement"
        yield event


class AverageMeter:
    """Latest value and running average, as in timm's and torchvision's training scripts."""

    def __init__(self) -> None:
        self.value = self.average = self.sum = 0.0
        self.count = 0

    def update(self, value: float, n: int = 1) -> None:
        self.value = value
        self.sum += value * n
        self.count += n
        self.average = self.sum / self.count


def timm_style_loop(case: Case, session: Session, workers: int) -> Loop:
    """Written like ``train_one_epoch`` of timm's ``train.py``, without importing timm."""
    mean, std = session.preprocess.mean, session.preprocess.std
    dataset = TutorialDataset(array(case), case.recipe, mean, std, as_bytes=True)
    model = to_memory_format(case.make_model(), torch.channels_last).train()
    optimizer = usual_optimizer(case.recipe, model)
    criterion = nn.CrossEntropyLoss()
    scale = torch.tensor(std, device=case.device).mul(255).view(1, -1, 1, 1)
    centre = torch.tensor(mean, device=case.device).mul(255).view(1, -1, 1, 1)
    updates = count()

    def stepping(steps: int) -> Iterator[None]:
        batch_time, data_time, losses = AverageMeter(), AverageMeter(), AverageMeter()
        end = time.time()
        for images, labels in loader_of(dataset, case.recipe.batch_size, steps, workers):
            # timm's PrefetchLoader: uint8 to the device, normalised there as a whole batch
            images, labels = images.to(case.device, non_blocking=True), labels.to(case.device, non_blocking=True)
            images = images.float().sub_(centre).div_(scale).contiguous(memory_format=torch.channels_last)
            data_time.update(time.time() - end)
            with torch.autocast(case.device.type, dtype=torch.bfloat16):
                loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(images))
            set_learning_rate(optimizer, learning_rate(case.recipe, next(updates), 1_000_000))
            batch_time.update(time.time() - end)
            end = time.time()
            yield

    def turn(steps: int) -> float:
        with contextlib.closing(stepping(steps + 1)) as made:  # type: ignore[type-var]
            return clocked(made, steps, case.device)

    return Loop(with_workers("timm-style", workers), turn)


def lightning_loop(case: Case, session: Session, workers: int, precision: str, folder: Path) -> Loop:
    """``lightning.Trainer.fit``; without bar, summary and checkpoints, which would write between the turns."""
    lightning: Any = importlib.import_module("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    dataset = TutorialDataset(array(case), case.recipe, session.preprocess.mean, session.preprocess.std)

    class Module(lightning.LightningModule):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model
            self.criterion = nn.CrossEntropyLoss()

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            images, labels = batch
            loss: Tensor = self.criterion(self.model(images), labels)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return usual_optimizer(case.recipe, self.model)

    class Clock(lightning.Callback):
        def __init__(self, steps: int) -> None:
            self.steps, self.started, self.seconds = steps, 0.0, 0.0

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx in (0, self.steps):
                synchronize(case.device)
                self.seconds, self.started = time.perf_counter() - self.started, time.perf_counter()

    module = Module(case.make_model())

    def turn(steps: int) -> float:
        clock = Clock(steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice about the number of workers
            trainer = lightning.Trainer(
                max_epochs=1,
                accelerator="gpu" if case.device.type == "cuda" else "cpu",
                devices=1,
                precision=precision,
                callbacks=[clock],
                default_root_dir=folder,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
            )
            trainer.fit(module, loader_of(dataset, case.recipe.batch_size, steps + 1, workers))
        module.to(case.device)  # it is brought back to the CPU at the end
        return clock.seconds

    return Loop(with_workers(f"Lightning {precision}", workers), turn)


def array(case: Case) -> ArraySplit:
    """The training images, which are in memory in all cases here."""
    assert isinstance(case.data.train, ArraySplit)
    return case.data.train


def with_workers(name: str, workers: int) -> str:
    return f"{name} ({workers} workers)"


# --- the measurement ------------------------------------------------------------------------------------------------


def measure(case: Case, rounds: int, steps: int, workers: Sequence[int], folder: Path) -> dict[str, Any]:
    """Let all loops take turns; return what is written to JSON."""
    case = lengthened(case, (rounds + 1) * (steps + 1))
    session = prepare(case.recipe, case.data)
    print(f"\n{case.recipe.model}: {case.described}, batches of {case.recipe.batch_size}, {rounds} x {steps} steps")
    print(f"cnnlab chose: {session.precision.describe()}")
    # Of each inner list the fastest goes on.
    candidates: list[list[Loop]] = [
        [plain_loop(case, session, n) for n in workers],
        [barest_loop(case, session, augmented=False)],
        [barest_loop(case, session, augmented=True)],
        [fit_loop(case, session)],
        [recorded_loop(case, session, folder)],
        [timm_style_loop(case, session, n) for n in workers],
    ]
    if importlib.util.find_spec("lightning"):
        candidates += [
            [lightning_loop(case, session, n, precision, folder) for n in workers]
            for precision in ("32-true", "bf16-mixed")
        ]
    try:
        tried = {loop.name: loop.turn(steps) for group in candidates for loop in group}
        chosen = [min(group, key=lambda loop: tried[loop.name]) for group in candidates]
        results = [Result(loop.name) for loop in chosen]
        images = steps * case.recipe.batch_size
        for _ in range(rounds):
            for loop, result in zip(chosen, results, strict=True):
                result.images_per_second.append(images / loop.turn(steps))
    finally:
        for group in candidates:
            for loop in group:
                loop.close()
    plain, barest, augmented, fitted = results[:4]
    return {
        "model": case.recipe.model,
        "data": case.described,
        "batch_size": case.recipe.batch_size,
        "steps": steps,
        "rounds": rounds,
        "device": str(case.device),
        "settings": session.precision.label,
        "probe": session.precision.measured,
        "warm_up": {name: images / seconds for name, seconds in tried.items()},
        "fit_to_plain": ratio(fitted, plain),
        "fit_to_barest": ratio(fitted, barest),
        "fit_to_barest_augmented": ratio(fitted, augmented),
        "loops": [result.row(plain, barest) for result in results],
    }


def measure_accuracy(case: Case, images: int, epochs: int, seeds: int, workers: int) -> list[dict[str, Any]]:
    """Train the plain loop and cnnlab alike, to the end, and return the test accuracies in percent."""
    data = case.data.limited(images, seed=0)
    recipe = case.recipe.model_copy(update={"epochs": epochs})
    scores: dict[str, list[float]] = {PLAIN: [], FIT: []}
    for seed in range(seeds):
        seeded = recipe.model_copy(update={"seed": seed})
        limited = replace(case, recipe=seeded, data=data)
        scores[PLAIN].append(plain_accuracy(limited, workers))
        for event in fit(seeded, data=data):
            if isinstance(event, Finished):
                scores[FIT].append(100 * event.accuracy)
        print(f"accuracy, seed {seed}: " + ", ".join(f"{name} {values[-1]:.2f} %" for name, values in scores.items()))
    return [
        {
            "model": recipe.model,
            "data": case.described,
            "loop": name,
            "training_images": len(data.train),
            "epochs": epochs,
            "n": seeds,
            "accuracy": statistics.mean(values),
            "std": statistics.stdev(values) if seeds > 1 else None,
            "accuracies": values,
        }
        for name, values in scores.items()
    ]


def plain_accuracy(case: Case, workers: int) -> float:
    """Test accuracy in percent after a training with the plain loop and the recipe's schedule."""
    recipe, data, test = case.recipe, case.data, case.data.test
    assert test is not None
    preprocess = prepare(recipe.model_copy(update={"precision": "fp32", "channels_last": False}), data).preprocess
    dataset = TutorialDataset(array(case), recipe, preprocess.mean, preprocess.std)
    model = case.make_model(recipe.seed)
    optimizer = usual_optimizer(recipe, model)
    batches = loader_of(dataset, recipe.batch_size, None, workers)
    torch.manual_seed(recipe.seed)
    step = 0
    for _ in range(recipe.epochs):
        set_learning_rate(optimizer, learning_rate(recipe, step, len(batches)))
        for _ in plain_epoch(model, optimizer, batches, case.device):
            step += 1
            set_learning_rate(optimizer, learning_rate(recipe, step, len(batches)))
    model.eval()
    correct = 0
    with torch.inference_mode():
        for places in torch.arange(len(test)).split(256):
            images = preprocess.normalize(test.fetch(places, preprocess).to(case.device))
            correct += int((model(images).argmax(1).cpu() == test.labels[places]).sum())
    return 100 * correct / len(test)


# --- what comes out -------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    """The machine and the versions."""
    versions = {"cnnlab": cnnlab.__version__, "torch": str(torch.__version__), "python": platform.python_version()}
    if importlib.util.find_spec("lightning"):
        versions["lightning"] = importlib.import_module("lightning").__version__
    return {
        "processor": processor_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "versions": versions,
        "date": datetime.now(UTC).date().isoformat(),
    }


def throughput_table(case: dict[str, Any]) -> str:
    """A Markdown table of one network."""
    lines = [
        f"{case['model']}: {case['data']}, batches of {case['batch_size']}, on {case['device']}; "
        f"cnnlab chose {case['settings']}. Median of {case['rounds']} rounds of {case['steps']} steps.",
        "",
        "| loop | images/s | quartiles | ratio to plain | ratio to barest |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in case["loops"]:
        low, high = row["quartiles"]
        lines.append(
            f"| {row['loop']} | {row['images_per_second']:,.0f} | {low:,.0f} to {high:,.0f} "
            f"| {row['ratio_to_plain']:.2f} | {row['ratio_to_barest']:.3f} |"
        )
    lines += [
        "",
        f"`cnnlab.fit` makes {case['fit_to_plain']:.2f} times the images/s of the plain loop. "
        f"It is {slower(case['fit_to_barest'])} than the barest loop, "
        f"and {slower(case['fit_to_barest_augmented'])} than the barest loop with the same augmentation.",
    ]
    return "\n".join(lines)


def slower(rate: float) -> str:
    return f"{100 * abs(1 - rate):.1f} % {'slower' if rate < 1 else 'faster'}"


def accuracy_table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of test accuracies."""
    lines = ["| network | loop | images | epochs | test accuracy | n |", "|---|---|---:|---:|---:|---:|"]
    for row in rows:
        spread = "" if row["std"] is None else f" ± {row['std']:.2f}"
        lines.append(
            f"| {row['model']} | {row['loop']} | {row['training_images']:,} | {row['epochs']} "
            f"| {row['accuracy']:.2f}{spread} % | {row['n']} |"
        )
    return "\n".join(lines)


def as_markdown(result: dict[str, Any]) -> str:
    """The page ``train_loop.md``."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    machine = f"{result['processor']}, {result['threads']} threads" + (f", {result['gpu']}" if result["gpu"] else "")
    parts = [
        "# Throughput of training loops",
        f"Made by `{result['command']}` on {result['date']}: {machine}; {versions}. "
        "The script says what the loops are and how they are measured.",
        *(throughput_table(case) for case in result["cases"]),
    ]
    if result["accuracy"]:
        parts += ["Test accuracy, mean ± standard deviation over n seeds:", accuracy_table(result["accuracy"])]
    return "\n\n".join(parts) + "\n"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare the throughput of training loops around the same network.")
    parser.add_argument("--models", default="resnet18,lenet5", help="networks, separated by commas")
    parser.add_argument("--rounds", type=int, default=7, help="turns of every loop, after one warm-up round")
    parser.add_argument("--steps", type=int, help="steps in a turn (default: 10; 200 for networks of grey images)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", default="0,2", help="numbers of DataLoader workers to try")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--data-dir", help="folder to look for CIFAR-10 in (also: CNNLAB_DATA)")
    parser.add_argument("--random", action="store_true", help="random images, even where real ones are found")
    parser.add_argument("--accuracy", action="store_true", help="also train plain and cnnlab, and compare accuracies")
    parser.add_argument("--accuracy-images", type=int, default=10_000, help="training images of --accuracy")
    parser.add_argument("--accuracy-epochs", type=int, default=3, help="epochs of --accuracy")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of --accuracy")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for train_loop.json and .md")
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    arguments = parser.parse_args(argv)
    for name in ("rounds", "steps", "seeds", "accuracy_epochs", "accuracy_images"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if arguments.batch_size < 2:
        parser.error("--batch-size must be at least 2: BatchNorm cannot train on a single image")
    return arguments


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, write the files and return what went into the JSON."""
    arguments = parse_arguments(argv)
    workers = [int(n) for n in arguments.workers.split(",")]
    device = torch.device(arguments.device)
    places = ("data_dir", "out")  # they change no number
    measured = [name for name in vars(arguments) if name not in places]
    command = stored_runs.command(__file__, make_parser(), arguments, measured)
    result: dict[str, Any] = {"command": command, **environment(), "cases": [], "accuracy": []}
    for name in arguments.models.split(","):
        case = make_case(name.strip(), arguments, device)
        steps = arguments.steps or (200 if case.data.train.channels == 1 else 10)
        with tempfile.TemporaryDirectory() as folder:
            result["cases"].append(measure(case, arguments.rounds, steps, workers, Path(folder)))
        print(throughput_table(result["cases"][-1]))
        if arguments.accuracy:
            if not case.real:
                print(f"No accuracy of {name}: CIFAR-10 was not found (--data-dir, CNNLAB_DATA).")
                continue
            result["accuracy"] += measure_accuracy(
                case, arguments.accuracy_images, arguments.accuracy_epochs, arguments.seeds, workers[0]
            )
    if result["accuracy"]:
        print("\n" + accuracy_table(result["accuracy"]))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "train_loop.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "train_loop.md").write_text(as_markdown(result), encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
