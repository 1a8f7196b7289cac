"""Opening the microscope: for a run, a network of the zoo, a model file or any module, with images to look at."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.data import Preprocess
from cnnlab.errors import ModelError, ProtocolError, UsageError
from cnnlab.microscope.foresight import check_photo
from cnnlab.microscope.logits import returning_logits
from cnnlab.microscope.pictures import Picture, picture_of
from cnnlab.microscope.samples import sample_of
from cnnlab.microscope.session import Microscope, Subject
from cnnlab.microscope.units import Units
from cnnlab.runs.classifier import Classifier, open_classifier
from cnnlab.runs.folder import RunFolder
from cnnlab.scripts import describe
from cnnlab.tracing.hooks import evaluating
from cnnlab.zoo import create_model, imagenet_classes, models

Source = str | os.PathLike[str] | RunFolder | Classifier | nn.Module
_PER_CLASS, _MOST = 2, 20  # images of the data of a run


def open_microscope(
    source: Source,
    photos: Sequence[Any] = (),
    *,
    other: Source | None = None,
    random: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> Microscope:
    """Open a network, or two side by side, and images.

    Args:
        source: a run or its folder, a model file, the name of a network (its public weights), a classifier, or any
            module that takes images; of what it returns the logits are looked for (``logits``).
        photos: paths of photos, arrays, or for a module tensors (C, H, W) as it takes them. Without photos the images
            are a few per class of the data that the run is tested on, or two photos that come with scikit-learn.
        other: a second network that knows the same classes.
        random: whether the name of a network means random weights.
        data_dir: folder where data sets are looked for first.

    Raises:
        UsageError: there are no images, or the two networks do not fit each other.
        DataError: a photo cannot be read.
        ModelError: a module fails on the image, or returns no logits.
        CnnlabError: there is no such network or run.
    """
    subjects = [_with_units(_subject(each, photos, random), data_dir) for each in (source, other) if each is not None]
    if len(subjects) > 1:
        one, two = (subject.classifier for subject in subjects)
        if one.classes != two.classes or one.preprocess.channels != two.preprocess.channels:
            raise UsageError(
                f"{one.name} ({_facts(one)}) and {two.name} ({_facts(two)}) cannot be looked at side by side: both "
                "must know the same classes, in the same order, and take images of as many channels. Open only one."
            )
    pictures = [_picture(photo, number) for number, photo in enumerate(photos)]
    if not pictures and subjects[0].units is not None:
        sample, count = subjects[0].units.sample, min(_MOST, _PER_CLASS * len(subjects[0].classifier.classes))
        sample.inputs(0, count)
        pictures = [sample.picture(position) for position in range(min(count, len(sample)))]
    if not pictures:
        pictures = _sample_photos()
    return Microscope(subjects, pictures)


def _subject(source: Source, photos: Sequence[Any], random: bool) -> Subject:
    if isinstance(source, nn.Module):
        return Subject(_of_module(source, photos))
    if isinstance(source, Classifier):
        return Subject(source)
    if not isinstance(source, str | os.PathLike | RunFolder):
        hint = " Call it, and give what it returns." if callable(source) else ""
        raise UsageError(
            f"The microscope cannot open {type(source).__name__} {str(source)[:60]}: give a run or its folder, the "
            f"name of a network, or a torch.nn.Module.{hint}"
        )
    if random and not isinstance(source, RunFolder) and not Path(source).exists():
        return Subject(_random(os.fspath(source)))
    try:
        classifier = open_classifier(source, "cpu", as_trained=False)
    except ModelError as error:
        if isinstance(source, RunFolder) or Path(source).exists():
            raise
        raise ModelError(
            f"{error}\nWith random weights it can be looked at: `--random`, in Python `random=True`."
        ) from error
    if isinstance(source, RunFolder):
        return Subject(classifier, source)
    folder = Path(source).parent if Path(source).is_file() else Path(source)
    return Subject(classifier, RunFolder(folder) if (folder / "recipe.yaml").is_file() else None)


def _with_units(subject: Subject, data_dir: Any) -> Subject:
    """Return a network with what its units respond to, where it comes from a run whose data is there."""
    if subject.run is None:
        return subject
    try:
        return replace(subject, units=Units(sample_of(subject.run, subject.classifier, data_dir)))
    except ProtocolError:
        return subject


def _of_module(model: nn.Module, photos: Sequence[Any]) -> Classifier:
    """Return a classifier around a module; the first image says what it takes.

    Raises:
        UsageError: there is no image.
    """
    first = next((photo for photo in photos if isinstance(photo, Tensor)), None)
    if first is None:
        raise UsageError(
            f"Which images {type(model).__name__} takes is not known. Give one as the network takes it, a tensor "
            "(C, H, W), or a Classifier."
        )
    if first.dim() not in (3, 4) or (first.dim() == 4 and len(first) != 1):
        raise UsageError(
            f"An image has the shape {tuple(first.shape)}. Give one image as the network takes it, a tensor (C, H, W); "
            "for a network of vectors write a module that flattens images first."
        )
    channels, _, width = first.shape[-3:]
    image = first.reshape(1, *first.shape[-3:]).float()
    model, output, about = _in_float32(model, image)
    network, chosen = returning_logits(model, output)
    shown = 3 if channels == 3 else 1
    preprocess = Preprocess(width, shown, (0.0,) * shown, (1.0,) * shown)
    count = _output(network, image).numel()
    classes = [f"class {number}" for number in range(count)]
    name = type(model).__name__
    about = f"{name}, a module{about}" + (f"; the answer is {chosen}" if chosen else "")
    return Classifier(name, about, network, preprocess, classes)


def _in_float32(model: nn.Module, image: Tensor) -> tuple[nn.Module, Any, str]:
    """Return a module, what it computes from an image (1, C, H, W), and words about its weights.

    Of a module with weights of half precision it is a copy in float32, so that its numbers can be worked out.

    Raises:
        ModelError: the module fails.
    """
    halves = {parameter.dtype for parameter in model.parameters()} & {torch.float16, torch.bfloat16}
    if halves:
        names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in halves))
        try:
            copied = copy.deepcopy(model).float()
            return copied, _output(copied, image), f", its weights of {names} computed in float32"
        except Exception:  # its forward wants half precision
            return model, _output(model, image), ""
    return model, _output(model, image), ""


def _output(model: nn.Module, image: Tensor) -> Any:
    """Return what a module computes from an image (1, C, H, W).

    Raises:
        ModelError: the module fails.
    """
    name = type(model).__name__
    try:
        with torch.no_grad(), evaluating(model):
            return model(image)
    except Exception as error:  # whatever the code of a user raises
        raise ModelError(
            f"{name} fails on an image of shape {tuple(image.shape)} and type {image.dtype}: {describe(error)}. The "
            "image must be as the network takes it, and its weights float32."
        ) from error


def _facts(classifier: Classifier) -> str:
    """Return what two networks side by side must have in common, as text."""
    classes, channels = classifier.classes, classifier.preprocess.channels
    names = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
    return f"{len(classes)} classes: {names}; {channels} channel{'s' if channels > 1 else ''}"


def _random(name: str) -> Classifier:
    entry = models.get(name)
    network = create_model(entry.name).eval()
    size, channels = network.arch.get("image_size", 224), network.arch.get("in_channels", 3)
    count = network.arch.get("num_classes", 10)
    classes = imagenet_classes() if count == 1000 else [f"class {number}" for number in range(count)]
    preprocess = Preprocess(size, channels, (0.5,) * channels, (0.25,) * channels, resize="crop")
    return Classifier(entry.name, f"{entry.name} with random weights", network, preprocess, classes)


def _picture(photo: Any, number: int) -> Picture:
    """Return an image that was named.

    Raises:
        DataError: there is no such file.
    """
    if isinstance(photo, str | os.PathLike):
        check_photo(photo)
        return picture_of(Path(photo).name, photo)
    if isinstance(photo, Tensor):
        return picture_of(f"image {number + 1}", photo.reshape(photo.shape[-3:]))
    return picture_of(f"image {number + 1}", np.asarray(photo))


def _sample_photos() -> list[Picture]:
    """Return the photos that come with scikit-learn.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    package = importlib.util.find_spec("sklearn")  # importing it would take a second, with SciPy and pandas
    folders = [] if package is None else package.submodule_search_locations or []
    photos = sorted(path for folder in folders for path in (Path(folder) / "datasets" / "images").glob("*.jpg"))
    if not photos:
        raise UsageError(
            "The microscope needs an image, and the sample photos of scikit-learn are not here: name a photo."
        )
    return [picture_of(path.name, path.read_bytes()) for path in photos]
