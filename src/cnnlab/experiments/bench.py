"""The bench of a study: it trains variants side by side for one seed and keeps what is measured."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnnlab.data import ImageData
from cnnlab.errors import DivergedError
from cnnlab.experiments.records import Records, pack_answers, read_records, records_text
from cnnlab.experiments.tables import Value
from cnnlab.files import write_text
from cnnlab.training import EpochDone, Event, Finished, Recipe, Session, Started, StepDone, fit, prepare
from cnnlab.training.checkpoint import save_tensors
from cnnlab.training.evaluation import evaluate, loss_and_accuracy
from cnnlab.training.session import evaluation_loader
from cnnlab.training.state import restore_state, save_state
from cnnlab.zoo import Network

Watch = Callable[[str, Event], None]
"""A function that is called with the name of a variant and each event of its training."""

SAVE_SECONDS = 30.0  # a killed study loses at most about so much work
CHECKPOINT_BYTES = 8 << 20  # space for the checkpoints of a variant, about
STEP_POINTS = 60  # points of the curve over steps, per training


@dataclass(frozen=True)
class Diverged(Event):
    """The training of a variant ended because its loss or its weights are not numbers any more."""

    message: str


class Bench:
    """The bench on which a study measures one seed.

    Args:
        seed: seed of initialisation, order, augmentation and choice of training images.
        scale: size of the study: ``tiny``, ``small`` or ``full``.
        variants: names of the variants to measure, all of the study's or some.
        data: the images; the test split is the same for all seeds. ``None`` for a study that makes its own data.
        folder: folder in which unfinished trainings and their time are kept, so that a killed study goes on where it
            was.
        checkpoints: folder for the weights of every epoch in half precision; ``None`` keeps none.
        watch: function that sees every event, for a display.
    """

    def __init__(
        self,
        seed: int,
        scale: str,
        variants: tuple[str, ...],
        data: ImageData | None,
        folder: Path,
        *,
        checkpoints: Path | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.seed, self.scale, self.variants = seed, scale, variants
        self.data: ImageData = data  # type: ignore[assignment]  # None only for a study that does not look at it
        self.records = Records()
        self._folder, self._checkpoints, self._watch = folder, checkpoints, watch
        self._trainings = 0
        self._began = time.perf_counter()
        # Of the sittings before, up to what they saved: what was lost is done again, and counts then.
        self._earlier = float(self._clock.read_text(encoding="utf-8")) if self._clock.is_file() else 0.0
        self._open: Records | None = None  # those of the trainings that run, which are saved together with them

    @property
    def seconds(self) -> float:
        """The seconds that this seed has taken, with those of earlier sittings up to what they saved."""
        return self._earlier + time.perf_counter() - self._began

    @property
    def _clock(self) -> Path:
        return self._folder / "seconds.txt"

    def _keep_seconds(self) -> None:
        write_text(self._clock, f"{self.seconds}\n")

    def choose(self, *, tiny: Any, small: Any, full: Any) -> Any:
        """Return the setting for the scale of the study."""
        return {"tiny": tiny, "small": small, "full": full}[self.scale]

    def recipe(self, model: str, **settings: Any) -> Recipe:
        """Return a recipe for this seed, in fp32 and NCHW: nothing is chosen by a trial, so that bits repeat.

        Args:
            model: name of the network.
            settings: other keys of the recipe.

        Raises:
            RecipeError: a key or a value that recipes do not have.
        """
        fixed = {"data": self.data.name, "seed": self.seed, "precision": "fp32", "channels_last": False}
        return Recipe.make({"model": model, **fixed, **settings}, "study")

    def record(self, table: str, **row: Value) -> None:
        """Add a row to a table; ``seed`` is added to it."""
        (self._open or self.records).rows.append((table, row))

    def result(self, variant: str, **measures: Value) -> None:
        """Set measures of a variant: columns of its row in ``results.csv``."""
        self.record("results", variant=variant, **measures)

    def record_answers(self, variant: str, correct: npt.NDArray[np.bool_]) -> None:
        """Set the accuracy of a variant that :meth:`train` does not train, and which test images it answered correctly.

        Args:
            variant: name of the variant; one that was not asked for is left out.
            correct: (N,) whether the answer to each test image was right.
        """
        if variant in self.variants:
            self.result(variant, accuracy=float(correct.mean()), diverged=0)
            self.records.answers[variant] = pack_answers(correct)

    def show(self, variant: str, event: Event) -> None:
        """Show the display an event of a training that :meth:`train` does not run."""
        if self._watch is not None:
            self._watch(variant, event)

    @property
    def keeps_pictures(self) -> bool:
        """Whether this seed keeps pictures and checkpoints: the first one that is measured."""
        return self._checkpoints is not None

    def record_pictures(self, table: str, variant: str, maps: Tensor) -> None:
        """Add a row per channel to a table: the map in 256 steps, as text.

        Args:
            table: name of the table.
            variant: name of the variant.
            maps: (C, H, W) outputs of a layer for one image.
        """
        low, high = float(maps.min()), float(maps.max())
        steps = ((maps - low) / max(high - low, 1e-12) * 255).round().to(torch.uint8).cpu().numpy()
        zero = float((maps == 0).float().mean())
        for channel, one in enumerate(steps):
            pixels = "x" + one.tobytes().hex()  # the x keeps a spreadsheet from reading a number
            self.record(
                table,
                variant=variant,
                channel=channel,
                height=one.shape[0],
                low=low,
                high=high,
                zero=zero,
                pixels=pixels,
            )

    def train(
        self,
        recipes: Mapping[str, Recipe],
        watch: Watch | None = None,
        *,
        data: Mapping[str, ImageData] | None = None,
        models: Mapping[str, Network] | None = None,
        begin: Watch | None = None,
        share_weights: bool = True,
        checkpoints: bool = True,
    ) -> dict[str, Session]:
        """Train variants side by side, a step of each in turn, and record how it goes.

        Recorded without further ado are ``results`` (accuracy and loss on the test images, training loss of the last
        epoch, whether the training diverged), ``curves`` (a row per epoch), ``steps`` (training loss of the batch at
        about 60 steps), ``timings``, and which test images were answered correctly. What ``watch`` records is kept with
        the trainings: after an interruption both go on from the same step.

        Args:
            recipes: name of a variant -> its recipe. Variants that were not asked for are left out.
            watch: function that sees the events; it may look into ``event.session`` and record.
            data: images of variants that do not train on those of the bench.
            models: networks of variants that are not built by the recipe.
            begin: function that is called with ``Started`` before the first step and may change the network.
            share_weights: whether convolutions and dense layers of equal shape begin with equal weights.
            checkpoints: whether the first seed keeps the weights of every epoch; False for large networks.

        Returns:
            The trained sessions of the variants that did not diverge.
        """
        folder = self._folder / f"training-{self._trainings}"
        self._trainings += 1
        recipes = {variant: recipe for variant, recipe in recipes.items() if variant in self.variants}
        sessions = {
            variant: prepare(recipe, (data or {}).get(variant, self.data), model=(models or {}).get(variant))
            for variant, recipe in recipes.items()
        }
        if share_weights:
            share_initial_weights([session.model for session in sessions.values()])
        kept = self._checkpoints if checkpoints else None
        trainings = _SideBySide(sessions, folder, self._watch, watch, begin, kept, self._keep_seconds)
        self._open = trainings.records
        try:
            trainings.run()
        finally:
            self._open = None
        self.records.rows += trainings.records.rows
        self.records.answers |= trainings.records.answers
        return trainings.trained


def probe_images(session: Session, count: int = 256) -> Tensor:
    """Return the first test images as the network takes them: float32 (count, C, S, S), normalised, on its device."""
    test = session.data.test
    assert test is not None
    pixels = test.fetch(torch.arange(min(count, len(test))), session.preprocess)
    return session.preprocess.normalize(pixels).to(session.device)


def training_scores(session: Session) -> tuple[float, float]:
    """Return the mean loss and the accuracy on the training images, in eval mode and without augmentation.

    They can be compared between trainings with different noise (dropout, augmentation), which the running means of an
    epoch cannot.
    """
    loader = evaluation_loader(session, session.data.train)
    return loss_and_accuracy(*evaluate(session.model, loader, session.device, session.precision))


class _SideBySide:
    """Trainings that take turns, and that go on from the folder where they were saved."""

    def __init__(
        self,
        sessions: dict[str, Session],
        folder: Path,
        display: Watch | None,
        watch: Watch | None,
        begin: Watch | None,
        checkpoints: Path | None,
        saved: Callable[[], None],
    ) -> None:
        self.sessions, self.folder, self.checkpoints, self.saved = sessions, folder, checkpoints, saved
        self.watches = [one for one in (watch, display) if one is not None]
        self.begin = begin
        self.records = Records()
        self.diverged: set[str] = set()
        self.restored = self._restore()

    @property
    def trained(self) -> dict[str, Session]:
        """The sessions whose trainings did not diverge."""
        return {variant: session for variant, session in self.sessions.items() if variant not in self.diverged}

    def run(self) -> None:
        """Train all variants to the end."""
        streams = {
            variant: fit(session.recipe, session=session)
            for variant, session in self.sessions.items()
            if variant not in self.records.ended
        }
        saved_at = time.monotonic()
        while streams:
            for variant, events in list(streams.items()):
                try:
                    event = next(events)
                except DivergedError as error:
                    event = Diverged(self.sessions[variant], str(error))
                    self.diverged.add(variant)
                if isinstance(event, Started) and self.restored:
                    continue  # what was done at the beginning was done before the interruption
                self._record_event(variant, event)
                if isinstance(event, Finished | Diverged):
                    self.records.ended.append(variant)
                    del streams[variant]
            if time.monotonic() - saved_at > SAVE_SECONDS or not streams:
                self._save()
                saved_at = time.monotonic()

    def _add(self, table: str, **row: Value) -> None:
        self.records.rows.append((table, row))

    def _record_event(self, variant: str, event: Event) -> None:
        """Add the rows that an event gives to the tables, show it to the watches, and keep the weights of an epoch."""
        session = event.session
        if isinstance(event, Started) and self.begin:
            self.begin(variant, event)
        if isinstance(event, StepDone):
            steps = len(session.train_loader)
            step = (event.epoch - 1) * steps + event.step
            if (step - 1) % max(1, steps * session.recipe.epochs // STEP_POINTS) == 0:
                self._add("steps", variant=variant, step=step, loss=event.loss)
        elif isinstance(event, EpochDone):
            self._add(
                "curves", variant=variant, epoch=event.epoch, train_loss=event.train_loss,
                train_accuracy=event.train_accuracy, loss=event.val_loss, accuracy=event.val_accuracy,
            )  # fmt: skip
        elif isinstance(event, Finished):
            train_loss = next(row["train_loss"] for table, row in reversed(self.records.rows)
                              if table == "curves" and row["variant"] == variant)  # fmt: skip
            self._add(
                "results", variant=variant, accuracy=event.accuracy, loss=event.loss, train_loss=train_loss, diverged=0
            )
            self._add("timings", variant=variant, seconds=event.seconds)
            self.records.answers[variant] = pack_answers(event.logits.argmax(1) == event.labels)
        elif isinstance(event, Diverged):
            self._add("results", variant=variant, accuracy=math.nan, loss=math.nan, train_loss=math.nan, diverged=1)
        for watch in self.watches:
            watch(variant, event)
        if self.checkpoints and isinstance(event, Started | EpochDone):
            self._keep_weights(self.checkpoints / variant.replace("/", "-"), session)

    def _keep_weights(self, folder: Path, session: Session) -> None:
        """Write the weights in half precision: after every epoch, or after every so many where they take much space."""
        halves = {name: t.half() if t.is_floating_point() else t for name, t in session.model.state_dict().items()}
        size = sum(tensor.nbytes for tensor in halves.values())
        epochs = session.recipe.epochs
        if session.epoch % math.ceil(epochs * size / CHECKPOINT_BYTES) == 0 or session.epoch == epochs:
            folder.mkdir(parents=True, exist_ok=True)
            save_tensors(folder / f"epoch-{session.epoch:03d}.safetensors", halves)

    # Saved trainings -------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Save all trainings and what was recorded together; the folder that was saved before goes afterwards."""
        before = self._saved()
        folder = self.folder / f"{int(before.name) + 1 if before else 0:06d}"
        folder.mkdir(parents=True)
        for number, (variant, session) in enumerate(self.sessions.items()):
            if variant in self.diverged:
                continue
            try:
                save_state(session, folder / f"{number}.safetensors")
            except DivergedError:  # the next step will say so
                shutil.rmtree(folder)
                return
        write_text(folder / "records.json", records_text(self.records))
        self.saved()
        if before:
            shutil.rmtree(before)

    def _saved(self) -> Path | None:
        """Return the newest folder that was saved completely."""
        folders = sorted(self.folder.glob("*/records.json"))
        return folders[-1].parent if folders else None

    def _restore(self) -> bool:
        folder = self._saved()
        for other in self.folder.glob("*"):
            if other != folder:
                shutil.rmtree(other)
        if folder is None:
            return False
        self.records = read_records(folder / "records.json")
        for number, (variant, session) in enumerate(self.sessions.items()):
            file = folder / f"{number}.safetensors"
            if not file.is_file():
                self.diverged.add(variant)
                continue
            restore_state(session, file)
            if variant in self.records.ended and session.best.weights:
                session.evaluated.load_state_dict(session.best.weights)
        return True


def share_initial_weights(models: Sequence[nn.Module]) -> None:
    """Give every network the initial weights of the first one, layer by layer, where the shapes are equal.

    The k-th convolution or dense layer of a network is paired with the k-th of the first one, so that layers without
    weights and normalisation between them do not matter.
    """
    first, *others = [
        [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)] for model in models
    ] or [[]]
    with torch.no_grad():
        for layers in others:
            for source, target in zip(first, layers, strict=False):
                if source.weight.shape == target.weight.shape:
                    target.weight.copy_(source.weight)
                    if source.bias is not None and target.bias is not None:
                        target.bias.copy_(source.bias)
