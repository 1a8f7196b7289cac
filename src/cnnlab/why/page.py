"""A page about a diagnosis: one HTML file that needs no other."""

from __future__ import annotations

from pathlib import Path

from cnnlab import figures
from cnnlab.files import write_text
from cnnlab.runs.html import figure_markup, render
from cnnlab.why.diagnosis import Diagnosis
from cnnlab.why.plots import figure_of


def write_page(diagnosis: Diagnosis, path: str | Path) -> Path:
    """Write a diagnosis as a page and return the path.

    Args:
        diagnosis: the diagnosis.
        path: the HTML file.

    Raises:
        RunError: the file cannot be written.
    """
    rows = []
    for number, finding in enumerate(diagnosis.findings):
        drawn = None
        if finding.plot is not None:
            figure = figure_of(finding.plot)
            figures.to_png(figure, dpi=20)  # decides the layout
            drawn = figure_markup(figure, f"plot{number}")
        rows.append((finding, drawn))
    path = Path(path)
    write_text(path, render("why.html.j2", room="cnnlab.why", diagnosis=diagnosis, rows=rows))
    return path
