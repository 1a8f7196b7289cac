"""A run, or a public network, opened for looking inside: its network in eval mode, and pictures as it takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cnnlab.data import ImageLike, Preprocess
from cnnlab.errors import ModelError, RunError, UsageError
from cnnlab.explain import find_class
from cnnlab.explain.adversarial.attacks import Fooled, fgsm, fool, pgd
from cnnlab.explain.visualization.dream import Dream, dream
from cnnlab.explain.visualization.objectives import logit
from cnnlab.figures.images import to_picture
from cnnlab.hardware import choose_device
from cnnlab.runs.folder import Run
from cnnlab.runs.predict import PublicNetwork, open_classifier
from cnnlab.tracing.target_layer import list_layers

SHOWN = 448  # pixels of a photo as people see it


@dataclass(frozen=True, eq=False)
class Opened:
    """A network that can be looked into, with all that is needed to show it pictures.

    Attributes:
        name: of the run, or of the public network.
        about: what it is in a few words.
        model: the network in float32 and eval mode.
        preprocess: from a picture to its input.
        classes: the names of its outputs.
    """

    name: str
    about: str
    model: nn.Module
    preprocess: Preprocess
    classes: list[str]

    def see(self, photo: ImageLike, size: int | None = None) -> Tensor:
        """Return a photo as the network takes it, (C, size, size); ``size`` is the network's own when ``None``.

        Raises:
            DataError: the photo cannot be read.
        """
        wanted = self.preprocess if size is None else replace(self.preprocess, size=size)
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        return wanted(photo)[0].to(device)

    def picture(self, photo: ImageLike) -> np.ndarray:
        """Return the part of a photo that the network sees, for people: uint8 (H, W, 3) or (H, W), larger if it is."""
        large = self.preprocess.size >= 64  # of smaller ones the pixels themselves are shown
        shown = replace(self.preprocess, size=max(self.preprocess.size, SHOWN)) if large else self.preprocess
        return to_picture(shown.pixels(photo))

    def save_picture(self, picture: np.ndarray, path: Path) -> Path:
        """Write a picture (H, W, 3) or (H, W) of 0..1 without loss, pixel for pixel; return the path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(to_picture(picture, "HWC")).save(path)
        return path

    def save_seen(self, picture: np.ndarray, photo: ImageLike, path: Path) -> Path:
        """Write what the network is to see, (H, W, 3) or (H, W) of 0..1, amid the photo; return the path.

        Opened again, the file is resized and cut as any photo is, and the network sees the picture, pixel for pixel.

        Raises:
            DataError: the photo cannot be read.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.preprocess.surround(to_picture(picture, "HWC"), photo).save(path)
        return path

    @property
    def channels(self) -> dict[str, Any]:
        """Mean and standard deviation, as the functions of :mod:`cnnlab.explain` that change pixels want them."""
        return {"mean": self.preprocess.mean, "std": self.preprocess.std}


def open_network(what: str | os.PathLike[str] | Run | PublicNetwork, device: str = "auto") -> Opened:
    """Open a run, or a network of the zoo with its public ImageNet weights, for looking inside.

    Args:
        what: the folder of a run, the name of a network, or either opened.
        device: ``"auto"``, ``"cpu"``, ``"cuda:0"``, ``"mps"``.

    Raises:
        UnknownNameError, RunError, ModelError: see :func:`cnnlab.runs.predict.open_classifier`.
        DeviceError: the device is not on this machine.
    """
    where = choose_device(device)
    found = what if isinstance(what, Run | PublicNetwork) else open_classifier(what)
    if isinstance(found, Run):
        about = f"{found.recipe.model}, trained on {Path(found.recipe.data).name} ({len(found.classes)} classes)"
        if (accuracy := found.summary.get("accuracy")) is not None:
            about += f"; {accuracy:.2%} right on the {found.summary['split']} split"
    else:
        about = found.describe()
    return Opened(found.name, about, found.model().to(where).eval(), found.preprocess, found.classes)


def first_network(what: str | os.PathLike[str] | Run | PublicNetwork) -> nn.Module:
    """Return the network as it was before its training: see :meth:`cnnlab.runs.Run.first_model`.

    Raises:
        UsageError: it is no run, so that nothing is known of the time before.
        UnknownNameError, RunError, ModelError: see :func:`open_network`.
    """
    found = what if isinstance(what, Run | PublicNetwork) else open_classifier(what)
    if not isinstance(found, Run):
        raise UsageError(f"{found.name} comes with its weights; only of a run it is known what they were before.")
    return found.first_model()


def as_class(target: int | str | None, classes: Sequence[str]) -> int | str | None:
    """Return a class as it is written on a command line: a name, or an index where no name is that number."""
    return int(target) if isinstance(target, str) and target.isdigit() and target not in classes else target


def dream_of(
    network: Opened, photo: ImageLike, *, layer: str | None = None, target: int | str | None = None,
    size: int | None = None, **options: Any,
) -> Dream:  # fmt: skip
    """Change a photo so that a network sees more of what it sees in it; see :func:`cnnlab.explain.dream`.

    Args:
        network, photo: that dreams, and of what.
        layer: whose outputs are to grow; the last one before the last stage when ``None``.
        target: a class to dream of instead, by name or index.
        size: side of the picture in pixels; what the network takes when ``None``.
        options: of :func:`cnnlab.explain.dream`.

    Raises:
        UsageError: layer and target at once.
        ModelError: the network has no spatial layer, or cannot take images of these sizes.
    """
    if layer is not None and target is not None:
        raise UsageError("A dream is of a layer or of a class: give --layer or --target, not both.")
    image = network.see(photo, size)
    named = as_class(target, network.classes)
    if named is not None:
        return dream(network.model, image, logit(find_class(named, network.classes)), **options, **network.channels)
    if layer is None:
        spatial = list_layers(network.model, network.see(photo)).spatial
        if not spatial:
            raise ModelError(f"{network.name} has no spatial layer to dream of. Name a class to dream of instead.")
        # Before the last stage: what it sees there still has a form. Whole stages or blocks, not a layer inside one.
        finer = [row for row in spatial if row.grid and row.grid[-1] >= 2 * (spatial[-1].grid or (0, 0))[-1]] or spatial
        same = [row for row in finer if row.grid == finer[-1].grid]
        depth = min(row.name.count(".") for row in same)
        layer = [row for row in same if row.name.count(".") == depth][-1].name
    return dream(network.model, image, layer, **options, **network.channels)


def fool_with(
    network: Opened, photo: ImageLike, target: int | str, *, method: str = "ascent", steps: int | None = None,
    seed: int = 0,
) -> Fooled:  # fmt: skip
    """Change a photo until a network takes it for ``target``; see :mod:`cnnlab.explain.adversarial.attacks`.

    Args:
        network, photo: to fool, and with what.
        target: name or index of a class.
        method: ``"ascent"``, ``"fgsm"`` or ``"pgd"``.
        steps: at most; those of the method when ``None``. FGSM has one.
        seed: of the start of PGD.
    """
    attacks: dict[str, Callable[..., Fooled]] = {"ascent": fool, "fgsm": fgsm, "pgd": pgd}
    if method == "fgsm" and steps not in (None, 1):
        raise UsageError(f"FGSM makes one step, not {steps}. Leave --steps out, or take pgd.")
    given = {} if steps is None or method == "fgsm" else {"steps": steps}
    given |= {"seed": seed} if method == "pgd" else {}
    return attacks[method](
        network.model, network.see(photo), as_class(target, network.classes),
        classes=network.classes, **given, **network.channels,
    )  # fmt: skip


def new_folder(out: str | os.PathLike[str] | None, name: str, root: str | os.PathLike[str] = "looks") -> Path:
    """Make a folder for results, which is never one that holds something.

    Args:
        out: the folder; ``root/<name>-<n>`` with the next free number when ``None``.
        name: what is in it.

    Raises:
        RunError: ``out`` has something in it already, or the folder cannot be made.
    """
    try:
        if out is not None:
            path = Path(out)
            if path.is_file() or (path.is_dir() and any(path.iterdir())):
                raise RunError(f"{path} exists and is not empty; nothing is overwritten. Choose another --out.")
            path.mkdir(parents=True, exist_ok=True)
            return path
        plain, number = file_name(name), 1
        Path(root).mkdir(parents=True, exist_ok=True)
        while True:
            path = Path(root) / f"{plain}-{number}"
            try:
                path.mkdir()
                return path
            except FileExistsError:
                number += 1
    except OSError as error:
        raise RunError(
            f"Cannot make the folder {error.filename}: {error.strerror}. Choose one that you may write to with --out."
        ) from None


def file_name(text: str) -> str:
    """Return ``text`` as part of a file name: letters, digits, dots, dashes, underscores."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "photo"
