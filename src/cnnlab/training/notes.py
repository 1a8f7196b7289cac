"""The notes of a training: what the reader of a run should know before the first step, a line each."""

from __future__ import annotations

import torch

from cnnlab.data import ImageData
from cnnlab.data.doctor import class_findings
from cnnlab.data.file_contents import shared_files
from cnnlab.hardware import Precision
from cnnlab.training import distributed
from cnnlab.training.feature_cache import caches_features
from cnnlab.training.recipe import Recipe
from cnnlab.training.rules import unused_keys
from cnnlab.training.transfer import Freeze
from cnnlab.zoo import SMALL_IMAGE, Network, models


def data_notes(data: ImageData) -> list[str]:
    """Return how the data was read, what is wrong with its classes, and whether splits share images."""
    notes = [f"data: {data.name}, {data.notes[0]}" if data.notes else f"data: {data.name}", *data.notes[1:]]
    notes += [f"{f.severity}: {f.message}. {f.advice}" for f in class_findings(data) if f.severity != "note"]
    for name, split in data.splits().items():
        if name != "train" and (pairs := shared_files(data.train, split)):
            notes.append(
                f"warning: {len(pairs)} of the {len(split)} images of {name} {'is' if len(pairs) == 1 else 'are'} in "
                f"train too, such as {pairs[0][0]} "
                f"(there {pairs[0][1]}): the accuracy on {name} comes out too high. `cnnlab doctor` lists them."
            )
    return notes


def network_notes(recipe: Recipe, model: Network, shape: tuple[int, int, int], load_weights: bool) -> list[str]:
    """Return what the network is, which keys of the recipe it leaves unused, and what it starts from."""
    count = sum(p.numel() for p in model.parameters())
    network = f"network: {recipe.model}, {count:,} parameters, {' x '.join(map(str, shape))} images"
    return [network, *_unused_notes(recipe), *(_weights_notes(recipe, shape) if load_weights else [])]


def _unused_notes(recipe: Recipe) -> list[str]:
    """Return a note for each key that differs from its default and that optimizer and schedule do not use."""
    changed = recipe.changed()
    unused = unused_keys(recipe.optimizer, recipe.schedule)
    return [f"note: {key} is not used by {rule}" for key, rule in unused if key in changed]


def device_note(device: torch.device, precision: Precision) -> str:
    """Return on what the training runs."""
    count = torch.get_num_threads()
    threads = f", {count} thread{'s' * (count > 1)}" if device.type == "cpu" else ""
    return f"device: {device}{threads}, {precision.describe()}"


def processes_notes(recipe: Recipe) -> list[str]:
    """Return how several processes share a batch; nothing for one process."""
    count = distributed.world()
    if count == 1:
        return []
    share = f"{recipe.batch_size / count:g} of the {recipe.batch_size} images of a batch each"
    over = "all of it" if recipe.sync_batchnorm else "its own part (sync_batchnorm=true: over all of it)"
    return [f"processes: {count}, {share}; the learning rate stays as it is; BatchNorm normalises over {over}"]


def _weights_notes(recipe: Recipe, shape: tuple[int, int, int]) -> list[str]:
    if recipe.weights is None:
        return []
    head = "a new last layer" if recipe.head == "reset" else "their own last layer"
    notes = [f"weights: {recipe.weights}, with {head}"]
    public = models.get(recipe.model).facts.pretrained
    if recipe.weights == "imagenet" and public and shape[1] <= SMALL_IMAGE < public.size:
        notes.append(
            f"warning: at {shape[1]} pixels {recipe.model} may stride less than where its weights come from, and what "
            f"they have learned does not fit; image_size={public.size} uses them as they were trained"
        )
    return notes


def freeze_notes(recipe: Recipe, model: Network, freeze: Freeze | None, caching: bool) -> list[str]:
    """Return which part of the network is frozen, and whether its outputs are computed once (``caching``)."""
    notes = []
    if freeze:
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        until = f" until epoch {recipe.unfreeze_at} is done" if recipe.unfreeze_at else ""
        notes.append(f"frozen: {recipe.freeze}{until}; {count:,} parameters are trained")
        from_images = model.first_images and recipe.freeze == "stem"  # computed before the first step
        if recipe.weights is None and not from_images:
            notes.append("warning: what is frozen has random weights. Name better ones, such as weights=imagenet.")
        if caching:
            notes.append("features of the frozen part are computed once, before the first step")
        elif caches_features(recipe):
            notes.append("features of all images would not fit into memory, so the frozen part runs in every epoch")
        elif recipe.freeze == "backbone" and recipe.unfreeze_at is None:
            changing = "images are augmented" if recipe.augment.active else "image_sizes changes the images"
            notes.append(f"{changing}, so the frozen part runs in every epoch; without, it would run once")
    return notes
