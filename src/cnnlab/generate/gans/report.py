"""The report on the run of a GAN: one self-contained HTML page with samples, curves and measures."""

from __future__ import annotations

import base64
from pathlib import Path

from matplotlib.figure import Figure

from cnnlab import figures
from cnnlab.files import write_text
from cnnlab.generate.gans.folder import GanFolder
from cnnlab.generate.gans.pictures import class_figure, loss_curves
from cnnlab.runs.html import figure_markup, render
from cnnlab.training.yaml_text import write_yaml


def write_gan_report(run: GanFolder) -> Path:
    """Write ``report.html`` and return its path.

    Args:
        run: the run of a GAN; parts that it does not have yet, such as measures, are left out.
    """
    samples = run.sample_files()
    drawn: dict[str, Figure] = {"losses": loss_curves(run.metrics)} if run.metrics else {}
    measures = run.measures
    if counts := measures.get("class_counts"):
        drawn["classes"] = class_figure(counts)
    files = [("gif", "samples.gif"), ("lines", "interpolation.png")]
    files += [("nearest", "nearest.png")] if "copied" in measures else []  # else it is that of an earlier generator
    for figure in drawn.values():
        figures.to_png(figure)  # decides the layout
    page = render(
        "gan.html.j2",
        room="cnnlab.generate.gans",
        run=run,
        summary=run.summary,
        measures=measures,
        last=_data_uri(samples[-1]) if samples else "",
        pictures={name: _data_uri(run.figures / file) for name, file in files if (run.figures / file).is_file()},
        charts={name: figure_markup(figure, name) for name, figure in drawn.items()},
        recipe=write_yaml(run.recipe.changed()),
    )
    write_text(run.report_file, page)
    return run.report_file


def _data_uri(path: Path) -> str:
    return f"data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}"
