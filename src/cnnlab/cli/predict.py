"""``cnnlab predict``: predict the classes of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._options import CsvFile, Device, Json, Network
from cnnlab.cli._output import print_json, print_table, write_csv
from cnnlab.console import percent, table
from cnnlab.hardware import wait_briefly

if TYPE_CHECKING:
    from cnnlab.runs import Classifier
    from cnnlab.runs.predict import Predictions


def predict(
    run: Network,
    images: Annotated[list[Path], typer.Argument(metavar="FILES|FOLDER...", help="Images; folders are searched.")],
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to name per image.")] = 3,
    csv_file: CsvFile = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the pictures with their answers: png, svg, pdf.")
    ] = None,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    as_json: Json = False,
) -> None:
    """Predict the classes of images. Unreadable files are named and left out; the exit code is then 1.

    Examples: `cnnlab predict runs/lenet5-mnist5k-1 digit.png` · `cnnlab predict RUN photos/ --csv answers.csv` ·
    `cnnlab predict efficientnet_lite0 photo.jpg` · `cnnlab predict RUN photos/val --figure answers.png`
    """
    wait_briefly()
    from cnnlab.data.walk import image_files
    from cnnlab.runs import open_classifier
    from cnnlab.runs.predict import predict as predict_images

    classifier, files = open_classifier(run, device), image_files(images)
    typer.echo("\n".join([f"network: {classifier.about}", *files.ignored.notes()]), err=True)
    answers = predict_images(classifier, files.paths, top_k=top_k, batch_size=batch_size)
    k = max((len(answer.top) for answer in answers), default=0)
    if csv_file is not None:
        ranks = [f"{word}_{rank}" for rank in range(1, k + 1) for word in ("label", "confidence")]
        rows = [[answer.file, *(value for pair in answer.top for value in pair)] for answer in answers]
        write_csv(csv_file, ["file", *ranks], rows)
    if figure is not None and answers:
        _draw(answers, classifier, figure)
    if as_json:
        failed = [{"file": file, "reason": reason} for file, reason in answers.failed]
        print_json({"predictions": [answer.to_dict() for answer in answers], "failed": failed})
    elif answers:
        titles = ("file", "prediction", ">confidence", "then")[: 4 if k > 1 else 3]
        lines = []
        for answer in answers:
            others = ", ".join(f"{name} {percent(share)}" for name, share in answer.top[1:])
            lines.append((answer.file, answer.label, percent(answer.confidence), others)[: len(titles)])
        print_table(table(titles, lines))
    for file, reason in answers.failed:
        typer.echo(f"left out {file}: {reason}", err=True)
    if answers.failed:
        typer.echo(f"{len(answers.failed)} of {len(answers) + len(answers.failed)} files could not be read.", err=True)
        raise typer.Exit(1)


def _draw(answers: Predictions, classifier: Classifier, path: Path) -> None:
    from cnnlab import figures
    from cnnlab.runs.predict import MOST_DRAWN, draw_predictions

    drawn = draw_predictions(answers, classifier.classes, depth=classifier.preprocess.depth)
    path = figures.save(drawn, path)
    left_out = len(answers) - MOST_DRAWN
    rest = f"; {left_out} further images are not drawn" if left_out > 0 else ""
    typer.echo(f"figure: {path}{rest}", err=True)
