"""``cnnlab gan``: train a generator against a discriminator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli._options import DataDir, DeviceOfRecipe, Json, SeedOfRecipe
from cnnlab.cli._output import list_keys
from cnnlab.errors import UsageError


def gan(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME [KEY=VALUE]...",
            help="vanilla, least-squares, dcgan, stable32 or a YAML file; or the folder of a run, to measure it.",
        ),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Data set, folder of photos, or CSV file.")] = None,
    judge: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run of a classifier of the same data; it classifies the generated images."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make, runs/<name>-<data>-<n> by default.")] = None,
    seed: SeedOfRecipe = None,
    device: DeviceOfRecipe = None,
    data_dir: DataDir = None,
    keys: Annotated[bool, typer.Option("--keys", help="List the settings and leave.")] = False,
    as_json: Json = False,
) -> None:
    """Train a generative adversarial network (GAN), draw its images, and measure its generator.

    Examples: `cnnlab gan dcgan --data mnist` · `cnnlab gan stable32 --data cifar10 epochs=20` ·
    `cnnlab gan runs/dcgan-mnist-1 --judge runs/lenet5-mnist-1`
    """
    from cnnlab.data import data_sets
    from cnnlab.generate.gans.recipe import GanRecipe, list_gan_recipes, load_gan_recipe
    from cnnlab.training.shipped import absolute_data

    if keys:
        list_keys(GanRecipe, as_json)
        return
    names = [text for text in arguments or [] if "=" not in text]
    if len(names) != 1:
        raise UsageError(f"Name one GAN: {', '.join(list_gan_recipes())}, or a YAML file. Settings are key=value.")
    classifier = None
    if judge is not None:
        from cnnlab.runs import open_classifier

        classifier = open_classifier(judge, device or "auto")
    settings = [text for text in arguments or [] if "=" in text]
    place = absolute_data(data, data_sets) if data else None
    if names[0] not in list_gan_recipes() and Path(names[0]).is_dir():  # ./dcgan names a folder beside the recipe
        from cnnlab.cli._gan import measure_again

        if refused := [*settings, *(["--seed"] if seed is not None else []), *(["--out"] if out else [])]:
            raise UsageError(f"{names[0]} is trained already; it takes no settings ({', '.join(refused)}).")
        measure_again(names[0], classifier, place, data_dir, as_json, device or "auto")
        return
    from cnnlab.cli._gan import train_new

    options = {"data": place, "seed": seed, "device": device}
    options |= {"data_dir": str(data_dir.resolve()) if data_dir else None}
    recipe = load_gan_recipe(names[0])
    recipe = recipe.with_overrides(settings, **{key: value for key, value in options.items() if value is not None})
    train_new(recipe, out, classifier, as_json)
