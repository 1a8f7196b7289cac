"""``cnnlab experiments``: the studies, their claims, and the answers so far."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnlab.cli._options import Json
from cnnlab.cli._output import print_json, print_table

if TYPE_CHECKING:
    from cnnlab.experiments.results import ClaimResult
    from cnnlab.experiments.study import Claim, Study

Results = Annotated[
    Path | None, typer.Option("--results", metavar="FOLDER", help="Folder with the results of studies: results.")
]


def experiments(
    pattern: Annotated[str, typer.Argument(help='Which studies, such as "batch*".')] = "*",
    results: Results = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the table to this Markdown file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List textbook claims about CNNs with their sources, and what was measured about them so far.

    Example: `cnnlab experiments "batch*"`; then `cnnlab experiment batchnorm` measures one.
    """
    from cnnlab.console import table
    from cnnlab.errors import UsageError
    from cnnlab.experiments.answers import answers_so_far, what_we_measured
    from cnnlab.experiments.pages import verdict_line
    from cnnlab.files import write_text

    if results and not results.is_dir():
        raise UsageError(f"There is no folder {results}. Name the one that holds the folders of the studies.")
    answers = answers_so_far(pattern, results or Path("results"))
    if not answers:
        raise UsageError(f'No study is called "{pattern}". `cnnlab experiments` lists them all.')
    if markdown is not None:
        write_text(markdown, what_we_measured(answers))
        typer.echo(f"table: {markdown}", err=True)
    elif as_json:
        print_json([_values(study, claim, one) for study, claim, one in answers])
    else:
        rows = [
            (study.name, claim.text, claim.source, *(
                (one.verdict.answer, verdict_line(one)) if one else ("not measured", "")
            ))
            for study, claim, one in answers
        ]  # fmt: skip
        print_table(table(("study", "claim", "source", "answer", "numbers"), rows))


def _values(study: Study, claim: Claim, one: ClaimResult | None) -> dict[str, Any]:
    values: dict[str, Any] = {"study": study.name, "claim": claim.text, "source": claim.source, "unit": claim.unit}
    if one is None:
        return values | {"answer": None}
    verdict = one.verdict
    return values | {
        "answer": verdict.answer, "effect": verdict.effect, "interval": [verdict.low, verdict.high],
        "interval_over_images": one.images, "n": verdict.n, "diverged": verdict.diverged, "p": verdict.p,
        "adjusted_p": verdict.adjusted_p, "needed": verdict.needed,
    }  # fmt: skip
