"""``cnnlab data``: what data sets there are and how they look."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnlab.cli._options import DataDir, FileColumn, Json, LabelColumn, Layout, Seed, figure_option, reading_of
from cnnlab.cli._output import print_json, print_table
from cnnlab.console import size, table
from cnnlab.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Augment, DataFacts, ImageData

_MOST_CLASSES = 100  # rows of a figure
_PHOTO_SIZE = 128  # pixels: side of the pictures of a figure when the files have various sizes


def data(
    name: Annotated[
        str | None, typer.Argument(help="Data set, folder of photos, or CSV file; all if left out.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Augmentation to show, such as cutout=8.")
    ] = None,
    figure: Annotated[Path | None, figure_option("samples of each class")] = None,
    augmented: Annotated[bool, typer.Option("--augmented", help="Draw what the network sees in training.")] = False,
    recipe: Annotated[str | None, typer.Option("--recipe", "-r", help="Augmentation and size of this recipe.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test: where the samples come from.")] = "train",
    per_class: Annotated[
        int | None, typer.Option(min=1, max=50, help="Samples of each class; 10 or 6 if not given.")
    ] = None,
    seed: Seed = 0,
    data_dir: DataDir = None,
    layout: Layout = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    as_json: Json = False,
) -> None:
    """List the data sets; or say what one is, your own included, and draw samples of it.

    Examples: `cnnlab data` · `cnnlab data photos/` · `cnnlab data cifar10 --figure grid.png` ·
    `cnnlab data cifar10 --figure seen.png --augmented cutout=8`
    """
    if name is None:
        if figure or augmented or recipe or split != "train" or per_class:
            raise UsageError("Which data set? Write `cnnlab data NAME --figure FILE`; `cnnlab data` lists the names.")
        _list(as_json)
        return
    if (augmented or recipe or changes or split != "train" or per_class) and figure is None:
        raise UsageError("Name the file to draw to: --figure grid.png.")
    shown = _augmentation_wanted(changes or [], recipe) if augmented or recipe or changes else None

    from cnnlab.data import data_sets, load_data

    reading = reading_of(layout, label_column, file_column)
    loaded = load_data(name, data_dir=data_dir, seed=seed, progress=sys.stderr.isatty() and not as_json, **reading)
    facts = data_sets.get(name).facts if name in data_sets else None
    described = _describe(loaded, facts)
    if figure is not None:
        described["figure"] = str(_draw(loaded, facts, figure, shown, split, per_class, seed))
    _show(described, as_json)


def _list(as_json: bool) -> None:
    from dataclasses import asdict

    from cnnlab.data import data_sets

    if as_json:
        print_json([{"name": entry.name, **asdict(entry.facts), "summary": entry.summary} for entry in data_sets])
        return
    rows = []
    for entry in sorted(data_sets, key=lambda entry: entry.facts.download_bytes > 0):
        facts = entry.facts
        height, width = facts.size
        image, download = f"{facts.channels}x{height}x{width}", size(facts.download_bytes or None)
        counts = f"{facts.counts[0]:,}", f"{facts.counts[2]:,}"
        rows.append((entry.name, facts.classes, image, *counts, download, facts.title))
    print_table(table(("name", ">classes", ">image", ">train", ">test", ">download", "what"), rows))
    typer.echo("A folder of class folders or a CSV file works wherever a name does.", err=True)


def _describe(loaded: ImageData, facts: DataFacts | None) -> dict[str, Any]:
    from cnnlab.data import class_counts

    described: dict[str, Any] = {"name": loaded.name, "source": loaded.source}
    if facts is not None:
        described |= {"title": facts.title, "citation": facts.citation, "url": facts.url}
        described |= {"mean": facts.mean, "std": facts.std}
    described["understood"] = loaded.notes
    described["classes"] = loaded.classes
    described["counts"] = {
        name: dict(zip(loaded.classes, class_counts(part, loaded.classes).tolist(), strict=True))
        for name, part in loaded.splits().items()
    }
    described["skipped"] = [{"file": file, "reason": why} for file, why in loaded.skipped]
    return described


def _show(described: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(described)
        return
    typer.echo(f"{described['name']}: {described.get('title', 'your own data')}")
    for note in described["understood"]:
        typer.echo(f"  {note}")
    if "mean" in described:
        mean, std = (", ".join(f"{value:.4f}" for value in described[key]) for key in ("mean", "std"))
        typer.echo(f"  mean {mean}, std {std} (of pixels in 0..1)")
        typer.echo(f"  {described['citation']}; {described['url']}")
    if described["skipped"]:
        command = shlex.join(["cnnlab", "doctor", described["source"], "--json"])
        typer.echo(f"Unreadable files were left out; `{command}` lists them all.", err=True)
    if "figure" in described:
        typer.echo(f"figure: {described['figure']}")


def _augmentation_wanted(changes: list[str], recipe: str | None) -> tuple[Augment | None, int | None, float]:
    """Return (augmentation, image size, crop fraction) of a recipe with changes; None where the default is meant."""
    from cnnlab.training import Recipe, load_recipe

    chosen = load_recipe(recipe) if recipe else Recipe.make({})
    keys = [change if change.startswith("augment.") else f"augment.{change}" for change in changes]
    chosen = chosen.with_overrides(keys)
    given = chosen.augment if recipe or changes else None
    return given, chosen.image_size if recipe else None, chosen.crop_fraction or 1.0


def _draw(
    loaded: ImageData,
    facts: DataFacts | None,
    path: Path,
    shown: tuple[Augment | None, int | None, float] | None,
    split: str,
    per_class: int | None,
    seed: int,
) -> Path:
    from cnnlab import figures
    from cnnlab.data import Augment, Loader, Preprocess
    from cnnlab.errors import did_you_mean

    splits = loaded.splits()
    if split not in splits:
        raise UsageError(
            f'{loaded.name} has no split "{split}", only {", ".join(splits)}. {did_you_mean(split, splits)}'
        )
    part = splits[split]
    augment, size, crop_fraction = shown or (Augment(), None, 1.0)
    varied = part.photos
    size = size or (_PHOTO_SIZE if varied or part.size is None else max(part.size))
    if augment is None:
        # What recipes for these kinds of images do: colour photos are shifted by an eighth and mirrored.
        colour = part.channels == 3
        augment = Augment(flip=colour, crop=0 if varied else max(1, size // (8 if colour else 14)))
        augment = augment.model_copy(update={"crop_scale": 0.35}) if varied else augment
    preprocess = Preprocess(
        size=size,
        channels=part.channels,
        mean=facts.mean if facts else (0.5,) * part.channels,
        std=(0.5,) * part.channels,
        resize="crop" if varied else "stretch",
        crop_fraction=crop_fraction if varied else 1.0,
    )
    classes = loaded.classes[:_MOST_CLASSES]
    count = per_class or (10 if len(classes) <= 25 else 6)
    chosen = _samples(part.labels.numpy(), len(classes), count, seed)
    rows = part.subset(chosen[chosen >= 0].tolist())
    loader = Loader(rows, preprocess, len(rows), classes=len(loaded.classes), augment=augment, seed=seed)
    batch = next(iter(loader.epoch(0)))
    pixels = preprocess.denormalize(batch.images.contiguous()).permute(0, 2, 3, 1).numpy()
    grid = _filled(pixels, chosen)
    title = f"{loaded.name}, {split}"
    if shown:
        on = {key: value for key, value in augment.model_dump().items() if value}
        title += " as the network sees it: " + (", ".join(_setting(k, v) for k, v in on.items()) or "unchanged")
    if len(classes) < len(loaded.classes):
        title += f" (the first {len(classes)} of {len(loaded.classes)} classes)"
    return figures.save(figures.sample_grid(grid, classes, title), path)


def _setting(key: str, value: Any) -> str:
    return key if value is True else f"{key} {value}"


def _samples(labels: np.ndarray, classes: int, count: int, seed: int) -> np.ndarray:
    """Return int64 (classes, count): positions drawn from each class, -1 where a class has too few."""
    import numpy as np

    rng = np.random.default_rng(seed)
    chosen = np.full((classes, count), -1)
    for label in range(classes):
        drawn = rng.permutation(np.flatnonzero(labels == label))[:count]
        chosen[label, : len(drawn)] = drawn
    return chosen


def _filled(pixels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Arrange pixels (n, S, S, C) as (classes, count, S, S, C), white where there is no image."""
    import numpy as np

    grid = np.full((*chosen.shape, *pixels.shape[1:]), 255, np.uint8)
    grid[chosen >= 0] = pixels
    return grid
