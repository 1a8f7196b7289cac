"""The live state of a training: the network, its optimizer, the position in the run and the best weights so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.data import ImageData, Loader, Preprocess, Split
from cnnlab.errors import DivergedError
from cnnlab.training import distributed
from cnnlab.training.clock import Clock
from cnnlab.training.evaluation import evaluation_batch
from cnnlab.training.feature_cache import FeatureLoader
from cnnlab.training.optim import EMA
from cnnlab.training.recipe import Recipe
from cnnlab.training.step import Learner
from cnnlab.training.transfer import Freeze
from cnnlab.zoo import Network

# The answers of a training are counted when so many images are waiting.
COUNTED_AT_ONCE = 1024


class Position:
    """How far a training has come.

    Args:
        sums: a tensor of zeros, one for each sum over the images of an epoch.
    """

    def __init__(self, sums: Tensor) -> None:
        self.epoch = 0  #: number of epochs that are completed
        self.step = 0  #: number of steps made in the current epoch
        self.seconds = 0.0  #: seconds of training, interruptions left out
        self.epoch_seconds = 0.0  #: seconds of training in the current epoch
        self.evaluated_epoch = 0  #: number of the last epoch that was followed by an evaluation; 0 before the first one
        self._sums = sums
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []  # mean losses, logits and targets of steps

    @property
    def sums(self) -> Tensor:
        """Sums over the images of the current epoch; of a classifier their losses, the correct answers, their number.

        Of mixed images the class with the larger share is the correct answer.
        """
        self._count()
        return self._sums

    @sums.setter
    def sums(self, values: Tensor) -> None:
        self._sums, self._waiting = values, []

    def add(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add a step of N images to the sums, without waiting for the device.

        Small steps are counted many at a time: between two steps of a network, the code that counts is not in the
        processor's cache any more, and takes several times as long.

        Args:
            loss: the mean loss, a scalar on the device.
            logits: the network's outputs (N, K).
            targets: (N,) class indices, or (N, K) probabilities.
        """
        self._waiting.append((loss, logits, targets))
        if len(self._waiting) * len(targets) >= COUNTED_AT_ONCE:
            self._count()

    def _count(self) -> None:
        """Add the waiting steps to the sums, in their order: the sums do not depend on when they are counted."""
        if not self._waiting:
            return
        losses, logits, targets = zip(*self._waiting, strict=True)
        truths = [target if target.ndim == 1 else target.argmax(1) for target in targets]
        total, correct, images = self._sums
        for loss, truth in zip(losses, truths, strict=True):
            total = total + loss.to(self._sums) * len(truth)
        truth = torch.cat(truths)
        correct = correct + (torch.cat(logits).argmax(1) == truth).sum()
        self.sums = torch.stack([total, correct, images + len(truth)])

    def next_epoch(self, seconds: float) -> None:
        """Go to the beginning of the next epoch; ``seconds`` is what this one took with its evaluation."""
        self.sums = torch.zeros_like(self.sums)
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.seconds += seconds

    def facts(self) -> dict[str, float]:
        """Return the position without the sums, as plain values."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def restore(self, facts: Mapping[str, Any], sums: Tensor) -> None:
        """Take the position that :meth:`facts` returned, and the sums."""
        for key, default in Position(sums).facts().items():
            setattr(self, key, facts.get(key, default))  # states of earlier versions lack some
        self.sums = sums.to(self.sums)


class AtPosition:
    """The base of sessions: what has come so far is their ``position``."""

    position: Position
    clock: Clock | None = None

    @property
    def epoch(self) -> int:
        """The number of epochs that are completed."""
        return self.position.epoch

    @property
    def step(self) -> int:
        """The number of steps made in the current epoch."""
        return self.position.step


@dataclass
class Best:
    """The best epoch so far, by the validation split; without one, the last epoch."""

    accuracy: float = -1.0  #: its accuracy on the split that is evaluated after every epoch
    loss: float = math.inf  #: its loss there
    epoch: int = 0  #: its number, from 1; 0 before the first epoch is completed
    #: its weights on the CPU; empty without a validation split, because the network has them
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Session(AtPosition, Learner):
    """The live state of a training: everything that changes, and what it was built from."""

    model: Network
    optimizer: torch.optim.Optimizer
    recipe: Recipe  #: the recipe, with precision, memory layout, image size and device decided
    data: ImageData  #: the images of the splits
    #: the moving average of the weights, which is then evaluated and kept instead of the network itself
    ema: EMA[Network] | None
    device: torch.device  #: the device on which the network computes
    preprocess: Preprocess  #: the way from an image to the network's input
    train_loader: Loader  #: the batches of the steps
    val_loader: Loader | None  #: the batches that are evaluated after every epoch: of val, else of test, else None
    position: Position  #: how far the training has come
    clock: Clock | None = None  #: the time that the training may take, where the clock decides when it ends
    time_share: float = 0.0  #: the share of that time that has passed before the current step
    best: Best = field(default_factory=Best)  #: the best epoch so far
    freeze: Freeze | None = None  #: the frozen part of the network; None where everything is trained
    feature_shape: tuple[int, ...] | None = None  #: the shape of an image's features where they are computed once
    #: the last epoch that was evaluated on the test split, with the logits (N, K) and labels (N,) of that
    test_outputs: tuple[int, np.ndarray, np.ndarray] | None = None
    #: checksums of the pixels of each split, once a state has been saved or restored
    contents: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  #: what the reader of the run should know, a line each

    @property
    def out_of_patience(self) -> bool:
        """Whether the validation split has not improved for as many epochs as the recipe waits.

        An epoch without an evaluation says nothing about that, so the last one that had one decides.
        """
        patience = self.recipe.early_stopping
        # Epochs that were added on purpose are trained whatever the validation split says. What is to be unfrozen gets
        # its turn: that the last layer alone improves no more says nothing about the rest.
        since = max(self.best.epoch, self.recipe.unfreeze_at or 0)
        return 0 < patience <= self.position.evaluated_epoch - since and not self.recipe.extensions

    def look_at_clock(self) -> float:
        """Return the share of its time that the training has used, the same on every process; 1 where it must end."""
        if self.clock:
            # An evaluation that was expected to be quicker moves the deadline, but time does not run backwards.
            self.time_share = max(self.time_share, distributed.broadcast(self.clock.share))
        return self.time_share

    @property
    def out_of_time(self) -> bool:
        """Whether the clock has ended the training."""
        return self.clock is not None and self.time_share >= 1

    @property
    def at_end(self) -> bool:
        """Whether all epochs of the recipe are trained, or its time is over."""
        return self.out_of_time if self.clock else self.epoch >= self.recipe.total_epochs

    @property
    def evaluated(self) -> Network:
        """The network that is evaluated and kept: the moving average of the weights where there is one."""
        return self.ema.model if self.ema else self.model

    @property
    def on_features(self) -> bool:
        """Whether steps and evaluations run on cached features, that is, the last layer only."""
        return isinstance(self.train_loader, FeatureLoader)

    @property
    def selects(self) -> bool:
        """Whether a validation split chooses the weights; otherwise those of the last epoch are kept."""
        return self.data.val is not None

    def set_modes(self) -> None:
        """Put the network into train mode, and its frozen part into eval mode."""
        if self.freeze:
            self.freeze.set_modes(self.model)
        elif not self.model.training:  # walking through all modules costs more than asking
            self.network.train()

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return ``network`` as the steps call it: compiled where the recipe says so, sharing gradients if launched."""
        compiled = torch.compile(network) if self.recipe.compile else network
        return distributed.wrap(compiled, self.device)  # type: ignore[arg-type]


def unfreeze_when_due(session: Session) -> None:
    """Train everything from now on, if the recipe's epoch for it has come."""
    at = session.recipe.unfreeze_at
    if session.freeze is None or at is None or session.epoch < at:
        return
    session.freeze.undo(session.model)
    session.freeze = None
    session.network = session.wrapped(session.model)
    session.network.train()


def evaluation_loader(session: Session, split: Split) -> Loader:
    """Return a loader over ``split`` in its order, without augmentation, shared out over the processes."""
    return Loader(
        split,
        session.preprocess,
        evaluation_batch(session.recipe, session.preprocess.size),
        device=session.device,
        channels_last=session.precision.channels_last,
        rank=distributed.rank(),
        world=distributed.world(),
    )


def check_weights(session: Session) -> None:
    """Stop before weights that are not numbers are evaluated or saved over good ones.

    Raises:
        DivergedError: naming the epoch and what to try.
    """
    if distributed.any_process(not all_finite(session.model)):
        raise diverged(session, "The weights are not numbers any more")


def all_finite(model: nn.Module) -> bool:
    """Return whether no parameter and no buffer of a network is NaN or infinite."""
    numbers = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in numbers)


def diverged(session: Session, what: str) -> DivergedError:
    """Return the error that says what happened where, and what to try."""
    advice = [f"lr={session.recipe.lr / 10:g}", "clip_norm=1.0"]
    advice += ["precision=fp32"] if session.precision.bf16 else []
    lr = session.optimizer.param_groups[0]["lr"]
    place = f"epoch {session.epoch + 1}, step {session.step} (lr {lr:.3g})"
    return DivergedError(f"{what} in {place}. Try {', '.join(advice)}, or `--find-lr`.")
