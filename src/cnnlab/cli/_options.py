"""The arguments and options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_DEVICE = typer.Option(help="auto, cpu, cuda, cuda:N or mps.")
_SEED = typer.Option(min=0, help="Seed of everything random: the same seed gives the same result.")

Network = Annotated[str, typer.Argument(metavar="RUN|MODEL", help="Folder of a run, or a network with known weights.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/lenet5-mnist5k-1.")]
DataName = Annotated[str, typer.Argument(metavar="DATA", help="Data set, folder of photos, or CSV file.")]
Photo = Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo.")]
Photos = Annotated[list[Path], typer.Argument(metavar="PHOTO|FOLDER...", help="Photos; folders are searched.")]

Device = Annotated[str, _DEVICE]
DeviceOfRecipe = Annotated[str | None, _DEVICE]
Seed = Annotated[int, _SEED]
SeedOfRecipe = Annotated[int | None, _SEED]
MovedData = Annotated[Path | None, typer.Option("--data", "-d", help="Where the run's data lies now, if it was moved.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder to look for data sets in first.")]
Layout = Annotated[
    # Without its name here, typer 0.27 calls the option after its metavar.
    str | None,
    typer.Option("--layout", metavar="LAYOUT", help="How a folder is read: auto, classes, splits or flat."),
]
LabelColumn = Annotated[str | None, typer.Option(help="Column of a CSV file with the labels; guessed by default.")]
FileColumn = Annotated[str | None, typer.Option(help="Column of a CSV file with the image files; likewise.")]
LooksFolder = Annotated[
    Path | None, typer.Option("--out", help="Folder to write to; looks/COMMAND-NAME-N by default. Never overwritten.")
]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table to this CSV file.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard event files into the run.")]


def reading_of(layout: str | None, label_column: str | None, file_column: str | None) -> dict[str, Any]:
    """Return the options about reading a folder or CSV file that were given, as arguments of ``load_data``."""
    options = {"layout": layout, "label_column": label_column, "file_column": file_column}
    return {key: value for key, value in options.items() if value is not None}


def is_named(context: typer.Context, name: str) -> bool:
    """Return whether an option stands on the command line; otherwise its value is the default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def absolute_weights(weights: str | None) -> str | None:
    """Return weights with a path that is good from any folder; a folder called as known weights does not hide them."""
    if weights in (None, "", "null", "None"):  # as YAML, `weights=null` takes the weights of a recipe away
        return None
    from cnnlab.zoo import is_trained_data

    named = weights == "imagenet" or is_trained_data(weights)
    return str(Path(weights).resolve()) if not named and Path(weights).exists() else weights


def layer_option(default: str) -> Any:
    """Declare ``--layer``; ``default`` says which layer is taken when none is named."""
    return typer.Option("--layer", help=f"Name of a layer, as `cnnlab summary` lists it; {default} by default.")


def figure_option(content: str) -> Any:
    """Declare ``--figure``; ``content`` says what is drawn."""
    return typer.Option("--figure", "-f", metavar="FILE", help=f"Draw {content} to this file (png, svg, pdf).")
