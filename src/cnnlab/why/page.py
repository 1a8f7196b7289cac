"""A page about a diagnosis: one HTML file that needs no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cnnlab import figures
from cnnlab.files import write_text
from cnnlab.runs.html import figure_markup, render
from cnnlab.why.diagnosis import Diagnosis, Plot


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


def figure_of(plot: Plot) -> Figure:
    """Draw a plot."""
    if plot.kind == "images":
        pictures = []
        for rows in plot.series.values():
            picture = np.asarray(rows, dtype=float)
            low, high = np.nanmin(picture), np.nanmax(picture)
            pictures.append((picture - low) / (high - low) if high > low else np.full(picture.shape, 0.5))
        return figures.image_grid(pictures, list(plot.series), columns=min(6, len(pictures)))
    if plot.kind == "bars":
        return figures.bars({name: float(f"{values[0]:.3g}") for name, values in plot.series.items()}, plot.x)
    lines = {name: (np.arange(1, len(values) + 1), np.asarray(values, float)) for name, values in plot.series.items()}
    values = np.concatenate([ys for _, ys in lines.values()])
    positive = values[np.isfinite(values) & (values > 0)]
    wide = len(positive) == len(values) and positive.max() > 1000 * positive.min()
    return figures.lines({"": lines}, plot.x, plot.y, log_y=bool(wide))
