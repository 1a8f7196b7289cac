"""A recipe as the subject of an examination: prepared as for training."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cnnlab.data import Loader
from cnnlab.hardware import Precision
from cnnlab.training.build import prepare
from cnnlab.training.optim import learning_rate, make_optimizer
from cnnlab.training.recipe import Recipe
from cnnlab.training.session import Session
from cnnlab.training.shipped import choose_recipe
from cnnlab.training.step import Learner, train_step
from cnnlab.training.transfer import layer_factors
from cnnlab.why.subject import Subject
from cnnlab.zoo import loss_with_auxiliary

_BATCH = 64  # images of a batch at most: what is wrong shows with few


def recipe_subject(name: str, data_dir: str | None = None, data: str | None = None) -> Subject:
    """Return the training of a recipe, on the CPU in fp32 and with batches of at most 64 images.

    Args:
        name: name of a shipped recipe, or path of a YAML file.
        data_dir: folder to look for data sets in first.
        data: data set, folder or CSV file to use instead of the recipe's.
    """
    return session_subject(name, prepare(examined_recipe(choose_recipe(recipe=name, data=data), data_dir)))


def examined_recipe(recipe: Recipe, data_dir: str | None = None, data: str | None = None) -> Recipe:
    """Return a recipe for its examination: on the CPU, in fp32.

    Args:
        recipe: the recipe.
        data_dir: folder to look for data sets in first.
        data: data set, folder or CSV file to use instead of the recipe's.
    """
    changes = {"device": "cpu", "precision": "fp32", "channels_last": False}
    changes |= {key: value for key, value in (("data_dir", data_dir), ("data", data)) if value is not None}
    return recipe.with_overrides([], **changes)


def session_subject(name: str, session: Session) -> Subject:
    """Return a prepared training as a subject.

    Args:
        name: its name.
        session: the session at its beginning.
    """
    recipe, beginning = session.recipe, copy.deepcopy(session.model)
    frozen = set(session.freeze.evaluating) if session.freeze else set()
    sleeping = [path for path, module in session.model.named_modules() if module in frozen]
    shape = (session.preprocess.channels, session.preprocess.size, session.preprocess.size)
    factors = layer_factors(recipe, session.model, shape)

    def begin() -> nn.Module:
        return copy.deepcopy(beginning)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
        model.train()
        for path in sleeping:
            model.get_submodule(path).training = False
        learner = Learner(model, model, session.criterion, optimizer, Precision(), session.clip_norm)
        return train_step(learner, images, labels)[0]

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return loss_with_auxiliary(beginning, outputs, labels, session.criterion)

    steps = len(session.train_loader)

    def rate(share: float) -> float:
        return learning_rate(recipe, int(share * recipe.epochs * steps), steps) / recipe.lr

    held_out = session.val_loader
    return Subject(
        name=name,
        make_model=begin,
        make_optimizer=lambda model: make_optimizer(recipe, model, factors),
        compute_loss=loss,
        train=_Batches(session.train_loader, recipe),
        val=None if held_out is None else _Batches(held_out, recipe),
        train_step=step,
        rate=rate,
        own=frozenset(["make_data", "make_optimizer", "compute_loss"]),
        notes=[note for note in session.notes if note.startswith("warning")],
        classes=list(session.data.classes),
        prepared=recipe.weights is not None,
    )


class _Batches:
    """The images of a loader in the order of its first epoch, without augmentation, as pairs of images and labels."""

    def __init__(self, loader: Loader, recipe: Recipe) -> None:
        self.loader = Loader(
            loader.split,
            loader.preprocess,
            min(_BATCH, recipe.batch_size),
            shuffle=loader.shuffle,
            sampling=loader.sampling,
            seed=loader.seed,
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.loader.epoch(0):
            yield batch.images, batch.labels
