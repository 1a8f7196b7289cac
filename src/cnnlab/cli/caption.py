"""``cnnlab caption``: train a network that describes images, and let it describe some."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli._options import DataDir, Device, DeviceOfRecipe, Json, MovedData, RunPath, SeedOfRecipe, figure_option
from cnnlab.cli._output import list_keys
from cnnlab.errors import UsageError

caption = typer.Typer(
    help="Describe images in sentences: a convolutional network reads the image, a recurrent one writes.",
    no_args_is_help=True,
)


@caption.command()
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE [KEY=VALUE]...",
            help="attention, lstm, rnn, coco-lstm, flickr8k-attention or a YAML file; attention if none is named.",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="scenes, coco, or a folder of photos with captions.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make, runs/<recipe>-<data>-<n> by default.")] = None,
    beam: Annotated[int, typer.Option(help="Width of the beam for the scores at the end; 1 is greedy.")] = 3,
    seed: SeedOfRecipe = None,
    device: DeviceOfRecipe = None,
    data_dir: DataDir = None,
    keys: Annotated[bool, typer.Option("--keys", help="List the settings and leave.")] = False,
    as_json: Json = False,
) -> None:
    """Train a captioning network, and score its sentences about held-out images.

    Examples: `cnnlab caption train` · `cnnlab caption train lstm epochs=4` ·
    `cnnlab caption train coco-lstm --data-dir datasets`
    """
    from cnnlab.generate.captions.recipe import NAMED_DATA, CaptionRecipe, load_caption_recipe
    from cnnlab.training.shipped import absolute_data

    if keys:
        list_keys(CaptionRecipe, as_json)
        return
    names = [text for text in arguments or [] if "=" not in text]
    if len(names) > 1:
        raise UsageError(f"One recipe at a time, not {', '.join(names)}. Settings are key=value.")
    from cnnlab.cli._caption import train_captions
    from cnnlab.generate.captions.decode import check_width
    from cnnlab.generate.captions.loop import fit_captions
    from cnnlab.generate.captions.recorder import CaptionRecorder

    check_width(beam)
    settings = [text for text in arguments or [] if "=" in text]
    options = {"data": absolute_data(data, NAMED_DATA) if data else None, "seed": seed, "device": device}
    options |= {"data_dir": str(data_dir.resolve()) if data_dir else None}
    recipe = load_caption_recipe(names[0] if names else "attention")
    recipe = recipe.with_overrides(settings, **{key: value for key, value in options.items() if value is not None})
    train_captions(fit_captions(recipe), CaptionRecorder(out), beam, as_json)


@caption.command()
def sample(
    run: RunPath,
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PHOTO|FOLDER", help="Photos; without any, images of the run's data."),
    ] = None,
    beam: Annotated[int, typer.Option(help="Width of the beam; 1 is greedy.")] = 3,
    split: Annotated[str, typer.Option(help="Split of the run's data: train, val, test or held_out.")] = "val",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of images of the split.")] = 8,
    figure: Annotated[Path | None, figure_option("the images, or of a single one its attention,")] = None,
    data: MovedData = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Describe photos, or images of the run's data beside their reference captions.

    Unreadable photos are named and left out; the exit code is then 1.

    Examples: `cnnlab caption sample runs/attention-scenes-1` · `cnnlab caption sample RUN photo.png -f attention.png`
    """
    from cnnlab.cli._caption import sample_data, sample_photos
    from cnnlab.generate.captions.decode import check_width
    from cnnlab.generate.captions.folder import CaptionFolder

    check_width(beam)
    folder = CaptionFolder(run)
    if photos:
        sample_photos(folder.captioner(device), photos, beam, figure, as_json)
    else:
        sample_data(folder, folder.captioner(device), (split, count), data, beam, figure, as_json)
