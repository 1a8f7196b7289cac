"""``cnnlab experiment``: measure a textbook claim, all variants side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli._options import DataDir, Json
from cnnlab.cli._output import print_json


def experiment(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Study, as `cnnlab experiments` lists it.")],
    scale: Annotated[str, typer.Option(help="tiny takes seconds, small minutes, full hours.")] = "small",
    seeds: Annotated[
        str | None, typer.Option(metavar="N|A-B", help="How many seeds, or which: 5, or 5-9; planned if not given.")
    ] = None,
    variants: Annotated[str, typer.Option(metavar="A,B", help="Only these variants, separated by commas.")] = "",
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Data set to use instead; mnist5k is always there.")
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; results/NAME if not given.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Remove what the folder holds, and begin anew.")] = False,
    as_json: Json = False,
) -> None:
    """Measure what textbooks claim: train all variants side by side, over several seeds, and judge the claim.

    It writes tables, figures and a page; when it is killed, the same command goes on where it was.

    Examples: `cnnlab experiment batchnorm` · `cnnlab experiment activations --seeds 5 --data mnist5k --out mine`
    """
    from rich.console import Console

    from cnnlab.cli._experiment_display import StudyDisplay
    from cnnlab.experiments.pages import verdict_line
    from cnnlab.experiments.results import parse_seeds
    from cnnlab.experiments.runner import run_study
    from cnnlab.experiments.study import find_study

    study = find_study(name)
    chosen = parse_seeds(seeds) if seeds else tuple(range(study.planned_seeds))
    console = Console(stderr=True)
    console.print(f"{study.title} ({len(chosen)} seeds, scale {scale})", highlight=False, markup=False)
    with StudyDisplay(study, chosen, console) as display:
        result = run_study(
            study, scale, seeds=chosen, variants=tuple(one.strip() for one in variants.split(",") if one.strip()),
            data=data, data_dir=data_dir, out=out, again=again, display=None if as_json else display.take,
        )  # fmt: skip
    folder = out or Path("results") / study.name
    if as_json:
        print_json({"study": study.name, "folder": str(folder), **result.facts, "claims": [
            {"claim": one.claim.text, "answer": one.verdict.answer, "effect": one.verdict.effect,
             "interval": [one.verdict.low, one.verdict.high], "adjusted_p": one.verdict.adjusted_p}
            for one in result.claims
        ]})  # fmt: skip
        return
    if not result.measured:
        console.print(f"All seeds lie in {folder} already; --again measures them anew.", highlight=False, markup=False)
    for one in result.claims:
        typer.echo(f"{one.verdict.answer}: {one.claim.text}")
        typer.echo(f"  {verdict_line(one)}")
    typer.echo(f"page: {folder / 'index.html'}")
