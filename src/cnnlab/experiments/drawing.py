"""Figures that several studies share, drawn from their tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cnnlab import figures
from cnnlab.experiments.tables import Row, Tables
from cnnlab.figures.style import CYCLE, INK, LEGEND, PERCENT, new_figure, styled

CURVES = {"training loss": "train_loss", "test loss": "loss", "test accuracy": "accuracy"}


def training_curves(
    tables: Tables, variants: Sequence[str], panels: Mapping[str, str] = CURVES, x: str = "epoch", **style: Any
) -> Figure:
    """Draw the training curves of all variants: mean over the seeds, and their range.

    Args:
        tables: tables of the study, with ``curves``.
        variants: names of the variants, in the order of their colours.
        panels: title of a panel -> column of ``curves``; titles with "accuracy" are written as percent.
        x: column of ``curves`` along the horizontal axis.
        style: further arguments of :func:`cnnlab.figures.bands`.
    """
    return seed_bands(tables["curves"], variants, panels, x, **style)


def seed_bands(rows: Sequence[Row], variants: Sequence[str], panels: Mapping[str, str], x: str, **style: Any) -> Figure:
    """Draw columns of a table over one of its columns, a line per variant with its range over the seeds.

    Args:
        rows: rows of the table, with ``seed``, ``variant`` and the columns named below.
        variants: names of the variants to draw, in the order of their colours.
        panels: title of a panel -> name of a column; titles with "accuracy" are written as percent.
        x: name of the column along the horizontal axis.
        style: further arguments of :func:`cnnlab.figures.bands`.
    """
    drawn = {title: seed_lines(rows, variants, x, column) for title, column in panels.items()}
    style.setdefault("percent", [title for title in panels if "accuracy" in title])
    return figures.bands(drawn, x=x.replace("_", " "), **style)


def seed_dots(rows: Sequence[Row], variants: Sequence[str], panels: Mapping[str, Mapping[str, str]]) -> Figure:
    """Draw shares of a table: a dot for every seed and a dash for the mean, the variants side by side.

    Args:
        rows: rows of the table, with ``seed``, ``variant`` and the columns named below; NaN is left out.
        variants: names of the variants to draw, in the order of their colours.
        panels: title of a panel -> its columns: text below the dots -> name of the column, whose values are in 0..1.
    """
    shown = [variant for variant in variants if any(row["variant"] == variant for row in rows)]
    figure = new_figure(8.4, 2.7 * len(panels) + 0.4)
    step = 0.8 / len(shown)
    for number, (title, columns) in enumerate(panels.items()):
        axes = styled(figure.add_subplot(len(panels), 1, number + 1), title=title)
        for variant, colour in zip(shown, CYCLE, strict=False):
            for place, column in enumerate(columns.values()):
                values = np.array([float(row.get(column, math.nan)) for row in rows if row["variant"] == variant])
                values = values[np.isfinite(values)]
                if not len(values):
                    continue
                x = place + (shown.index(variant) + 0.5) * step - 0.4
                spread = np.linspace(-0.25, 0.25, len(values)) * step if len(values) > 1 else np.zeros(1)
                axes.plot(x + spread, values, "o", color=colour, ms=3.5, alpha=0.5, mew=0)
                label = variant if place == number == 0 else "_"  # one entry of the legend for each variant
                axes.hlines(values.mean(), x - 0.42 * step, x + 0.42 * step, color=colour, lw=2.5, label=label)
        axes.set_xticks(range(len(columns)), list(columns), color=INK)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.02, 1.02))
        axes.yaxis.set_major_formatter(PERCENT)
    figure.legend(loc="outside lower center", ncols=len(shown), **LEGEND)
    return figure


def seed_lines(
    rows: Sequence[Row], variants: Sequence[str], x: str, column: str
) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Return :func:`seed_band` for each of the variants that has rows."""
    return {variant: band for variant in variants if (band := seed_band(rows, variant, x, column)) is not None}


def seed_band(
    rows: Sequence[Row], variant: str, x: str, column: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Return the xs (P,) and the values (seeds, P) of a column for one variant; None where it has no rows."""
    own = [row for row in rows if row["variant"] == variant]
    if not own:
        return None
    xs = sorted({float(row[x]) for row in own})
    seeds = sorted({int(row["seed"]) for row in own})
    values = np.full((len(seeds), len(xs)), math.nan)
    for row in own:
        values[seeds.index(int(row["seed"])), xs.index(float(row[x]))] = float(row[column])
    return np.array(xs), values


def group_by(rows: Sequence[Row], column: str) -> dict[Any, list[Row]]:
    """Return the rows for each value of a column, in the order in which the values appear."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def split_variants(rows: Sequence[Row], column: str) -> list[Row]:
    """Return the rows with the number that ends each variant's name in a column: "plain 44" becomes "plain" and 44.

    Args:
        rows: rows of a table whose variants are called "KIND NUMBER".
        column: name of the new column; ``variant`` is then the kind.
    """
    split = []
    for row in rows:
        kind, _, number = str(row["variant"]).rpartition(" ")
        split.append({**row, "variant": kind, column: float(number)})
    return split


def recorded_pictures(rows: Sequence[Row], variants: Sequence[str]) -> Figure:
    """Draw the maps that :meth:`Bench.record_pictures` recorded, a row of channels for each variant.

    Args:
        rows: rows of the table.
        variants: names of the variants.
    """
    groups = group_by(rows, "variant")
    return figures.features_beside(
        {
            variant: (
                [recorded_map(row) for row in groups[variant]],
                [str(row["channel"]) for row in groups[variant]],
                float(groups[variant][0]["zero"]),
            )
            for variant in variants
            if variant in groups
        }
    )


def recorded_map(row: Row) -> npt.NDArray[np.float64]:
    """Return the map (H, W) of a row that :meth:`Bench.record_pictures` recorded."""
    steps = np.frombuffer(bytes.fromhex(str(row["pixels"])[1:]), np.uint8).reshape(int(row["height"]), -1)
    return float(row["low"]) + steps / 255 * (float(row["high"]) - float(row["low"]))
