"""The run folder of a captioning network: every file in it.

``runs/<recipe>-<data>-<n>/`` is never overwritten and holds everything about one training::

    recipe.yaml         resolved; `cnnlab caption train recipe.yaml` runs it again
    env.json            versions, device, threads, git commit
    metrics.csv         one row per epoch
    events.jsonl        the events of the training, with times
    model.safetensors   encoder and decoder of the best epoch; model.json: how to build them, vocabulary, preprocessing
    last/               the state from which the training goes on
    summary.json        status and scores
    captions-SPLIT.csv  sentences for the images of a split, with their references
    figures/            losses, captions of validation images, attention word by word
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cnnlab
from cnnlab.data import Preprocess
from cnnlab.errors import CheckpointError
from cnnlab.files import csv_text, write_text
from cnnlab.generate.captions.captioner import Captioner
from cnnlab.generate.captions.events import EPOCH_COLUMNS
from cnnlab.generate.captions.network import build_network
from cnnlab.generate.captions.recipe import CaptionRecipe, load_caption_recipe
from cnnlab.generate.captions.session import CaptionSession
from cnnlab.generate.captions.state import KIND
from cnnlab.hardware import choose_device
from cnnlab.runs.folder import begin_folder, run_name
from cnnlab.runs.training_folder import TrainingFolder
from cnnlab.training.checkpoint import FORMAT, load_tensors, read_json, save_tensors


class CaptionFolder(TrainingFolder):
    """The files of the run of a captioning network.

    Args:
        path: the folder.

    Raises:
        RunError: there is no run of captions at ``path``.
        CheckpointError: the run was written by a newer cnnlab.
    """

    kind = KIND
    columns = EPOCH_COLUMNS

    @cached_property
    def recipe(self) -> CaptionRecipe:
        """The resolved recipe."""
        return load_caption_recipe(self.path / "recipe.yaml")

    def write_network(self, session: CaptionSession) -> None:
        """Replace ``model.json`` and ``model.safetensors`` by the network as it is now."""
        facts = {
            "format": FORMAT,
            "cnnlab": cnnlab.__version__,
            "kind": self.kind,
            "epoch": session.epoch,
            "max_length": session.max_length,
            "preprocess": session.preprocess.to_dict() if session.preprocess else None,
            **session.network.facts(session.decoder_facts),
        }
        save_tensors(self.path / "model.safetensors", session.network.state_dict())
        write_text(self.path / "model.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")

    def captioner(self, device: str = "auto") -> Captioner:
        """Open the network of the best epoch for use.

        Args:
            device: the device on which it computes.

        Raises:
            CheckpointError: the files are damaged or do not fit each other.
            DeviceError: the device is not on this machine.
        """
        facts: dict[str, Any] = read_json(self.path / "model.json")
        network = build_network(facts)
        tensors, _ = load_tensors(self.path / "model.safetensors")
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(f"{self.path / 'model.safetensors'} does not fit model.json: {error}") from None
        values = facts.get("preprocess")
        preprocess = Preprocess.from_dict(values) if values else None
        network = network.to(choose_device(device)).eval()
        return Captioner(self.name, network, preprocess, int(facts["max_length"]))

    def write_captions(self, split: str, rows: Iterable[tuple[int, str, Sequence[str]]]) -> Path:
        """Write sentences for the images of a split to ``captions-<split>.csv``.

        Args:
            split: name of the split.
            rows: position of the image, sentence, and references, for each image.

        Returns:
            The file.
        """
        path = self.path / f"captions-{split}.csv"
        cells = ([image, sentence, " | ".join(references)] for image, sentence, references in rows)
        write_text(path, csv_text(["image", "caption", "references"], cells))
        return path


def create_caption_run(recipe: CaptionRecipe, out: str | os.PathLike[str] | None, root: str | Path) -> CaptionFolder:
    """Make a new run folder for a resolved recipe; see :func:`cnnlab.runs.folder.begin_folder`."""
    name = run_name(recipe.name or recipe.decoder, recipe.data)
    return CaptionFolder(begin_folder(recipe, name, out, root, kind=CaptionFolder.kind))
