"""The pages of a study: Markdown beside its tables, and an HTML page to be projected."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cnnlab import figures
from cnnlab.console import duration
from cnnlab.experiments.results import ClaimResult, Result
from cnnlab.runs.html import figure_markup, render

COLUMNS = {"accuracy": "test accuracy", "loss": "test loss", "train_loss": "training loss"}


def effects_figure(result: Result) -> Figure:
    """Draw the effect of every claim with its interval over the seeds."""
    return figures.effects(
        [
            figures.Effect(c.claim.text, c.claim.unit, c.verdict.answer, c.effects, c.verdict.low, c.verdict.high,
                        c.claim.margin)
            for c in result.claims
            if c.verdict.n > 1
        ]
    )  # fmt: skip


def verdict_line(one: ClaimResult) -> str:
    """Say the verdict in numbers: effect, interval over seeds and images, n, p."""
    verdict, unit = one.verdict, one.claim.unit
    holm = p_value(verdict.adjusted_p)
    if verdict.n < 2:
        return f"{verdict.diverged} of {verdict.n + verdict.diverged} seeds diverged"
    parts = [
        f"{number(verdict.effect)} {unit} (95% interval over {verdict.n} seeds {span(verdict.low, verdict.high)}"
        + (f"; over test images {span(*one.images)})" if one.images else ")"),
        f"p = {p_value(verdict.p)}" + (f", {holm} after Holm" if verdict.adjusted_p != verdict.p else ""),
    ]
    if verdict.answer == "not borne out":
        worth = f"{number(one.claim.worth)} {unit}"
        parts.append(f"{worth}, the least worth claiming, is excluded (p = {p_value(verdict.adjusted_p_worth)})")
    if verdict.diverged:
        parts.append(f"{verdict.diverged} seed{'s' * (verdict.diverged > 1)} diverged")
    if verdict.answer == "cannot be told":
        parts.append(f"it would take {verdict.needed_seeds} seeds")
    return "; ".join(parts)


def number(value: float) -> str:
    """Write a number with its sign in three significant digits."""
    return f"{value:+.3g}"


def span(low: float, high: float) -> str:
    """Write the ends of an interval."""
    return f"{number(low)} to {number(high)}"


def p_value(p: float) -> str:
    """Write a probability in two significant digits."""
    return f"{p:.2g}"


def variant_rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return titles and cells of the table of variants: mean ± standard deviation over the seeds."""
    measured = [key for row in result.tables["results"] for key in row if key not in ("seed", "variant", "diverged")]
    columns = list(dict.fromkeys(measured))
    rows = []
    for variant in result.variants:
        own = [row for row in result.tables["results"] if row["variant"] == variant]
        cells = [variant]
        for column in columns:
            values = np.array([float(row.get(column, np.nan)) for row in own])
            values = values[np.isfinite(values)]
            cells.append(mean_and_std(values, column.endswith("accuracy")))
        cells.append(str(sum(int(row.get("diverged", 0)) for row in own)))
        rows.append(cells)
    titles = ["variant", *(COLUMNS.get(column, column.replace("_", " ")) for column in columns), "diverged"]
    if all(cells[-1] == "0" for cells in rows):
        return titles[:-1], [cells[:-1] for cells in rows]
    return titles, rows


def mean_and_std(values: np.ndarray, percent: bool) -> str:
    """Write mean ± standard deviation (n - 1)."""
    if not len(values):
        return "–"
    mean, std = values.mean(), values.std(ddof=1) if len(values) > 1 else None
    if percent:
        return f"{mean:.2%}" if std is None else f"{100 * mean:.2f} ± {100 * std:.2f}%"
    text = f"{mean:.4g}" if abs(mean) < 1e4 else f"{mean:,.0f}"
    if std is None:
        return text
    return f"{text} ± {std:.2g}" if std < 1e3 else f"{text} ± {std:,.0f}"


def how_measured(result: Result) -> str:
    """Say in one paragraph what was measured on what."""
    facts = result.facts
    threads = f"{facts['threads']} thread{'s' * (facts['threads'] != 1)}"
    return (
        f"{len(result.seeds)} seeds ({result.seeds[0]} to {result.seeds[-1]}), scale {facts['scale']}, data "
        f"{facts['data']}. {result.study.pairing} Measured in "
        f"{duration(facts['seconds'])} on {facts['machine']}, {threads} ({facts['versions']}), "
        f"{facts['date']}."
    )


def markdown(result: Result, pictures: Sequence[str]) -> str:
    """Return the result as Markdown, with links to the files of pictures beside it."""
    study = result.study
    lines = [f"# {study.title}", "", study.about, ""]
    for one in result.claims:
        lines += [f"- **{one.verdict.answer.capitalize()}**: {one.claim.text} ({one.claim.source})", ""]
        lines += [f"  {verdict_line(one)}", ""]
    if not result.claims:
        lines += ["No claim can be judged from the variants that were measured.", ""]
    lines += [line for name in pictures for line in (f"![{name[:-4].replace('_', ' ')}]({name})", "")]
    titles, rows = variant_rows(result)
    lines += ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    lines += ["", how_measured(result), "", f"Written by `cnnlab experiment {study.name}`.", ""]
    return "\n".join(lines)


def page(result: Result, drawn: Mapping[str, Figure], animations: Sequence[Path] = ()) -> str:
    """Return the result as one HTML file that needs no other, large enough to be projected.

    Args:
        result: the result.
        drawn: name of a figure -> the figure, whose layout has been decided.
        animations: GIF files.
    """
    titles, rows = variant_rows(result)
    shown = {"effects": effects_figure(result)} if any(one.verdict.n > 1 for one in result.claims) else {}
    for figure in shown.values():
        figures.to_png(figure)  # decides the layout
    pictures = [figure_markup(figure, name) for name, figure in {**shown, **drawn}.items()]
    return render(
        "study.html.j2",
        room="cnnlab.experiments",
        study=result.study,
        claims=[(one, verdict_line(one)) for one in result.claims],
        pictures=pictures,
        animations=[f"data:image/gif;base64,{base64.b64encode(path.read_bytes()).decode()}" for path in animations],
        titles=titles,
        rows=rows,
        how=how_measured(result),
    )
