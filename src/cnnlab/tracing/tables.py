"""The layers and stages of a network as tables, for terminals, text files and notebooks."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cnnlab.console import amount, table
from cnnlab.tracing.layers import Layer, Shapes
from cnnlab.tracing.receptive_field import ReceptiveField
from cnnlab.tracing.stages import Stage

if TYPE_CHECKING:  # rich is loaded when a table is made: who builds a network prints none
    from rich.console import RenderableType
    from rich.table import Table

Lines = Sequence[Sequence[str]]

_MOST_LINES = 50  # when no depth is asked for: the deepest level that takes at most this many lines
_WIDTH_FOR_FIELDS, _WIDTH_FOR_INPUTS = 96, 118  # characters that a terminal needs for these columns
_GAP = 2  # characters between columns
_LEAST = 8  # characters that remain of a shortened name


def as_text(parts: Iterable[RenderableType], width: int = 100) -> str:
    """Return tables as text without colours, in lines of at most ``width`` characters."""
    from rich.console import Console

    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, legacy_windows=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def layer_table(layers: Sequence[Layer], depth: int | None, width: int) -> Table:
    """Return a table of the layers of a network down to ``depth``; see :func:`layers_to_depth`."""
    titles = ["layer", "type", "output", ">parameters", ">MACs"]
    if width >= _WIDTH_FOR_FIELDS:
        titles += [">stride", ">field"]
    if width >= _WIDTH_FOR_INPUTS:
        titles.insert(2, "input")
    lines = []
    for layer, parameters, macs in layers_to_depth(layers, depth):
        ran_inside = any(other.calls and other.name.startswith(f"{layer.name}.") for other in layers)
        cells = {
            "layer": (layer.name or "(itself)") + (f" (x{layer.calls})" if layer.calls > 1 else ""),
            "type": layer.type,
            "input": _shapes(layer.inputs),
            "output": _shapes(layer.outputs) if layer.calls else "" if ran_inside else "not run",
            ">parameters": f"({layer.parameters:,})" if layer.shared_with else _number(parameters),
            ">MACs": amount(macs) if macs else "",
            ">stride": _stride(layer.field),
            ">field": _size(layer.field),
        }
        lines.append([cells[title] for title in titles])
    widths = _widths(titles, lines)
    room = width - sum(_GAP + column for column in widths[2:])
    names, types = widths[:2]
    if names + types + _GAP > room:
        types = max(_LEAST, min(types, room - _GAP - names))
        names = max(_LEAST, room - _GAP - types)
    # A long dotted name is told by its end, the name of a class by its beginning.
    return table(
        titles, [[_end_of(line[0], names), _start_of(line[1], types), *line[2:]] for line in lines], wrap=False
    )


def layers_to_depth(layers: Sequence[Layer], depth: int | None) -> list[tuple[Layer, int, int]]:
    """Return (layer, parameters, multiply-adds) of the layers down to ``depth``; the numbers add up to the network's.

    A layer's numbers are its own, those of the deepest level include all that is inside.

    Args:
        layers: all layers of a network.
        depth: number of levels below the network that are listed; as many as fit 50 lines when ``None``.
    """
    below = [layer for layer in layers if layer.name] or list(layers)
    if depth is None:
        depths = sorted({layer.depth for layer in below})
        depth = max((d for d in depths if sum(row.depth <= d for row in below) <= _MOST_LINES), default=depths[0])
    rows = []
    for layer in (layers[0], *below) if depth else layers[:1]:
        if layer.depth > depth:
            continue
        contained = [layer]
        if layer.depth == depth:
            prefix = f"{layer.name}." if layer.name else ""
            contained += [other for other in layers if other.name.startswith(prefix) and other is not layer]
        own = sum(other.own_parameters for other in contained), sum(other.own_macs for other in contained)
        if layer.name or any(own) or depth == 0:
            rows.append((layer, *own))
    return rows


def stage_table(stages: Sequence[Stage], width: int) -> list[RenderableType]:
    """Return a table of the stages of a network, and a note on what its columns mean."""
    titles = ["stage", "ends with", "output", ">stride", ">field", ">centre", ">parameters", ">MACs"]
    lines = [
        [
            stage.name,
            stage.ends_with,
            _shapes([stage.output]),
            _stride(stage.field),
            _size(stage.field),
            "" if stage.field is None or stage.field.whole else _sides([f"{c:g}" for c in stage.field.centre]),
            _number(stage.parameters),
            amount(stage.macs) if stage.macs else "",
        ]
        for stage in stages
    ]
    same_names = all(line[0] == line[1] for line in lines)
    too_wide = sum(_widths(titles, lines)) + _GAP * (len(titles) - 1) > width
    if same_names or too_wide:
        del titles[1]
        lines = [[line[0], *line[2:]] for line in lines]
    parts: list[RenderableType] = [table(titles, lines, wrap=False)]
    fields = [stage.field for stage in stages if stage.field is not None]
    if fields:
        notes = ["Stride, receptive field and its centre (at the first position) in pixels of the input."]
        through = dict.fromkeys(name for field in fields for name in field.through)
        if through:
            notes.append(f"* The whole image too, through {', '.join(through)}.")
        from rich.text import Text

        parts.append(Text("\n".join(notes)))
    return parts


def totals_table(totals: Mapping[str, str]) -> Table:
    """Return a table of names and values."""
    from rich.table import Table

    grid = Table.grid(padding=(0, _GAP))
    for name, value in totals.items():
        grid.add_row(name, value)
    return grid


_TARGET_TITLES = ("layer", "type", "output", "field", "stride", "calls", "spatial")


def target_table(layers: Sequence[Layer], default: Layer | None) -> Table:
    """Return a table of the layers that can be the target layer, in which the default one is marked."""
    return table(_TARGET_TITLES, _target_lines(layers, default), wrap=False)


def target_html(layers: Sequence[Layer], default: Layer | None) -> str:
    """Return :func:`target_table` as HTML, for notebooks."""
    lines = [_html_line("th", _TARGET_TITLES)]
    lines += [
        _html_line("td", cells, bold=layer is default)
        for layer, cells in zip(layers, _target_lines(layers, default), strict=True)
    ]
    return f"<table>{''.join(lines)}</table>"


def _target_lines(layers: Sequence[Layer], default: Layer | None) -> Lines:
    return [
        (
            layer.name,
            layer.type,
            _shapes([layer.output]),
            _size(layer.field),
            _stride(layer.field),
            str(layer.calls),
            "default" if layer is default else "yes" if layer.spatial else "",
        )
        for layer in layers
    ]


def _html_line(tag: str, cells: Iterable[str], bold: bool = False) -> str:
    inside = "".join(f'<{tag} style="text-align: left">{html.escape(cell)}</{tag}>' for cell in cells)
    style = ' style="font-weight: bold"' if bold else ""
    return f"<tr{style}>{inside}</tr>"


def _widths(titles: Sequence[str], lines: Lines) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip([t.lstrip(">") for t in titles], *lines, strict=True)]


def shapes_text(shapes: Shapes) -> str:
    """Return shapes with their batch, as in ``1x3x224x224``."""
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def _shapes(shapes: Iterable[tuple[int, ...]]) -> str:
    return shapes_text(tuple(shape[1:] for shape in shapes))


def _number(count: int) -> str:
    return f"{count:,}" if count else ""


def _stride(field: ReceptiveField | None) -> str:
    if field is None or field.whole:
        return ""
    return _sides(["-" if side is None else f"{side:g}" for side in field.stride])


def _size(field: ReceptiveField | None) -> str:
    if field is None:
        return ""
    return "image" if field.whole else _sides([str(side) for side in field.size]) + ("*" if field.through else "")


def _sides(sides: Sequence[str]) -> str:
    return sides[0] if len(set(sides)) == 1 else "x".join(sides)


def _end_of(text: str, length: int) -> str:
    return text if len(text) <= length else "…" + text[len(text) - length + 1 :]


def _start_of(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
