"""``report.html``: everything about a run in one file that needs no network, in light and dark, on screen and paper."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import cnnlab
from cnnlab import figures
from cnnlab.console import duration, percent
from cnnlab.data import ImageData, Preprocess, Split
from cnnlab.errors import CnnlabError
from cnnlab.figures.images import to_picture
from cnnlab.files import write_text
from cnnlab.runs.compare import flatten
from cnnlab.runs.evaluate import load_own_data, own_split
from cnnlab.runs.folder import Run
from cnnlab.tracing import Layer, summarise
from cnnlab.training.metrics import Metrics, evaluate_scores
from cnnlab.training.recipe import Recipe

MISTAKES = 24  # pictures of mistakes
PHOTO_SIDE = 192  # pixels of a photo in the report
CONFUSIONS = 12  # most frequent mix-ups that are listed


@dataclass(frozen=True)
class Mistake:
    """A picture that was taken for something else."""

    name: str
    truth: str
    guess: str
    confidence: float
    picture: np.ndarray | None  # uint8 (H, W) or (H, W, 3)
    photo: bool


def write_report(run: Run, data: ImageData | None = None) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into the run folder and return the path of the page.

    An unfinished run gets a page too, with what there is so far.

    Args:
        run: an opened run.
        data: the run's data, when it is loaded already; else it is loaded to show pictures of mistakes.
    """
    # A run that was cut off does not say yet which weights it kept.
    summary = {"selected_on": None, "kept_epoch": None} | run.summary
    page: dict[str, Any] = {"run": run, "summary": summary, "version": cnnlab.__version__, "notes": []}
    page["data_name"] = Path(run.recipe.data).name
    page |= _model_part(run)
    page["curves"] = _curves(run)
    if (run.path / "scores.npz").is_file():
        page |= _scores_part(run, data, page["notes"])
    page["recipe"] = _recipe_rows(run)
    page["augmented"] = run.recipe.augment != type(run.recipe.augment)()
    page["smoothed"] = run.recipe.label_smoothing > 0
    page["environment"] = {key: value for key, value in run.env.items() if key != "format" and value is not None}
    page["next_steps"] = run.next_steps()
    page["skipped"] = run.summary.get("skipped", [])
    path = run.path / "report.html"
    write_text(path, page_template("report.html.j2").render(page))
    return path


def model_table(model: nn.Module, image_shape: tuple[int, int, int]) -> list[Layer]:
    """Return the layers of a network in the order in which they run, each once however often it runs.

    These are the modules without others inside that run, and those that own parameters.

    Args:
        model: any network; nothing is computed, and it is left as it was.
        image_shape: shape of an image, (C, H, W).
    """
    layers = summarise(model, (1, *image_shape)).layers
    holders = {layer.name.rpartition(".")[0] for layer in layers if layer.name}
    rows = [layer for layer in layers if layer.own_parameters or (layer.calls and layer.name not in holders)]
    return sorted(rows, key=lambda layer: math.inf if layer.rank is None else layer.rank)


def first_convolution(model: nn.Module) -> tuple[str, np.ndarray] | None:
    """Return name and weights (F, C, H, W) of the first convolution; ``None`` when the network has none."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module.weight.detach().float().numpy()
    return None


def mistakes(
    run: Run, logits: np.ndarray, labels: np.ndarray, data: ImageData | None, limit: int, notes: list[str]
) -> list[Mistake]:
    """Return the most confident wrong answers, the surest first, with their pictures where the data is still there.

    Args:
        notes: why there are no pictures is appended to it.
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    guesses, confidence = logits.argmax(axis=1), shifted.max(axis=1) / shifted.sum(axis=1)
    wrong = np.flatnonzero(guesses != labels)
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
    files = _file_names(run.path / "predictions.csv")
    found = []
    for index in worst.tolist():
        picture, photo = _picture(images, index, run.preprocess) if images is not None else (None, False)
        name = files[index] if index < len(files) and files[index] else f"{split} #{index}"
        found.append(
            Mistake(
                name, run.classes[labels[index]], run.classes[guesses[index]], float(confidence[index]), picture, photo
            )
        )
    return found


def _model_part(run: Run) -> dict[str, Any]:
    """The network: its layers and the filters of its first convolution."""
    if not (run.path / "model.safetensors").is_file():
        return {"layers": [], "parameters": run.summary.get("parameters")}
    model = run.model()
    size, channels = run.preprocess.size, run.preprocess.channels
    layers = model_table(model, (channels, size, size))
    part: dict[str, Any] = {"layers": layers, "parameters": sum(p.numel() for p in model.parameters())}
    if convolution := first_convolution(model):
        name, weights = convolution
        part["filters"] = _figure(run, "filters", figures.filters(weights))
        part["filters_about"] = {"name": name, "shape": weights.shape, "shown": min(len(weights), 96)}
    return part


def _curves(run: Run) -> list[Markup]:
    """Loss, accuracy and learning rate, each a figure of its own so that they wrap in a narrow window."""
    rows = run.metrics
    if not rows:
        return []
    kept = run.summary.get("kept_epoch", 0) if run.summary.get("selected_on") else 0
    held_out = {"val": "validation", "": "validation"}.get(rows[0]["split"], rows[0]["split"])
    figures.save(figures.curves(rows, marked=kept, held_out=held_out), run.path / "figures" / "curves.png")
    return [
        Markup(figures.to_svg(figures.curves(rows, [panel], marked=kept, held_out=held_out), f"curves-{panel[:4]}"))
        for panel in ("loss", "accuracy", "learning rate")
    ]


def _scores_part(run: Run, data: ImageData | None, notes: list[str]) -> dict[str, Any]:
    """Everything that comes from the scores of the evaluated split."""
    logits, labels = run.scores()
    metrics = evaluate_scores(logits, labels, run.classes)
    worst = mistakes(run, logits, labels, data, MISTAKES, notes)
    if any(mistake.picture is not None for mistake in worst):
        shown = [mistake for mistake in worst if mistake.picture is not None]
        titles = [f"{m.name}\n{m.truth} → {m.guess}\n{m.confidence:.1%}" for m in shown]
        grid = figures.image_grid([m.picture for m in shown if m.picture is not None], titles)
        figures.save(grid, run.path / "figures" / "mistakes.png")
    return {
        "metrics": metrics,
        "wrong": round(metrics.n * (1 - metrics.accuracy)),
        "confusion": _figure(run, "confusion", figures.confusion(metrics.confusion, run.classes)),
        "confusions": most_confused(metrics, CONFUSIONS),
        "per_class": sorted(metrics.per_class, key=lambda c: (c.f1 is None, c.f1)),
        "reliability": _figure(run, "reliability", reliability_figure(metrics)),
        "mistakes": [(mistake, _data_uri(mistake)) for mistake in worst],
    }


def reliability_figure(metrics: Metrics) -> Figure:
    """The reliability diagram of ``metrics``."""
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
        {"truth": names[r], "guess": names[c], "count": int(matrix[r, c]), "share": float(matrix[r, c] / totals[r])}
        for r, c in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]


def _figure(run: Run, name: str, figure: Figure) -> Markup:
    """Save a figure as PNG and return it for the page. Its texts are escaped by the XML writer."""
    figures.save(figure, run.path / "figures" / f"{name}.png")
    figure.set_layout_engine("none")  # the places are found; finding them again would take as long as drawing
    return Markup(figures.to_svg(figure, name))


def _recipe_rows(run: Run) -> list[tuple[str, str, bool]]:
    """Every key with its value, and whether it differs from the default; groups are written with dots."""
    defaults = flatten(Recipe.make({}).values())
    rows = []
    for key, value in flatten(run.recipe.values()).items():
        if key in ("name", "about", "reproduces", "measured"):
            continue
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        rows.append((key, text, key not in defaults or defaults[key] != value))
    return rows


def _picture(images: Split, index: int, preprocess: Preprocess) -> tuple[np.ndarray | None, bool]:
    """Return a picture as the network sees it, uint8 (H, W) or (H, W, 3), and whether it is a photo (shown larger)."""
    photo = images.size is None or max(images.size) > 96
    seen = replace(preprocess, size=max(preprocess.size, PHOTO_SIDE)) if photo else preprocess
    try:
        pixels = images.image(index, seen)
    except CnnlabError:
        return None, photo  # the file has gone since: its name alone is shown
    return to_picture(pixels), photo


def _data_uri(mistake: Mistake) -> str:
    """Return the picture as a data URI: JPEG for photos, PNG for small images, whose pixels matter."""
    if mistake.picture is None:
        return ""
    image = Image.fromarray(mistake.picture)
    buffer = io.BytesIO()
    if mistake.photo:
        image.save(buffer, "JPEG", quality=82)
    else:
        image.save(buffer, "PNG")
    kind = "jpeg" if mistake.photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _file_names(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [row["file"] for row in csv.DictReader(file)]


def page_template(name: str) -> jinja2.Template:
    """Return a template of this room; what is put into it is escaped unless it is Markup."""
    # Class names and file names come from strangers: everything is escaped unless it is Markup.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cnnlab.runs"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=_number, duration=duration, shape=_shape)
    return environment.get_template(name)


def _number(value: int) -> str:
    return f"{value:,}"


def _shape(shape: Iterable[int] | None) -> str:
    return "–" if shape is None else " × ".join(map(str, shape)) or "1"
