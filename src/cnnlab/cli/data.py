"""``cnnlab data``: list the data sets, describe one, and draw samples of it."""

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
    from cnnlab.data import DataFacts, ImageData
    from cnnlab.data.samples import TrainingView


def data(
    name: Annotated[
        str | None, typer.Argument(help="Data set, folder of photos, or CSV file; all if left out.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Augmentation to show, such as cutout=8.")
    ] = None,
    figure: Annotated[Path | None, figure_option("samples of each class")] = None,
    augmented: Annotated[bool, typer.Option("--augmented", help="Draw the images as augmented in training.")] = False,
    recipe: Annotated[str | None, typer.Option("--recipe", "-r", help="Augmentation and size of this recipe.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test: where the samples come from.")] = "train",
    per_class: Annotated[
        int | None, typer.Option(min=1, max=50, help="Samples of each class; 10 or 6 by default.")
    ] = None,
    seed: Seed = 0,
    data_dir: DataDir = None,
    layout: Layout = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    as_json: Json = False,
) -> None:
    """List the data sets; or describe one, your own included, and draw samples of it.

    Examples: `cnnlab data` · `cnnlab data photos/` · `cnnlab data cifar10 --figure grid.png` ·
    `cnnlab data cifar10 --figure seen.png --augmented cutout=8`
    """
    if name is None:
        if figure or augmented or recipe or split != "train" or per_class:
            raise UsageError("Which data set? Write `cnnlab data NAME --figure FILE`; `cnnlab data` lists the names.")
        _list(as_json)
        return
    if wrong := [text for text in changes or [] if "=" not in text]:
        raise UsageError(f'"{wrong[0]}" is no key=value. One data set at a time; augmentation is as in cutout=8.')
    if (augmented or recipe or changes or split != "train" or per_class) and figure is None:
        raise UsageError("Name the file to draw to: --figure grid.png.")
    view = _training_view(changes or [], recipe) if augmented or recipe or changes else None

    from cnnlab.data import data_sets, load_data

    reading = reading_of(layout, label_column, file_column)
    loaded = load_data(name, data_dir=data_dir, seed=seed, progress=sys.stderr.isatty() and not as_json, **reading)
    facts = data_sets.get(name).facts if name in data_sets else None
    described = _describe(loaded, facts)
    if figure is not None:
        from cnnlab import figures
        from cnnlab.data.samples import draw_samples

        mean = facts.mean if facts else None
        samples = draw_samples(loaded, split, view=view, mean=mean, per_class=per_class, seed=seed)
        described["figure"] = str(figures.save(samples, figure))
    if as_json:
        print_json(described)
    else:
        _show(described)


def _list(as_json: bool) -> None:
    from dataclasses import asdict

    from cnnlab.data import data_sets

    if as_json:
        print_json([{"name": entry.name, **asdict(entry.facts), "summary": entry.summary} for entry in data_sets])
        return
    rows = []
    for entry in sorted(data_sets, key=lambda entry: entry.facts.download_bytes > 0):
        facts = entry.facts
        image = "x".join(map(str, (facts.channels, *facts.size)))
        counts = f"{facts.counts[0]:,}", f"{facts.counts[2]:,}"
        rows.append((entry.name, facts.classes, image, *counts, size(facts.download_bytes or None), facts.title))
    print_table(table(("name", ">classes", ">image", ">train", ">test", ">download", "what"), rows))
    typer.echo("A folder of class folders or a CSV file works wherever a name does.", err=True)


def _describe(loaded: ImageData, facts: DataFacts | None) -> dict[str, Any]:
    from cnnlab.data import class_counts

    told = ("title", "citation", "url", "mean", "std") if facts else ()
    counts = {
        name: dict(zip(loaded.classes, class_counts(part, loaded.classes).tolist(), strict=True))
        for name, part in loaded.splits().items()
    }
    return {
        "name": loaded.name,
        "source": loaded.source,
        **{key: getattr(facts, key) for key in told},
        "understood": loaded.notes,
        "classes": loaded.classes,
        "counts": counts,
        "skipped": [{"file": file, "reason": why} for file, why in loaded.skipped],
    }


def _show(described: dict[str, Any]) -> None:
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


def _training_view(changes: list[str], recipe: str | None) -> TrainingView:
    """Return the view of images in training with a recipe and changes; without both, the customary augmentation."""
    from cnnlab.data.samples import TrainingView
    from cnnlab.training import Recipe, load_recipe

    chosen = load_recipe(recipe) if recipe else Recipe.make({})
    chosen = chosen.with_overrides(
        change if change.startswith("augment.") else f"augment.{change}" for change in changes
    )
    augment = chosen.augment if recipe or changes else None
    return TrainingView(augment, chosen.image_size if recipe else None, chosen.crop_fraction or 1.0)
