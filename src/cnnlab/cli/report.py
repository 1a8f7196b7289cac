"""``cnnlab report``: the page of a run."""

from __future__ import annotations

import typer

from cnnlab.cli._options import RunPath


def report(run: RunPath) -> None:
    """Write report.html and the figures of a run, and print where the page is."""
    from cnnlab.runs import open_run

    typer.echo(f"report: {open_run(run).report()}")
