"""``cnnlab report``: the page of a run."""

from __future__ import annotations

import typer

from cnnlab.cli._options import RunPath


def report(run: RunPath) -> None:
    """Write report.html and the figures of a run, and print where the page is."""
    from cnnlab.runs import open_run
    from cnnlab.runs.training_folder import kind_of_run

    if kind_of_run(run) == "GAN":
        from cnnlab.generate.gans.folder import GanFolder
        from cnnlab.generate.gans.report import write_gan_report

        typer.echo(f"report: {write_gan_report(GanFolder(run))}")
        return
    typer.echo(f"report: {open_run(run).report()}")
