"""A photo with the answer of a network and the reasons for it, and the pages that show them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cnnlab
from cnnlab import figures
from cnnlab.explain import Attribution, explanations
from cnnlab.explain.compare import MethodComparison
from cnnlab.explain.settings import ExplainSettings
from cnnlab.figures import heatmaps
from cnnlab.figures.style import SIGNED, WARM
from cnnlab.files import write_text
from cnnlab.runs.classifier import Classifier
from cnnlab.runs.folder import file_name
from cnnlab.runs.html import PHOTO_SIDE, figure_markup, picture_uri, render


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
                }
                | {"options": dict(one.options), "notes": list(one.notes)}
                for one in self.comparison
            ],
            "skipped": dict(self.comparison.skipped),
            "warning": self.comparison.warning,
        }


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
        bars={signed: _gradient(signed) for signed in (False, True)},
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

    Args:
        answers: explanations with their pages in that folder.
        folder: the folder of the pages.
        failed: (file, reason) of each photo that could not be read.
    """
    folder = Path(folder)
    sheet, rows = [], []
    method = _best_method([answer.comparison for answer, _ in answers])
    for answer, file in answers:
        overlay = _overlay(answer.comparison[method], answer.picture)
        sheet.append((overlay, f"{answer.name}\n{answer.top[0][0]} {answer.top[0][1]:.0%}"))
        rows.append(
            {"answer": answer, "page": file.name, "picture": picture_uri(answer.picture, 224),
             "map": picture_uri(overlay, 224)}
        )  # fmt: skip
    grid = figures.image_grid([picture for picture, _ in sheet], [title for _, title in sheet])
    figures.save(grid, folder / "contact.png")
    path = folder / "index.html"
    first = answers[0][0]
    title = first.comparison[method].method_title
    page = render("explain_index.html.j2", rows=rows, method=title, network=first.classifier, failed=failed)
    write_text(path, page)
    return path


def _best_method(comparisons: Sequence[MethodComparison]) -> str:
    """Return the method whose maps have the best scores on average; the first method where none has scores."""

    def score(method: str) -> float:
        scores = [comparison[method].faithfulness for comparison in comparisons]
        return float(np.mean([each.get("insertion", 0.0) - each.get("deletion", 0.0) for each in scores]))

    return max((one.method for one in comparisons[0]), key=score)


def _overlay(one: Attribution, picture: np.ndarray) -> np.ndarray:
    """Return the map over the picture, as :meth:`Attribution.figure` draws it."""
    return heatmaps.blend(heatmaps.smoothed(one.map, heatmaps.smoothing_width(one.map)), picture, signed=one.signed)


def _card(one: Attribution, picture: np.ndarray) -> dict[str, Any]:
    """Return the values of a method that its card on the page shows."""
    spread = heatmaps.smoothing_width(one.map)
    heat = heatmaps.smoothed(one.map, spread)
    words = [one.caption, heatmaps.describe(heat, one.signed)]
    words += [f"Drawn as averages over about {round(3.5 * spread)} pixels."] if spread else []
    top = heatmaps.colour_limit(heat)
    facts = explanations.get(one.method).facts
    return {
        "one": one,
        "facts": facts,
        "about": explanations.get(one.method).summary,
        "words": " ".join(words),
        "source": picture_uri(heatmaps.blend(heat, picture, signed=one.signed)),
        "ticks": [f"{t * top:.2g}" for t in ((1, 0, -1) if one.signed else (1, 0.5, 0))],
    }


def _gradient(signed: bool) -> str:
    """Return the colours of a scale for a style sheet, from the top down."""
    colours = (SIGNED if signed else WARM)(np.linspace(1, 0, 17))[:, :3]
    return ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in colours * 255)


def _asked(answer: PhotoExplanation) -> list[tuple[str, str]]:
    """Return the rows of the table of settings: the question, and the network that answered."""
    network, first = answer.classifier, answer.comparison[0]
    preprocess = network.preprocess
    how = {"crop": "shorter side resized, middle cut out", "stretch": "stretched to a square"}[preprocess.resize]
    layer = next((one.layer for one in answer.comparison if one.layer is not None), None)
    rows = [
        ("photo", answer.photo),
        ("network", network.about if network.about.startswith(network.name) else f"{network.name}: {network.about}"),
        ("asked about", f"{answer.target} ({'the predicted class' if answer.settings.target is None else 'as asked'})"),
        ("score (logit)", f"{first.score:.4g}"),
        ("methods", ", ".join(one.method for one in answer.comparison)),
        *([("layer", layer)] if layer is not None else []),
    ]
    for method, options in answer.settings.options.items():
        rows += [(f"{method}.{key}", str(value)) for key, value in options.items()]
    rows += [
        ("input", f"{preprocess.channels} x {preprocess.size} x {preprocess.size}, {how}, {preprocess.interpolation}"),
        ("mean, std", f"{_numbers(preprocess.mean)}; {_numbers(preprocess.std)}"),
        ("time", f"{answer.comparison.seconds:.2g} s in all"),
        ("versions", f"cnnlab {cnnlab.__version__}, torch {torch.__version__}"),
    ]
    return rows


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
