"""Predict pictures with a classifier: files, folders, arrays, opened pictures."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnlab.console import percent
from cnnlab.data import ImageLike, Preprocess
from cnnlab.data.decoding import decode
from cnnlab.data.scanning import workers
from cnnlab.data.walk import image_files
from cnnlab.errors import DataError, UsageError
from cnnlab.runs.classifier import Classifier, open_classifier
from cnnlab.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Inputs: TypeAlias = "ImageLike | Sequence[ImageLike]"
SIDE = 256  # pixels of the longer side of a drawn picture
MOST_DRAWN = 48  # pictures in a figure


@dataclass(frozen=True)
class Prediction:
    """The answer of a network to a picture.

    Attributes:
        file: path of the picture; ``"#0"``, ``"#1"``, ... for arrays and pictures without one.
        label: name of the likeliest class.
        confidence: probability of that class.
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


def predict(
    classifier: Classifier | RunFolder | str | os.PathLike[str],
    inputs: Inputs,
    *,
    top_k: int = 5,
    batch_size: int = 64,
    device: str = "auto",
) -> Predictions:
    """Predict pictures; unreadable ones are left out and listed in ``failed``.

    Args:
        classifier: a classifier, or what :func:`cnnlab.runs.classifier.open_classifier` takes.
        inputs: a path, array, tensor or picture, or a list of them (see :meth:`cnnlab.data.Preprocess.pixels`).
            Folders are searched for images, with their subfolders.
        top_k: number of classes to name per picture; fewer when there are fewer.
        batch_size: number of pictures at a time.
        device: the device to compute on, where the classifier is not opened yet; ``"auto"`` is where the run was
            trained, or else the best there is here.

    Raises:
        UsageError: there is nothing to predict, or ``top_k`` or ``batch_size`` is below 1.
        DataError: a folder holds no image.
        UnknownNameError, RunError, ModelError: see :func:`cnnlab.runs.classifier.open_classifier`.
    """
    for name, value in (("top_k", top_k), ("batch_size", batch_size)):
        if value < 1:
            raise UsageError(f"{name} is {value}; give at least 1.")
    sources = list(_sources(inputs))
    if not sources:
        raise UsageError("There is nothing to predict. Name a file or a folder of images.")
    network = open_classifier(classifier, device).for_many(len(sources))
    predictions = Predictions()
    names: list[str] = []
    pixels: list[Tensor] = []

    def answer() -> None:
        for name, probabilities in zip(names, network.probabilities(torch.stack(pixels)), strict=True):
            top = network.top(probabilities, top_k)
            predictions.append(Prediction(name, *top[0], top))
        names.clear()
        pixels.clear()

    for name, result in _decoded(network.preprocess, sources, ahead=2 * batch_size):
        if isinstance(result, str):
            predictions.failed.append((name, result))
            continue
        names.append(name)
        pixels.append(result)
        if len(pixels) == batch_size:
            answer()
    if pixels:
        answer()
    return predictions


def draw_predictions(
    predictions: Sequence[Prediction], classes: Collection[str], most: int = MOST_DRAWN, depth: int = 16
) -> Figure:
    """Draw pictures in a grid, with the predicted class and its probability under each.

    A file in a folder that has the name of a class belongs to this class; where another class is predicted, the picture
    has an orange frame, and the class of its folder stands below.

    Args:
        predictions: the predictions of files.
        classes: names of the classes that the network knows.
        most: largest number of pictures; further ones are left out.
        depth: number of bits that grey pixels stored in 16 bits use; see :attr:`Preprocess.depth`.

    Raises:
        UsageError: there is nothing to draw.
        DataError: a file cannot be read any more.
    """
    from cnnlab import figures  # who predicts without drawing loads no matplotlib

    if not predictions:
        raise UsageError("There is no prediction to draw.")
    pictures, titles, wrong = [], [], []
    for position, answer in enumerate(predictions[:most]):
        picture = decode(answer.file, 3, least=SIDE, depth=depth)
        picture.thumbnail((SIDE, SIDE))
        pictures.append(np.asarray(picture))
        folder = Path(answer.file).resolve().parent.name
        title = f"{answer.label}\n{percent(answer.confidence)}"
        if folder in classes and folder != answer.label:
            wrong.append(position)
            title += f", is {folder}"
        titles.append(title)
    return figures.image_grid(pictures, titles, framed=wrong)


def _sources(inputs: Inputs) -> Iterator[tuple[str, ImageLike]]:
    """Yield (name, picture or path) for each picture that was asked for."""
    if isinstance(inputs, str | os.PathLike | Image.Image):
        many: Sequence[Any] = [inputs]
    elif isinstance(inputs, np.ndarray | Tensor):
        many = list(inputs) if inputs.ndim == 4 else [inputs]
    else:
        many = inputs
    for position, item in enumerate(many):
        if isinstance(item, str | os.PathLike):
            yield from ((str(file), file) for file in image_files([item]).paths)
        else:
            yield str(getattr(item, "filename", "") or f"#{position}"), item


def _decoded(
    preprocess: Preprocess, sources: Iterable[tuple[str, ImageLike]], ahead: int
) -> Iterator[tuple[str, Tensor | str]]:
    """Yield the name and the pixels of each picture in order, or the reason why it has none.

    Threads decode the next ``ahead`` pictures while the network computes: both release the interpreter lock.
    """
    waiting: deque[tuple[str, Future[Tensor | str]]] = deque()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for name, picture in sources:
                waiting.append((name, pool.submit(_pixels_or_reason, preprocess, picture)))
                if len(waiting) > ahead:
                    name, pixels = waiting.popleft()
                    yield name, pixels.result()
            for name, pixels in waiting:
                yield name, pixels.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pixels_or_reason(preprocess: Preprocess, picture: ImageLike) -> Tensor | str:
    """Return the pixels, or the reason why there are none: one bad file must not cost the others."""
    try:
        return preprocess.pixels(picture)
    except DataError as error:
        return str(error)
