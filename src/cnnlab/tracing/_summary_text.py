"""A network's summary as tables for terminals."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cnnlab.console import amount, size, table
from cnnlab.tracing import ReceptiveField
from cnnlab.tracing.summary import LayerRow, Summary

_ROWS = 50  # without a wish for a depth: the deepest level that takes at most so many lines


def as_text(summary: Summary, depth: int | None, width: int) -> str:
    """Return the tables without colours, in lines of at most ``width`` characters."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    for part in tables(summary, depth, width):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())


def tables(summary: Summary, depth: int | None, width: int) -> list[RenderableType]:
    """Return layers, totals and stages, ready for printing with rich."""
    parts: list[RenderableType] = [_layer_table(summary, depth, width), "", _totals(summary)]
    if summary.stages:
        parts += ["", _stage_table(summary, width)]
        if notes := _stage_notes(summary):
            parts.append(Text(notes))
    return parts


def shown_layers(summary: Summary, depth: int | None) -> list[tuple[LayerRow, int, int]]:
    """Return the rows down to ``depth`` with the parameters and multiply-adds that no other of these rows shows."""
    below = [row for row in summary.layers if row.name] or list(summary.layers)
    if depth is None:
        depths = sorted({row.depth for row in below})
        depth = max((d for d in depths if sum(row.depth <= d for row in below) <= _ROWS), default=depths[0])
    if depth == 0:
        below = [row for row in summary.layers if not row.name]
    shown = []
    for row in (summary.layers[0], *below) if depth else below:
        if row.depth > depth:
            continue
        hidden = [row]
        if row.depth == depth:
            start = f"{row.name}." if row.name else ""
            hidden += [other for other in summary.layers if other.name.startswith(start) and other is not row]
        own = sum(other.own_parameters for other in hidden), sum(other.own_macs for other in hidden)
        if row.name or any(own) or depth == 0:
            shown.append((row, *own))
    return shown


def _layer_table(summary: Summary, depth: int | None, width: int) -> Table:
    titles = ["layer", "type", "output", ">parameters", ">MACs"]
    if width >= 96:
        titles += [">stride", ">field"]
    if width >= 118:
        titles.insert(2, "input")
    lines = []
    for row, parameters, macs in shown_layers(summary, depth):
        cells = {
            "layer": (row.name or "(itself)") + (f" (x{row.calls})" if row.calls > 1 else ""),
            "type": row.type,
            "input": _shapes(row.inputs),
            "output": _shapes(row.outputs) if row.calls else "" if _has_children_that_run(summary, row) else "not run",
            ">parameters": f"({row.parameters:,})" if row.shared_with else f"{parameters:,}" if parameters else "",
            ">MACs": amount(macs) if macs else "",
            ">stride": _stride(row.field),
            ">field": _size(row.field),
        }
        lines.append([cells[title] for title in titles])
    room = width - sum(2 + max(len(t), *(len(line[i]) for line in lines)) for i, t in enumerate(titles) if i > 1)
    names = max(len("layer"), *(len(line[0]) for line in lines))
    kinds = max(len("type"), *(len(line[1]) for line in lines))
    if names + kinds + 2 > room:
        kinds = max(8, min(kinds, room - 2 - names))
        names = max(8, room - 2 - kinds)
    # Of long dotted names the end says more, of class names the beginning.
    short = [[_from_end(line[0], names), _from_start(line[1], kinds), *line[2:]] for line in lines]
    return table(titles, short, wrap=False)


def _has_children_that_run(summary: Summary, row: LayerRow) -> bool:
    return any(other.calls and other.name.startswith(f"{row.name}.") for other in summary.layers)


def _totals(summary: Summary) -> Table:
    grid = Table.grid(padding=(0, 2))
    frozen = summary.parameters - summary.trainable
    parameters = f"{summary.parameters:,}" + (f", {frozen:,} of them frozen" if frozen else "")
    if summary.unused:
        parameters += f", {summary.unused:,} of them not used in eval mode"
    if any(row.shared_with for row in summary.layers):
        parameters += "; shared ones (in brackets) are counted once"
    grid.add_row("parameters", parameters)
    grid.add_row("MACs", f"{amount(summary.macs)} ({summary.macs:,}), in convolutions and matrix products")
    grid.add_row(
        "memory",
        f"parameters {size(summary.parameter_bytes)}, activations {size(summary.activation_bytes)} "
        f"({size(summary.peak_activation_bytes)} at a time)",
    )
    grid.add_row("input", _shapes(summary.inputs, batch=True))
    return grid


def _stage_table(summary: Summary, width: int) -> Table:
    titles = ["stage", "ends with", "output", ">stride", ">field", ">centre", ">parameters", ">MACs"]
    lines = []
    for row in summary.stages:
        cells = [
            row.name,
            row.ends_with,
            _shapes([row.output]),
            _stride(row.field),
            _size(row.field),
            "" if row.field is None or row.field.whole else _each([f"{c:g}" for c in row.field.centre]),
            f"{row.parameters:,}" if row.parameters else "",
            amount(row.macs) if row.macs else "",
        ]
        lines.append(cells)
    if all(line[0] == line[1] for line in lines):
        titles, lines = titles[1:], [line[1:] for line in lines]
        titles[0] = "stage"
    room = width - sum(2 + max(len(t), *(len(line[i]) for line in lines)) for i, t in enumerate(titles))
    if room < -2 and "ends with" in titles:
        at = titles.index("ends with")
        lines = [[*line[:at], *line[at + 1 :]] for line in lines]
        titles.remove("ends with")
    return table(titles, lines, wrap=False)


def _stage_notes(summary: Summary) -> str:
    fields = [row.field for row in summary.stages if row.field is not None]
    notes = ["Stride, field of view and its centre (at the first position) in pixels of the input."] if fields else []
    through = dict.fromkeys(name for found in fields for name in found.through)
    if through:
        notes.append(f"* The whole image too, through {', '.join(through)}.")
    return "\n".join(notes)


def _shapes(shapes: Sequence[tuple[int, ...]], batch: bool = False) -> str:
    return ", ".join("x".join(map(str, shape if batch else shape[1:])) for shape in shapes)


def _stride(found: ReceptiveField | None) -> str:
    if found is None or found.whole:
        return ""
    return _each([f"{s:g}" if s is not None else "-" for s in found.stride])


def _size(found: ReceptiveField | None) -> str:
    if found is None:
        return ""
    return "image" if found.whole else _each([str(s) for s in found.size]) + ("*" if found.through else "")


def _each(sides: Sequence[str]) -> str:
    return sides[0] if len(set(sides)) == 1 else "x".join(sides)


def _from_end(text: str, length: int) -> str:
    return text if len(text) <= length else "…" + text[len(text) - length + 1 :]


def _from_start(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
