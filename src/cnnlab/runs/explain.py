"""Why a network answers as it does, for photos: pictures, numbers, and one HTML page per photo that needs nothing else.

::

    answer = cnnlab.runs.explain.explain_photo("efficientnet_lite0", "cat.jpg", ["gradcam", "occlusion"])
    answer.comparison["gradcam"].values          # the map, a plain array
    write_explanation(answer, "why")             # why/cat.html and a PNG per method
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from markupsafe import Markup
from PIL import Image

import cnnlab
from cnnlab import figures
from cnnlab.errors import DataError, UsageError
from cnnlab.explain import Attribution, explain_all, explanations
from cnnlab.explain.compare import Comparison
from cnnlab.figures import maps
from cnnlab.files import write_text
from cnnlab.runs.folder import Run
from cnnlab.runs.inside import Opened, as_class, file_name, open_network
from cnnlab.runs.predict import PublicNetwork, find_images
from cnnlab.runs.report import page_template
from cnnlab.tracing.target_layer import list_layers

TOP = 5  # classes that are named


@dataclass(frozen=True, eq=False)
class Explained:
    """A photo, what a network sees in it, and why.

    Attributes:
        photo: its path; ``"picture"`` where there is none.
        network: that was asked.
        picture: what it sees as people see it, uint8 (H, W, 3) or (H, W).
        top: the likeliest classes with their probabilities, falling.
        comparison: the answers of the methods, a sequence of :class:`cnnlab.explain.Attribution`.
        asked: the class that was asked about, as it was given; ``None``: the predicted one.
        options: method -> its options.
    """

    photo: str
    network: Opened
    picture: np.ndarray
    top: list[tuple[str, float]]
    comparison: Comparison
    asked: int | str | None
    options: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Of the photo, without folder."""
        return Path(self.photo).name

    @property
    def target(self) -> str:
        """Name of the class that the maps are about."""
        return self.comparison[0].target_name or str(self.comparison[0].target)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dictionary without the maps, ready for JSON."""
        return {
            "photo": self.photo,
            "network": self.network.name,
            "top": [{"label": name, "confidence": p} for name, p in self.top],
            "target": self.target,
            "score": self.comparison[0].score,
            "probability": self.comparison[0].probability,
            "methods": [
                {"method": one.method, "layer": one.layer, "seconds": one.seconds, "trust": dict(one.trust)}
                | {"options": dict(one.options), "notes": list(one.notes)}
                for one in self.comparison
            ],
            "skipped": dict(self.comparison.skipped),
            "warning": self.comparison.warning,
        }


def explain_photo(
    network: Opened | Run | PublicNetwork | str | os.PathLike[str],
    photo: Any,
    methods: Sequence[str] | None = None,
    *,
    target: int | str | None = None,
    layer: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    trust: bool = True,
    device: str = "auto",
    begins: Callable[[str, int, int], None] = lambda name, place, count: None,
) -> Explained:
    """Say why a network answers as it does to a photo.

    Args:
        network: a run or its folder; a network's name, for its public ImageNet weights; or one that is opened.
        photo: a path, picture, array or tensor (see :meth:`cnnlab.data.Preprocess.pixels`).
        methods: names of explanations; every one that fits for ``["all"]``. ``None`` is Grad-CAM, which takes a moment,
            or occlusion where no layer of the network has positions.
        target: the class to ask about: its name, or its index; the predicted one when ``None``.
        layer: dotted name of the layer that class activation maps look at; the last spatial one when ``None``.
        options: method -> its options, such as ``{"occlusion": {"window": 32}}``.
        trust: score the maps, see :func:`cnnlab.explain.trust`; it takes longer than the maps.
        device: where to compute, when the network is not opened yet.
        begins: see :func:`cnnlab.explain.explain_all`.

    Raises:
        DataError: the photo cannot be read.
        UnknownNameError: no such run, network, method, option, layer or class; the nearest ones are named.
        ModelError: a method does not fit the network.
    """
    opened = network if isinstance(network, Opened) else open_network(network, device)
    image, picture = opened.see(photo), opened.picture(photo)
    methods = methods or ["gradcam" if _has_positions(opened, image) else "occlusion"]
    wanted = None if "all" in methods else list(dict.fromkeys(methods))
    comparison = explain_all(
        opened.model, image, as_class(target, opened.classes), wanted,
        layer=layer, classes=opened.classes, trust=trust, options=options, begins=begins,
    )  # fmt: skip
    with torch.inference_mode():
        shares = opened.model(image[None]).float().double().softmax(1)[0]
    best, places = shares.topk(min(TOP, len(opened.classes)))
    top = [(opened.classes[place], p) for place, p in zip(places.tolist(), best.tolist(), strict=True)]
    name = os.fspath(photo) if isinstance(photo, str | os.PathLike) else getattr(photo, "filename", "") or "picture"
    return Explained(str(name), opened, picture, top, comparison, target, dict(options or {}))


def _has_positions(network: Opened, image: torch.Tensor) -> bool:
    """Whether something in the network keeps apart where on the image a thing is."""
    return list_layers(network.model, image).default is not None


def method_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read options of methods as they are written on a command line: ``occlusion.window=32``.

    Raises:
        UsageError: it is written in another way.
        UnknownNameError: no such method.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        method, dot, option = key.partition(".")
        if not (equals and dot and option and value):
            raise UsageError(f'The option "{text}" is not METHOD.NAME=VALUE, such as occlusion.window=32.')
        try:
            found.setdefault(explanations.get(method).name, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(
                f'The value of "{text}" cannot be read. Write it like occlusion.window=[32, 16].'
            ) from None
    return found


def photos_of(photos: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the files that are meant; folders are searched with their subfolders.

    Raises:
        DataError: a folder holds no image.
    """
    found: list[Path] = []
    for each in map(Path, photos):
        inside = find_images(each) if each.is_dir() else [each]
        if not inside:
            raise DataError(f"There is no image in the folder {each} or below it. Name another folder, or files.")
        found += inside
    return found


def explain_photos(
    network: Opened,
    photos: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    methods: Sequence[str] | None = None,
    *,
    done: Callable[[Explained, Path], None] = lambda answer, page: None,
    **options: Any,
) -> tuple[list[tuple[Explained, Path]], list[tuple[str, str]]]:
    """Explain many photos into a folder: a page for each, and for more than one a contact sheet that links to them.

    Args:
        network: that is asked.
        photos: files and folders.
        folder: to write into.
        methods, options: see :func:`explain_photo`.
        done: is called after each photo with the answer and its page.

    Returns:
        The answers with their pages; and (file, reason) of what could not be read.
    """
    folder = Path(folder)
    answers: list[tuple[Explained, Path]] = []
    failed: list[tuple[str, str]] = []
    used = {"index", "contact"}
    try:
        for photo in photos_of(photos):
            try:
                answer = explain_photo(network, photo, methods, **options)
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


def _unused(name: str, used: set[str]) -> str:
    """Return a name that no other photo has, and add it to those that are used; case makes no difference."""
    found, number = name, 2
    while found.lower() in used:
        found, number = f"{name}-{number}", number + 1
    used.add(found.lower())
    return found


def write_explanation(answer: Explained, folder: str | os.PathLike[str], name: str | None = None) -> Path:
    """Write a page and a PNG per method into a folder and return the path of the page.

    Args:
        answer: of :func:`explain_photo`.
        folder: is made where there is none.
        name: of the files, without suffix; that of the photo when ``None``.
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
        figure.set_layout_engine("none")
        curves = Markup(figures.to_svg(figure, "curves"))
    path = folder / f"{name}.html"
    page = {
        "answer": answer,
        "seen": picture_uri(answer.picture),
        "small": max(answer.picture.shape[:2]) < 100,
        "cards": [_card(one, answer.picture) for one in answer.comparison],
        "curves": curves,
        "scored": any(one.trust for one in answer.comparison),
        "bars": {signed: _gradient(signed) for signed in (False, True)},
        "asked": _asked(answer),
        "version": cnnlab.__version__,
    }
    write_text(path, page_template("explain.html.j2").render(page))
    return path


def write_contact_sheet(
    answers: Sequence[tuple[Explained, Path]],
    folder: str | os.PathLike[str],
    failed: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write ``index.html``, which links to the pages, and ``contact.png`` into a folder; return the page's path.

    Args:
        answers: what :func:`explain_photos` returns: answers with their pages in that folder.
        folder: that holds the pages.
        failed: (file, reason) of photos that could not be read.
    """
    folder = Path(folder)
    sheet, rows = [], []
    method = _best_method([answer.comparison for answer, _ in answers])
    for answer, page in answers:
        seen = _overlay(answer.comparison[method], answer.picture)
        sheet.append((seen, f"{answer.name}\n{answer.top[0][0]} {answer.top[0][1]:.0%}"))
        rows.append(
            {"answer": answer, "page": page.name, "seen": picture_uri(answer.picture, 224),
             "map": picture_uri(seen, 224)}
        )  # fmt: skip
    grid = figures.image_grid([picture for picture, _ in sheet], [title for _, title in sheet])
    figures.save(grid, folder / "contact.png")
    path = folder / "index.html"
    network = answers[0][0].network
    title = answers[0][0].comparison[method].method_title
    context = {"rows": rows, "method": title, "network": network, "failed": failed, "version": cnnlab.__version__}
    write_text(path, page_template("explain_index.html.j2").render(context))
    return path


def _best_method(comparisons: Sequence[Comparison]) -> str:
    """The method whose maps have the best scores on average, so that all photos can be compared; the first without."""

    def score(method: str) -> float:
        trust = [comparison[method].trust for comparison in comparisons]
        return float(np.mean([each.get("insertion", 0.0) - each.get("deletion", 0.0) for each in trust]))

    return max((one.method for one in comparisons[0]), key=score)


def _overlay(one: Attribution, picture: np.ndarray) -> np.ndarray:
    """The map over the picture, as :meth:`Attribution.figure` draws it."""
    return maps.blend(maps.smoothed(one.map, maps.grain(one.map)), picture, signed=one.signed)


def _card(one: Attribution, picture: np.ndarray) -> dict[str, Any]:
    """What the page shows of a method."""
    spread = maps.grain(one.map)
    heat = maps.smoothed(one.map, spread)
    words = [one.caption, maps.where(heat, one.signed)]
    words += [f"Drawn as averages over about {round(3.5 * spread)} pixels."] if spread else []
    top = maps.scale_of(heat)
    facts = explanations.get(one.method).facts
    return {
        "one": one,
        "facts": facts,
        "about": explanations.get(one.method).summary,
        "words": " ".join(words),
        "source": picture_uri(maps.blend(heat, picture, signed=one.signed)),
        "ticks": [f"{t * top:.2g}" for t in ((1, 0, -1) if one.signed else (1, 0.5, 0))],
    }


def _gradient(signed: bool) -> str:
    """The colours of a scale for a style sheet, from the top down."""
    colours = (maps.SIGNED if signed else maps.WARM)(np.linspace(1, 0, 17))[:, :3]
    return ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in colours * 255)


def _asked(answer: Explained) -> list[tuple[str, str]]:
    """What was asked, and of whom."""
    network, first = answer.network, answer.comparison[0]
    wanted = answer.network.preprocess
    how = {"crop": "shorter side resized, middle cut out", "stretch": "stretched to a square"}[wanted.resize]
    layer = next((one.layer for one in answer.comparison if one.layer is not None), None)
    rows = [
        ("photo", answer.photo),
        ("network", network.about if network.about.startswith(network.name) else f"{network.name}: {network.about}"),
        ("asked about", f"{answer.target} ({'the predicted class' if answer.asked is None else 'as asked'})"),
        ("score (logit)", f"{first.score:.4g}"),
        ("methods", ", ".join(one.method for one in answer.comparison)),
        *([("layer", layer)] if layer is not None else []),
    ]
    for method, options in answer.options.items():
        rows += [(f"{method}.{key}", str(value)) for key, value in options.items()]
    rows += [
        ("input", f"{wanted.channels} x {wanted.size} x {wanted.size}, {how}, {wanted.interpolation}"),
        ("mean, std", f"{_numbers(wanted.mean)}; {_numbers(wanted.std)}"),
        ("time", f"{answer.comparison.seconds:.2g} s in all"),
        ("versions", f"cnnlab {cnnlab.__version__}, torch {torch.__version__}"),
    ]
    return rows


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def picture_uri(pixels: np.ndarray, side: int | None = None) -> str:
    """Return pixels (H, W, 3) or (H, W) as a data URI: JPEG for photos, PNG for small images, whose pixels matter."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    photo = max(image.size) >= 100
    if side is not None and photo:
        image.thumbnail((side, side))
    image.save(buffer, "JPEG", quality=88) if photo else image.save(buffer, "PNG")
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
