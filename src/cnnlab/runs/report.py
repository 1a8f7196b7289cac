"""``report.html``: everything about a run in one file that needs no network, in light and dark, on screen and paper."""

from __future__ import annotations

import math
import shlex
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from torch import nn

from cnnlab import figures
from cnnlab.data import ImageData, Preprocess, Split
from cnnlab.errors import CnnlabError, ModelError
from cnnlab.explain import filters
from cnnlab.figures.pictures import to_picture
from cnnlab.files import write_text
from cnnlab.runs.compare import NOT_SETTINGS, flatten
from cnnlab.runs.evaluate import load_own_data, own_split
from cnnlab.runs.folder import RunFolder
from cnnlab.runs.html import figure_markup, picture_uri, render
from cnnlab.tracing import Layer, summarise
from cnnlab.training.metrics import CLASS_COLUMNS, Metrics, evaluate_scores, softmax
from cnnlab.training.recipe import Recipe

MISTAKES = 24  # pictures of mistakes
PHOTO_SIDE = 192  # pixels of a photo in the report
CONFUSIONS = 12  # most frequent mix-ups that are listed


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction.

    Attributes:
        name: file of the picture, or its split and position.
        truth: name of the true class.
        prediction: name of the predicted class.
        confidence: probability of the predicted class.
        picture: the picture as it enters the network, uint8 (H, W) or (H, W, 3); ``None`` where the data is gone.
        photo: whether the picture is a photo, which is drawn larger than the network's input.
    """

    name: str
    truth: str
    prediction: str
    confidence: float
    picture: np.ndarray | None
    photo: bool


def write_report(run: RunFolder, data: ImageData | None = None) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into the run folder and return the path of the page.

    An unfinished run gets a page too, with what there is so far.

    Args:
        run: an opened run.
        data: the run's data, when it is loaded already; else it is loaded to show pictures of mistakes.
    """
    # The summary of a run that was interrupted does not name the selected weights yet.
    summary = {"selected_on": None, "kept_epoch": None} | run.summary
    page: dict[str, Any] = {"run": run, "summary": summary, "notes": []}
    page["data_name"] = Path(run.recipe.data).name
    page |= _model_part(run)
    page["curves"] = _curves(run)
    if run.evaluated:
        page |= _scores_part(run, data, page["notes"])
    page["recipe"] = _recipe_rows(run)
    page["augmented"] = run.recipe.augment != type(run.recipe.augment)()
    page["smoothed"] = run.recipe.label_smoothing > 0
    page["environment"] = {key: value for key, value in run.env.items() if key != "format" and value is not None}
    page["next_steps"] = next_steps(run)
    page["skipped"] = run.summary.get("skipped", [])
    write_text(run.report_file, render("report.html.j2", **page))
    return run.report_file


def model_table(model: nn.Module, image_shape: tuple[int, int, int]) -> list[Layer]:
    """Return the layers of a network in the order in which they run, each once however often it runs.

    These are the modules without others inside that run, and those that own parameters.

    Args:
        model: network to describe; nothing is computed, and it is left as it was.
        image_shape: shape of an image, (C, H, W).
    """
    layers = summarise(model, (1, *image_shape)).layers
    holders = {layer.name.rpartition(".")[0] for layer in layers if layer.name}
    rows = [layer for layer in layers if layer.own_parameters or (layer.calls and layer.name not in holders)]
    return sorted(rows, key=lambda layer: math.inf if layer.rank is None else layer.rank)


def mistakes(
    run: RunFolder, logits: np.ndarray, labels: np.ndarray, data: ImageData | None, limit: int, notes: list[str]
) -> list[Mistake]:
    """Return the most confident wrong answers, the surest first, with their pictures where the data is still there.

    Args:
        run: an opened run.
        logits: scores of the evaluated split, (N, K).
        labels: true classes, (N,).
        data: the run's data, when it is loaded already.
        limit: largest number of mistakes.
        notes: list to which the reason is appended when there are no pictures.
    """
    answers, confidence = logits.argmax(axis=1), softmax(logits).max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    # Equally sure ones stay in the order of the data, so that the page is the same each time.
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit]
    if not len(worst):
        return []
    split = run.summary.get("split", "test")
    try:
        data = data or load_own_data(run)
        images: Split | None = own_split(run, data, split, notes)
    except CnnlabError as error:
        images, data = None, None
        notes.append(f"Pictures of the mistakes are missing: {error}")
    if images is not None and data is not None:
        truth = [data.classes[label] for label in images.labels.tolist()]
        if truth != [run.classes[label] for label in labels]:
            images = None
            notes.append("Pictures of the mistakes are missing: the data has changed since the run was evaluated.")
    files = run.evaluated_files()
    rows = []
    for index in worst.tolist():
        picture, photo = _picture(images, index, run.preprocess) if images is not None else (None, False)
        name = files[index] if index < len(files) and files[index] else f"{split} #{index}"
        truth_name, answer = run.classes[labels[index]], run.classes[answers[index]]
        rows.append(Mistake(name, truth_name, answer, float(confidence[index]), picture, photo))
    return rows


def _model_part(run: RunFolder) -> dict[str, Any]:
    """Return the values of the page about the network: its layers and the filters of its first convolution."""
    if not run.has_weights:
        return {"layers": [], "parameters": run.summary.get("parameters")}
    model = run.model()
    size, channels = run.preprocess.size, run.preprocess.channels
    layers = model_table(model, (channels, size, size))
    part: dict[str, Any] = {"layers": layers, "parameters": sum(p.numel() for p in model.parameters())}
    with suppress(ModelError):  # a network without a convolution has no filters
        first = filters(model)
        part["filters"] = _figure(run, "filters", figures.filters(first.weights))
        part["filters_layer"] = first.layer
    return part


def _curves(run: RunFolder) -> list[Markup]:
    """Return loss, accuracy and learning rate, each a figure of its own so that they wrap in a narrow window."""
    rows = run.metrics
    if not rows:
        return []
    selected = run.summary.get("kept_epoch", 0) if run.summary.get("selected_on") else 0
    held_out = {"val": "validation", "": "validation"}.get(rows[0]["split"], rows[0]["split"])
    figures.save(figures.curves(rows, marked=selected, held_out=held_out), run.figures / "curves.png")
    return [
        Markup(figures.to_svg(figures.curves(rows, [panel], marked=selected, held_out=held_out), f"curves-{panel[:4]}"))
        for panel in ("loss", "accuracy", "learning rate")
    ]


def _scores_part(run: RunFolder, data: ImageData | None, notes: list[str]) -> dict[str, Any]:
    """Return the values of the page that come from the scores of the evaluated split."""
    logits, labels = run.scores()
    metrics = evaluate_scores(logits, labels, run.classes)
    worst = mistakes(run, logits, labels, data, MISTAKES, notes)
    pictures = [m.picture for m in worst if m.picture is not None]
    if pictures:
        titles = [f"{m.name}\n{m.truth} → {m.prediction}\n{m.confidence:.1%}" for m in worst if m.picture is not None]
        figures.save(figures.image_grid(pictures, titles), run.figures / "mistakes.png")
    return {
        "metrics": metrics,
        "wrong": round(metrics.n * (1 - metrics.accuracy)),
        "confusion": _figure(run, "confusion", figures.confusion(metrics.confusion, run.classes)),
        "confusions": most_confused(metrics, CONFUSIONS),
        "class_columns": CLASS_COLUMNS,
        "per_class": sorted(metrics.per_class, key=lambda c: (c.f1 is None, c.f1)),
        "reliability": _figure(run, "reliability", reliability_figure(metrics)),
        "mistakes": [(m, "" if m.picture is None else picture_uri(m.picture)) for m in worst],
    }


def reliability_figure(metrics: Metrics) -> Figure:
    """Return the reliability diagram of ``metrics``."""
    bins = metrics.reliability
    confidence = [np.nan if b.confidence is None else b.confidence for b in bins]
    accuracy = [np.nan if b.accuracy is None else b.accuracy for b in bins]
    return figures.reliability(confidence, accuracy, [b.count for b in bins], metrics.calibration_error)


def most_confused(metrics: Metrics, limit: int) -> list[dict[str, Any]]:
    """Return the most frequent mix-ups: true class, predicted class, number, share of the true class."""
    names = [c.name for c in metrics.per_class]
    matrix = np.array(metrics.confusion)
    totals = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    rows, columns = np.nonzero(matrix)
    order = np.argsort(-matrix[rows, columns], kind="stable")[:limit]
    return [
        {
            "truth": names[r],
            "prediction": names[c],
            "count": int(matrix[r, c]),
            "share": float(matrix[r, c] / totals[r]),
        }
        for r, c in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]


def _figure(run: RunFolder, name: str, figure: Figure) -> Markup:
    """Save a figure as PNG and return it for the page."""
    figures.save(figure, run.figures / f"{name}.png")
    return figure_markup(figure, name)


def _recipe_rows(run: RunFolder) -> list[tuple[str, str, bool]]:
    """Return every key with its value, and whether it differs from the default; groups are written with dots."""
    defaults = flatten(Recipe.make({}).values())
    rows = []
    for key, value in flatten(run.recipe.values()).items():
        if key in NOT_SETTINGS:
            continue
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        rows.append((key, text, key not in defaults or defaults[key] != value))
    return rows


def next_steps(run: RunFolder) -> list[str]:
    """Return three commands worth trying after a run."""
    recipe, path, data = run.recipe, shlex.quote(str(run.path)), shlex.quote(run.recipe.data)
    inspect = (
        f"cnnlab predict {path} {data}" if Path(recipe.data).is_dir() else f"cnnlab data {data} --figure samples.png"
    )
    simple = "mnist_cnn" if run.preprocess.channels == 1 else "convnet"
    other = next(name for name in (simple, "resnet18") if name != recipe.model)
    on = "" if recipe.data == "mnist5k" else f" --data {data}"
    train = f"cnnlab train {other}{on}"
    if recipe.freeze != "none" and recipe.weights == "imagenet" and not recipe.unfreeze_at:
        train = f"cnnlab train {recipe.model}{on} --weights imagenet"  # all of it
    return [f"cnnlab evaluate {path}", inspect, train]


def _picture(images: Split, index: int, preprocess: Preprocess) -> tuple[np.ndarray | None, bool]:
    """Return a picture as it enters the network, uint8 (H, W) or (H, W, 3), and whether it is a photo."""
    photo = images.size is None or max(images.size) > 96
    display = replace(preprocess, size=max(preprocess.size, PHOTO_SIDE)) if photo else preprocess
    try:
        pixels = images.image(index, display)
    except CnnlabError:
        return None, photo  # the file was removed since: the page shows its name alone
    return to_picture(pixels), photo
