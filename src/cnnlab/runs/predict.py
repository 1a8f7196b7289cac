"""Predict images with a run, or with a network's public ImageNet weights: files, folders, arrays, opened pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cnnlab.data import ImageLike, Preprocess
from cnnlab.data.scanning import IMAGE_SUFFIXES, workers
from cnnlab.errors import DataError, UnknownNameError, UsageError
from cnnlab.hardware import Precision, choose_device
from cnnlab.runs.evaluate import place_model
from cnnlab.runs.folder import Run
from cnnlab.zoo import create_model, imagenet_classes, models, pretrained

Inputs: TypeAlias = "ImageLike | Sequence[ImageLike]"


@dataclass(frozen=True)
class Prediction:
    """What the network sees in a picture.

    Attributes:
        file: the path; ``"#0"``, ``"#1"``, ... for arrays and pictures without one.
        label: name of the likeliest class.
        confidence: its probability.
        top: the likeliest classes with their probabilities, falling.
    """

    file: str
    label: str
    confidence: float
    top: list[tuple[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dictionary, ready for JSON."""
        return asdict(self) | {"top": [{"label": name, "confidence": p} for name, p in self.top]}


class Predictions(list[Prediction]):
    """The predictions, in the order of the inputs; ``failed`` lists (file, reason) of what could not be read."""

    def __init__(self, predictions: Iterable[Prediction] = (), failed: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(predictions)
        self.failed = list(failed)


@dataclass(frozen=True)
class PublicNetwork:
    """A network of the zoo with its public ImageNet weights; it predicts as a run does.

    Args:
        name: of the network.

    Raises:
        UnknownNameError: there is no such network.
        ModelError: no public weights of it are known.
    """

    name: str

    def __post_init__(self) -> None:
        pretrained(self.name)

    @property
    def classes(self) -> list[str]:
        """The names of the 1000 classes of ImageNet in the order of the network's outputs."""
        return imagenet_classes()

    @property
    def preprocess(self) -> Preprocess:
        """From an image to the network's input."""
        return Preprocess.from_dict(pretrained(self.name).preprocess)

    def model(self) -> nn.Module:
        """Build the network with its weights, in eval mode on the CPU.

        Raises:
            WeightsNotFoundError: they are not here and cannot be downloaded.
        """
        return create_model(self.name, image_size=self.preprocess.size, weights="imagenet").eval()

    def describe(self) -> str:
        """Say in a few words what predicts."""
        facts = pretrained(self.name)
        return f"{self.name}, trained on ImageNet (1000 classes, {facts.top1:g} % right; {facts.file})"

    def predict(self, images: Inputs, **options: Any) -> Predictions:
        """Predict images; see :func:`predict`."""
        return predict(self, images, **options)


def open_classifier(what: str | os.PathLike[str]) -> Run | PublicNetwork:
    """Open the run folder at ``what``; where nothing is there, the network of that name with its ImageNet weights.

    Raises:
        UnknownNameError: it is neither.
        RunError: there is something at ``what``, but no run.
        ModelError: no public weights of the network are known.
    """
    path = Path(what)
    if path.exists():
        return Run(path)
    name = os.fspath(what)
    if name in models:
        return PublicNetwork(models.get(name).name)
    runs = [str(found.parent) for found in path.parent.glob("*/env.json")]
    raise UnknownNameError(
        "run folder or network",
        name,
        [*models.names(), *runs],
        "`cnnlab runs` lists the runs, `cnnlab models` the networks.",
    )


def predict(
    run: Run | PublicNetwork | str | os.PathLike[str],
    inputs: Inputs,
    *,
    top_k: int = 5,
    batch_size: int = 64,
    device: str = "auto",
) -> Predictions:
    """Predict pictures; unreadable ones are left out and listed in ``failed``.

    Args:
        run: an opened run with weights, or its folder; or the name of a network, for its public ImageNet weights.
        inputs: a path, array, tensor or picture, or a list of them (see :meth:`cnnlab.data.Preprocess.pixels`).
            Folders are searched for images, with their subfolders.
        top_k: how many classes to name per picture; fewer when there are fewer.
        batch_size: pictures at a time.
        device: ``"auto"`` is where the run was trained, or else the best there is here.

    Raises:
        UsageError: nothing was given, or ``top_k`` or ``batch_size`` is below 1.
        DataError: a folder holds no image.
        UnknownNameError, RunError, ModelError: see :func:`open_classifier`.
    """
    if isinstance(run, str | os.PathLike):
        run = open_classifier(run)
    for name, value in (("top_k", top_k), ("batch_size", batch_size)):
        if value < 1:
            raise UsageError(f"{name} is {value}; give at least 1.")
    sources = list(_sources(inputs))
    if not sources:
        raise UsageError("There is nothing to predict. Name a file or a folder of images.")
    model, where, precision = _placed(run, device)
    preprocess, classes = run.preprocess, run.classes
    predictions = Predictions()
    with ThreadPoolExecutor(workers()) as pool, torch.inference_mode():
        for start in range(0, len(sources), batch_size):
            part = sources[start : start + batch_size]
            read = list(pool.map(lambda item: _read(preprocess, item[1]), part))
            predictions.failed += [
                (name, got) for (name, _), got in zip(part, read, strict=True) if isinstance(got, str)
            ]
            good = [(name, got) for (name, _), got in zip(part, read, strict=True) if isinstance(got, Tensor)]
            if not good:
                continue
            images = preprocess.normalize(torch.stack([pixels for _, pixels in good]).to(where))
            with precision.autocast(where):
                logits = model(images.contiguous(memory_format=precision.memory_format))
            probabilities = logits.float().cpu().double().softmax(1)
            best, positions = probabilities.topk(min(top_k, len(classes)), dim=1)
            for (name, _), values, indices in zip(good, best.tolist(), positions.tolist(), strict=True):
                top = [(classes[index], value) for index, value in zip(indices, values, strict=True)]
                predictions.append(Prediction(name, top[0][0], top[0][1], top))
    return predictions


def _placed(run: Run | PublicNetwork, device: str) -> tuple[nn.Module, torch.device, Precision]:
    """Return the network on its device; public weights in the precision they were published in."""
    if isinstance(run, Run):
        return place_model(run, device)
    where = choose_device(device)
    return run.model().to(where), where, Precision()


def find_images(folder: Path) -> list[Path]:
    """Return the images in ``folder`` and its subfolders, sorted; hidden files and folders are left alone."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _sources(inputs: Inputs) -> Iterator[tuple[str, ImageLike]]:
    """Yield (name, picture or path) for each picture that was asked for."""
    if isinstance(inputs, str | os.PathLike | Image.Image):
        many: Sequence[Any] = [inputs]
    elif isinstance(inputs, np.ndarray | Tensor):
        many = list(inputs) if inputs.ndim == 4 else [inputs]
    else:
        many = inputs
    for position, item in enumerate(many):
        if not isinstance(item, str | os.PathLike):
            yield str(getattr(item, "filename", "") or f"#{position}"), item
            continue
        path = Path(item)
        if not path.is_dir():
            yield str(path), path
            continue
        images = find_images(path)
        if not images:
            raise DataError(f"There is no image in the folder {path} or below it. Name another folder, or files.")
        yield from ((str(image), image) for image in images)


def _read(preprocess: Preprocess, picture: ImageLike) -> Tensor | str:
    """Return the pixels, or why there are none: one bad file must not cost the others."""
    try:
        return preprocess.pixels(picture)
    except DataError as error:
        return str(error)
