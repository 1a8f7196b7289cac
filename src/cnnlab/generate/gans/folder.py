"""The run folder of a GAN: every file in it.

``runs/<recipe>-<data>-<n>/`` is never overwritten and holds everything about one training::

    recipe.yaml         resolved; `cnnlab gan recipe.yaml` runs it again
    env.json            versions, device, threads, git commit
    metrics.csv         one row per epoch
    events.jsonl        the events of the training, with times
    model.safetensors   the generator that makes the samples; model.json: how to build it
    last/               the state from which the training goes on: both networks, both optimizers
    summary.json        status and measures
    samples/            images of the same noise vectors after every epoch
    figures/            losses, interpolation, nearest training images, classes; samples.gif
    report.html         one self-contained page with samples, curves and measures
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

import cnnlab
from cnnlab.errors import CheckpointError
from cnnlab.files import replacing, write_text
from cnnlab.generate.gans.events import EPOCH_COLUMNS
from cnnlab.generate.gans.pair import create_gan
from cnnlab.generate.gans.recipe import GanRecipe, load_gan_recipe
from cnnlab.generate.gans.session import GanSession
from cnnlab.runs.folder import begin_folder, run_name
from cnnlab.runs.training_folder import TrainingFolder
from cnnlab.training.checkpoint import FORMAT, load_tensors, read_json, save_tensors


class GanFolder(TrainingFolder):
    """The files of the run of a GAN.

    Args:
        path: the folder.

    Raises:
        RunError: there is no run of a GAN at ``path``.
        CheckpointError: the run was written by a newer cnnlab.
    """

    kind = "GAN"
    columns = EPOCH_COLUMNS

    @cached_property
    def recipe(self) -> GanRecipe:
        """The resolved recipe."""
        return load_gan_recipe(self.path / "recipe.yaml")

    def write_generator(self, session: GanSession) -> None:
        """Replace ``model.json`` and ``model.safetensors``."""
        recipe = session.recipe
        facts = {
            "format": FORMAT,
            "cnnlab": cnnlab.__version__,
            "kind": self.kind,
            "networks": recipe.networks,
            "noise_size": recipe.noise_size,
            "channels": recipe.channels,
            "image_size": recipe.image_size,
            "options": recipe.options,
            "epoch": session.epoch,
        }
        save_tensors(self.path / "model.safetensors", session.sampler.state_dict())
        write_text(self.path / "model.json", json.dumps(facts, indent=2) + "\n")

    def generator(self) -> nn.Module:
        """Build the generator with its weights, in eval mode on the CPU.

        Raises:
            CheckpointError: the files are damaged or do not fit each other.
        """
        facts: dict[str, Any] = read_json(self.path / "model.json")
        try:
            sizes = {key: facts[key] for key in ("noise_size", "channels", "image_size")}
            generator = create_gan(facts["networks"], **sizes, **facts["options"]).generator
        except KeyError as error:
            raise CheckpointError(f"{self.path / 'model.json'} lacks {error}.") from None
        tensors, _ = load_tensors(self.path / "model.safetensors")
        try:
            generator.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(f"{self.path / 'model.safetensors'} does not fit model.json: {error}") from None
        return generator.eval()

    @property
    def generator_epoch(self) -> int:
        """The number of epochs that the saved generator was trained for.

        Raises:
            CheckpointError: ``model.json`` is damaged.
        """
        facts: dict[str, Any] = read_json(self.path / "model.json")
        if "epoch" not in facts:
            raise CheckpointError(f"{self.path / 'model.json'} lacks 'epoch'.")
        return int(facts["epoch"])

    @property
    def measures(self) -> dict[str, Any]:
        """What :func:`~cnnlab.generate.gans.assessment.assess` has measured of the saved generator; else empty.

        Raises:
            CheckpointError: ``model.json`` is damaged.
        """
        measures: dict[str, Any] = self.summary.get("measures", {})
        # An older version wrote no epoch, and measured at the end of the training.
        epoch = measures.get("epoch", self.summary.get("epochs_done") if self.finished else None)
        return measures if epoch == self.generator_epoch else {}

    @property
    def report_file(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"

    # samples/

    def write_samples(self, epoch: int, picture: np.ndarray) -> None:
        """Write the picture of the samples after an epoch, uint8 (H, W, 3), to ``samples/``."""
        _write_png(self.samples_file(epoch), picture)

    def write_figure(self, name: str, picture: np.ndarray) -> None:
        """Write a picture, uint8 (H, W, 3), to ``figures/``."""
        _write_png(self.figures / name, picture)

    def samples_file(self, epoch: int) -> Path:
        """Return the file of the samples after an epoch; epoch 0 is the state before the training."""
        return self.path / "samples" / f"epoch-{epoch:04d}.png"

    def sample_files(self) -> list[Path]:
        """Return the existing files of samples, in the order of the epochs."""
        return sorted((self.path / "samples").glob("epoch-*.png"))


def _write_png(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, "png")


def create_gan_run(recipe: GanRecipe, out: str | os.PathLike[str] | None, root: str | Path) -> GanFolder:
    """Make a new run folder for a resolved recipe; see :func:`cnnlab.runs.folder.begin_folder`."""
    # The recipe names the run where there is one: the same networks are trained with several losses.
    name = run_name(recipe.name or recipe.networks, recipe.data)
    return GanFolder(begin_folder(recipe, name, out, root, kind=GanFolder.kind))
