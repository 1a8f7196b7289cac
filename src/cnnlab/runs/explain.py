"""Explain the answers of a network to photos, and write a page for each.

::

    answer = cnnlab.runs.explain.explain_photo("efficientnet_lite0", "cat.jpg", ["gradcam", "occlusion"])
    answer.comparison["gradcam"].values          # the map, a plain array
    write_explanation(answer, "why")             # why/cat.html and a PNG per method
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from cnnlab.data.walk import image_files
from cnnlab.errors import DataError, UsageError
from cnnlab.explain import explain_all, explanations
from cnnlab.explain.settings import ExplainSettings
from cnnlab.runs.classifier import Classifier, as_class, open_classifier
from cnnlab.runs.folder import RunFolder, file_name
from cnnlab.runs.photo_explanation import PhotoExplanation, write_contact_sheet, write_explanation
from cnnlab.tracing.target_layer import list_layers
from cnnlab.training.metrics import softmax

__all__ = ["PhotoExplanation", "explain_photo", "explain_photos", "method_options", "write_explanation"]

TOP = 5  # classes that are named


def explain_photo(
    classifier: Classifier | RunFolder | str | os.PathLike[str],
    photo: Any,
    methods: Sequence[str] | None = None,
    settings: ExplainSettings | None = None,
    *,
    begins: Callable[[str, int, int], None] = lambda name, position, count: None,
) -> PhotoExplanation:
    """Explain the answer of a network to a photo.

    Args:
        classifier: a classifier, or what :func:`cnnlab.runs.classifier.open_classifier` takes.
        photo: a path, picture, array or tensor (see :meth:`cnnlab.data.Preprocess.pixels`).
        methods: names of explanations; every one that fits for ``["all"]``. ``None`` is Grad-CAM, which takes a moment,
            or occlusion where no layer of the network has positions.
        settings: the class to ask about, the layer, the options of the methods, whether the maps are scored.
        begins: a function that is called before each method, see :func:`cnnlab.explain.explain_all`.

    Raises:
        DataError: the photo cannot be read.
        UnknownNameError: no such run, network, method, option, layer or class; the nearest ones are named.
        ModelError: a method does not fit the network.
    """
    settings, network = settings or ExplainSettings(), open_classifier(classifier, as_trained=False)
    image, picture = network.views(photo)
    methods = methods or ["occlusion" if list_layers(network.model, image).default is None else "gradcam"]
    comparison = explain_all(
        network.model,
        image,
        None if "all" in methods else list(dict.fromkeys(methods)),
        replace(settings, target=as_class(settings.target, network.classes)),
        classes=network.classes,
        begins=begins,
    )
    top = network.top(softmax(comparison.logits[None])[0], TOP)
    name = os.fspath(photo) if isinstance(photo, str | os.PathLike) else getattr(photo, "filename", "") or "picture"
    return PhotoExplanation(str(name), network, picture, top, comparison, settings)


def explain_photos(
    classifier: Classifier,
    photos: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    methods: Sequence[str] | None = None,
    settings: ExplainSettings | None = None,
    *,
    begins: Callable[[str, int, int], None] = lambda name, position, count: None,
    done: Callable[[PhotoExplanation, Path], None] = lambda answer, page: None,
) -> tuple[list[tuple[PhotoExplanation, Path]], list[tuple[str, str]]]:
    """Explain many photos into a folder: a page for each, and for more than one a contact sheet that links to them.

    Args:
        classifier: the network that answers.
        photos: files and folders; folders are searched with their subfolders.
        folder: the folder to write into.
        methods, settings, begins: see :func:`explain_photo`.
        done: a function that is called after each photo with the answer and its page.

    Returns:
        The answers with their pages; and (file, reason) of each photo that could not be read.

    Raises:
        DataError: a folder holds no image.
    """
    folder = Path(folder)
    answers: list[tuple[PhotoExplanation, Path]] = []
    failed: list[tuple[str, str]] = []
    used = {"index", "contact"}
    try:
        for photo in image_files(photos).paths:
            try:
                answer = explain_photo(classifier, photo, methods, settings, begins=begins)
            except DataError as error:
                failed.append((str(photo), str(error)))
                continue
            page = write_explanation(answer, folder, _unused(file_name(photo.stem), used))
            answers.append((answer, page))
            done(answer, page)
    finally:
        with suppress(OSError):  # it is not empty
            folder.rmdir()
    if len(answers) > 1:
        write_contact_sheet(answers, folder, failed)
    return answers, failed


def method_options(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read options of methods as they are written on a command line: ``occlusion.window=32``.

    Args:
        texts: texts of the form ``METHOD.NAME=VALUE``.

    Returns:
        Name of a method -> its keyword arguments.

    Raises:
        UsageError: a text has another form.
        UnknownNameError: no such method.
    """
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        method, dot, option = key.partition(".")
        if not (equals and dot and option and value):
            raise UsageError(f'The option "{text}" is not METHOD.NAME=VALUE, such as occlusion.window=32.')
        try:
            options.setdefault(explanations.get(method).name, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(
                f'The value of "{text}" cannot be read. Write it like occlusion.window=[32, 16].'
            ) from None
    return options


def _unused(name: str, used: set[str]) -> str:
    """Return a name that no other photo has, and add it to those that are used; case makes no difference."""
    unused, number = name, 2
    while unused.lower() in used:
        unused, number = f"{name}-{number}", number + 1
    used.add(unused.lower())
    return unused
