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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import cnnlab
from cnnlab import figures
from cnnlab.errors import DataError, UsageError
from cnnlab.explain import Attribution, explain_all, explanations
from cnnlab.explain.compare import ExplainSettings, MethodComparison
from cnnlab.figures import heatmaps
from cnnlab.figures.style import SIGNED, WARM
from cnnlab.files import write_text
from cnnlab.runs.classifier import Classifier, open_classifier
from cnnlab.runs.folder import RunFolder, file_name
from cnnlab.runs.html import PHOTO_SIDE, figure_markup, picture_uri, render
from cnnlab.tracing.target_layer import list_layers

TOP = 5  # classes that are named
# The colours of the scale of signed and other maps for a style sheet, from the top down.
BARS = {
    signed: ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in colours(np.linspace(1, 0, 17))[:, :3] * 255)
    for signed, colours in ((False, WARM), (True, SIGNED))
}


@dataclass(frozen=True, eq=False)
class PhotoExplanation:
    """A photo, the answer of a network to it, and the maps that explain the answer.

    Attributes:
        photo: path of the photo; ``"picture"`` where there is none.
        classifier: the network that answered.
        picture: the part of the photo that enters the network, for people, uint8 (H, W, 3) or (H, W).
        top: the likeliest classes with their probabilities, falling.
        comparison: the answers of the methods, a sequence of :class:`cnnlab.explain.Attribution`.
        settings: the class that was asked about, and the options of the methods.
    """

    photo: str
    classifier: Classifier
    picture: np.ndarray
    top: list[tuple[str, float]]
    comparison: MethodComparison
    settings: ExplainSettings

    @property
    def name(self) -> str:
        """Name of the photo, without its folder."""
        return Path(self.photo).name

    @property
    def target(self) -> str:
        """Name of the class that the maps are about."""
        return self.comparison[0].target_name or str(self.comparison[0].target)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dictionary without the maps, ready for JSON."""
        return {
            "photo": self.photo,
            "network": self.classifier.name,
            "top": [{"label": name, "confidence": p} for name, p in self.top],
            "target": self.target,
            "score": self.comparison[0].score,
            "probability": self.comparison[0].probability,
            "methods": [
                {
                    "method": one.method,
                    "layer": one.layer,
                    "seconds": one.seconds,
                    "faithfulness": dict(one.faithfulness),
                    "options": dict(one.options),
                    "notes": list(one.notes),
                }
                for one in self.comparison
            ],
            "skipped": dict(self.comparison.skipped),
            "warning": self.comparison.warning,
        }


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
    chosen = None if "all" in methods else list(dict.fromkeys(methods))
    comparison = explain_all(network.model, image, chosen, settings, classes=network.classes, begins=begins)
    name = os.fspath(photo) if isinstance(photo, str | os.PathLike) else getattr(photo, "filename", "") or "picture"
    return PhotoExplanation(
        str(name), network, picture, network.top(comparison.probabilities, TOP), comparison, settings
    )


def explain_photos(
    classifier: Classifier,
    photos: Iterable[Path],
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
        photos: the files, as :func:`cnnlab.data.walk.image_files` finds them in folders.
        folder: the folder to write into.
        methods, settings, begins: see :func:`explain_photo`.
        done: a function that is called after each photo with the answer and its page.

    Returns:
        The answers with their pages; and (file, reason) of each photo that could not be read.
    """
    folder = Path(folder)
    answers: list[tuple[PhotoExplanation, Path]] = []
    failed: list[tuple[str, str]] = []
    used = {"index", "contact"}  # names of pages, in lower case: some file systems do not tell the case
    try:
        for photo in photos:
            try:
                answer = explain_photo(classifier, photo, methods, settings, begins=begins)
            except DataError as error:
                failed.append((str(photo), str(error)))
                continue
            stem = name = file_name(photo.stem)
            number = 1
            while name.lower() in used:
                number += 1
                name = f"{stem}-{number}"
            used.add(name.lower())
            page = write_explanation(answer, folder, name)
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


# Pages ---------------------------------------------------------------------------------------------------------------


def write_explanation(answer: PhotoExplanation, folder: str | os.PathLike[str], name: str | None = None) -> Path:
    """Write a page and a PNG per method into a folder and return the path of the page.

    Args:
        answer: the explanation of a photo.
        folder: the folder to write into; it is made where there is none.
        name: name of the files, without suffix; that of the photo when ``None``.
    """
    folder, name = Path(folder), name or file_name(Path(answer.photo).stem)
    folder.mkdir(parents=True, exist_ok=True)
    for one in answer.comparison:
        one.save(folder / f"{name}-{one.method}.png", answer.picture)
    curves = ""
    if len(answer.comparison) > 1:
        answer.comparison.save(folder / f"{name}-methods.png", answer.picture)
    if answer.comparison.curves:
        figure = answer.comparison.curves_figure()
        figures.save(figure, folder / f"{name}-curves.png")
        curves = figure_markup(figure, "curves")
    path = folder / f"{name}.html"
    page = render(
        "explain.html.j2",
        answer=answer,
        picture=picture_uri(answer.picture),
        small=max(answer.picture.shape[:2]) < PHOTO_SIDE,
        cards=[_card(one, answer.picture) for one in answer.comparison],
        curves=curves,
        scored=any(one.faithfulness for one in answer.comparison),
        bars=BARS,
        asked=_asked(answer),
    )
    write_text(path, page)
    return path


def write_contact_sheet(
    answers: Sequence[tuple[PhotoExplanation, Path]],
    folder: str | os.PathLike[str],
    failed: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write ``index.html``, which links to the pages, and ``contact.png`` into a folder; return the page's path.

    The maps are those of the method with the best scores on average; of the first method where none has scores.

    Args:
        answers: explanations with their pages in that folder.
        folder: the folder of the pages.
        failed: (file, reason) of each photo that could not be read.
    """

    def score(method: str) -> float:
        scores = [answer.comparison[method].faithfulness for answer, _ in answers]
        return float(np.mean([each.get("insertion", 0.0) - each.get("deletion", 0.0) for each in scores]))

    folder, (first, _) = Path(folder), answers[0]
    method = max((one.method for one in first.comparison), key=score)
    overlays, titles, rows = [], [], []
    for answer, file in answers:
        one = answer.comparison[method]
        heat = heatmaps.smoothed(one.map, heatmaps.smoothing_width(one.map))
        overlays.append(heatmaps.blend(heat, answer.picture, signed=one.signed))
        titles.append(f"{answer.name}\n{answer.top[0][0]} {answer.top[0][1]:.0%}")
        pictures = {"picture": picture_uri(answer.picture, 224), "map": picture_uri(overlays[-1], 224)}
        rows.append({"answer": answer, "page": file.name} | pictures)
    figures.save(figures.image_grid(overlays, titles), folder / "contact.png")
    path, title = folder / "index.html", first.comparison[method].method_title
    write_text(path, render("explain_index.html.j2", rows=rows, method=title, network=first.classifier, failed=failed))
    return path


def _card(one: Attribution, picture: np.ndarray) -> dict[str, Any]:
    """Return the values of a method that its card on the page shows; the map is drawn as in its figure."""
    spread = heatmaps.smoothing_width(one.map)
    heat = heatmaps.smoothed(one.map, spread)
    top = heatmaps.colour_limit(heat)
    return {
        "one": one,
        "words": f"{one.caption} {heatmaps.describe(heat, one.signed, spread=spread)}",
        "source": picture_uri(heatmaps.blend(heat, picture, signed=one.signed)),
        "ticks": [f"{t * top:.2g}" for t in ((1, 0, -1) if one.signed else (1, 0.5, 0))],
    }


def _asked(answer: PhotoExplanation) -> list[tuple[str, str]]:
    """Return the rows of the table of settings: the question, and the network that answered."""
    network, first = answer.classifier, answer.comparison[0]
    preprocess = network.preprocess
    how = {"crop": "shorter side resized, middle cut out", "stretch": "stretched to a square"}[preprocess.resize]
    layer = next((one.layer for one in answer.comparison if one.layer is not None), None)
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (preprocess.mean, preprocess.std))
    return [
        ("photo", answer.photo),
        ("network", network.about if network.about.startswith(network.name) else f"{network.name}: {network.about}"),
        ("asked about", f"{answer.target} ({'the predicted class' if answer.settings.target is None else 'as asked'})"),
        ("score (logit)", f"{first.score:.4g}"),
        ("methods", ", ".join(one.method for one in answer.comparison)),
        *([("layer", layer)] if layer is not None else []),
        *(
            (f"{method}.{key}", str(value))
            for method, options in answer.settings.options.items()
            for key, value in options.items()
        ),
        ("input", f"{preprocess.channels} x {preprocess.size} x {preprocess.size}, {how}, {preprocess.interpolation}"),
        ("mean, std", f"{mean}; {std}"),
        ("time", f"{answer.comparison.seconds:.2g} s in all"),
        ("versions", f"cnnlab {cnnlab.__version__}, torch {torch.__version__}"),
    ]
