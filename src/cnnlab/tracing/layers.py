"""Which layers can be looked at, what leaves them, and which of them the class activation maps take by themselves."""

from __future__ import annotations

import html
import math
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.tracing import Call, Op, ReceptiveField, Trace, Value, receptive_fields, trace
from cnnlab.tracing.hooks import uncompiled

Layout = Literal["NCHW", "NHWC", "tokens"]


@dataclass(frozen=True)
class Layer:
    """A layer that ran.

    Attributes:
        name: dotted name, as ``layer=`` takes it.
        type: name of the class.
        output: shape of what leaves it at its last call, batch first.
        calls: how often it ran in one forward pass.
        field: receptive field of the output; None where it cannot be told.
        layout: how positions on the image are laid out in the output, None where there are none: channels first or
            last, or as tokens ``(N, T, C)`` row by row.
        grid: how many positions there are, (h, w).
        default: whether this is the layer that is looked at when none is named.
    """

    name: str
    type: str
    output: tuple[int, ...]
    calls: int
    field: ReceptiveField | None
    layout: Layout | None
    grid: tuple[int, int] | None
    default: bool = False

    @property
    def spatial(self) -> bool:
        """Whether what leaves it has more than one position on the image."""
        return self.layout is not None

    @property
    def more_tokens(self) -> bool:
        """Whether there are tokens that stand for no patch, such as that of the class."""
        return self.layout == "tokens" and self.grid is not None and self.output[1] > self.grid[0] * self.grid[1]

    def as_map(self, output: Tensor) -> Tensor:
        """Return what left the layer as ``(N, C, h, w)``."""
        if self.layout == "NHWC":
            return output.permute(0, 3, 1, 2)
        if self.layout == "tokens" and self.grid is not None:
            height, width = self.grid
            # Tokens that stand for no patch, such as that of the class, come first.
            patches = output[:, output.shape[1] - height * width :]
            return patches.transpose(1, 2).reshape(len(output), -1, height, width)
        return output


class Layers(tuple[Layer, ...]):
    """The layers in the order in which they finish; shows itself as a table."""

    __slots__ = ()

    @property
    def default(self) -> Layer | None:
        """The layer that is looked at when none is named; None where no layer has positions."""
        return next((row for row in self if row.default), None)

    @property
    def spatial(self) -> tuple[Layer, ...]:
        """The layers whose outputs have positions on the image."""
        return tuple(row for row in self if row.spatial)

    def _cells(self) -> Iterable[tuple[str, ...]]:
        for row in self:
            yield (
                row.name,
                row.type,
                " x ".join(map(str, row.output[1:])),
                *_seen(row),
                str(row.calls),
                ("default" if row.default else "yes") if row.spatial else "",
            )

    def __repr__(self) -> str:
        table = [_HEADS, *self._cells()]
        widths = [max(len(line[column]) for line in table) for column in range(len(_HEADS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        return "\n".join(line.rstrip() for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:]))

    def _repr_html_(self) -> str:
        lines = [f"<tr>{_html_cells('th', _HEADS)}</tr>"]
        for row, cells in zip(self, self._cells(), strict=True):
            bold = ' style="font-weight: bold"' if row.default else ""
            lines.append(f"<tr{bold}>{_html_cells('td', cells)}</tr>")
        return f"<table>{''.join(lines)}</table>"


def _html_cells(tag: str, cells: Iterable[str]) -> str:
    return "".join(f'<{tag} style="text-align: left">{html.escape(cell)}</{tag}>' for cell in cells)


_HEADS = ("layer", "type", "output", "sees", "stride", "calls", "spatial")


def _seen(row: Layer) -> tuple[str, str]:
    found = row.field
    if found is None:
        return "", ""
    if found.whole:
        return "whole image", ""
    sees = " x ".join(map(str, found.size)) + (" + whole image" if found.through else "")
    return sees, " x ".join("" if side is None else f"{side:g}" for side in found.stride)


# A pass is followed once for a network and a shape, as long as its modules are the same.
_KNOWN: weakref.WeakKeyDictionary[nn.Module, dict[object, Layers]] = weakref.WeakKeyDictionary()


def layers(model: nn.Module, image: Tensor | Sequence[int]) -> Layers:
    """List every layer that runs, with what leaves it, how much of the image it sees, and which one is the default.

    Nothing is computed, and the model stays as it is.

    Args:
        model: any module that takes images.
        image: (C, H, W) or (1, C, H, W) as the model takes it, or such a shape.

    Raises:
        UsageError: something that is neither an image nor a shape.
        ModelError: the model cannot take the image.
    """
    model = uncompiled(model)
    given = getattr(image, "shape", image)
    shape = tuple(given) if isinstance(given, Sequence) else ()
    if len(shape) not in (3, 4) or not all(isinstance(side, int) and side > 0 for side in shape):
        raise UsageError(f"Give an image (C, H, W) or its shape, not {given!r}.")
    shape = (1, *shape[-3:])
    key = (shape, tuple((name, type(module)) for name, module in model.named_modules()))
    known = _KNOWN.setdefault(model, {})
    if key not in known:
        known[key] = _listed(trace(model, shape), shape)
    return known[key]


def _listed(record: Trace, shape: tuple[int, ...]) -> Layers:
    fields = receptive_fields(record)
    counts: dict[str, int] = {}
    last: dict[str, Call] = {}
    for call in record.calls:
        counts[call.path] = counts.get(call.path, 0) + 1
        last[call.path] = call
    calls = sorted(
        (call for path, call in last.items() if path and call.outputs),
        key=lambda call: (call.end, -call.path.count(".")),
    )
    rows = [_row(call, counts[call.path], fields, shape) for call in calls]
    chosen = _default(record, list(zip(calls, rows, strict=True)), fields, shape)
    return Layers(replace(row, default=row is chosen) for row in rows)


def _row(call: Call, count: int, fields: dict[Value, ReceptiveField | None], shape: tuple[int, ...]) -> Layer:
    value = next((output for output in call.outputs if output.dtype.is_floating_point), call.outputs[0])
    layout, grid = _positions(value, fields, shape)
    return Layer(call.path, type(call.module).__name__, value.shape, count, fields.get(value), layout, grid)


def _positions(
    value: Value, fields: dict[Value, ReceptiveField | None], shape: tuple[int, ...]
) -> tuple[Layout | None, tuple[int, int] | None]:
    """Return how the positions of a tensor are laid out, and how many there are."""
    if value not in fields:  # it does not depend on the image
        return None, None
    found, size = fields[value], value.shape
    if found is None:  # it cannot be told: what looks like a map is taken for one
        return ("NCHW", (size[2], size[3])) if len(size) == 4 and size[2] * size[3] > 1 else (None, None)
    if len(size) == 4 and found.dims in ((), (None, None)):
        # Every position may see everything, as after attention; what has the image's proportions is a map.
        for layout, (high, wide) in (("NCHW", size[2:]), ("NHWC", size[1:3])):
            if high * wide > 1 and round(shape[2] / high) == round(shape[3] / wide) > 1:
                return layout, (high, wide)  # type: ignore[return-value]
    if found.whole:
        return None, None
    if len(size) == 4 and found.dims in ((2, 3), (1, 2)):
        grid = size[found.dims[0]], size[found.dims[1]]
        if grid[0] * grid[1] > 1:
            return ("NCHW" if found.dims == (2, 3) else "NHWC"), grid
    if len(size) == 3 and found.dims == (None, None) and None not in found.stride:
        grid = int(shape[2] / found.stride[0]), int(shape[3] / found.stride[1])  # type: ignore[operator]
        if 1 < grid[0] * grid[1] <= size[1] <= grid[0] * grid[1] + 8:
            return "tokens", grid
        patch = math.sqrt(shape[2] * shape[3] / size[1])  # pixels, if the tokens share the image out among them
        grid = round(shape[2] / patch), round(shape[3] / patch)
        if 1 < grid[0] * grid[1] == size[1]:
            return "tokens", grid
    return None, None


def _default(
    record: Trace, rows: list[tuple[Call, Layer]], fields: dict[Value, ReceptiveField | None], shape: tuple[int, ...]
) -> Layer | None:
    """Return the layer behind the last convolution, before the map is pooled and before the classifier.

    A classifier that is itself a convolution over a map is passed over, as its ReLU leaves nothing of classes that
    have nowhere a positive score.
    """
    weighted = [
        position
        for position, op in enumerate(record.ops)
        if op.macs and any(value.parameter is not None for value in op.inputs)
    ]
    # Of a network that reads its answer off a token of its own, the others are without a say after the last attention.
    attention = max((i for i, op in enumerate(record.ops) if op.macs and i not in weighted), default=0)
    for end in (weighted[-1] if weighted else len(record.ops), len(record.ops)):
        found = [
            (call, row) for call, row in rows if row.spatial and call.end <= (attention if row.more_tokens else end)
        ]
        if found:
            grid = _last_grid(record.ops, weighted, end, fields, shape)
            same = [(call, row) for call, row in found if row.grid == grid] or found
            # Not a branch of several: all that the answer depends on goes through it.
            through = (call.outputs[0] for call, _ in reversed(same) if _all_goes_through(record, call.outputs[0]))
            value = next(through, same[-1][0].outputs[0])
            # Several names for one tensor: the shortest, of a module that runs once.
            names = [row for call, row in same if call.outputs[0] is value]
            return min(names, key=lambda row: (row.calls > 1, row.name.count("."), len(row.name)))
    return None


def _all_goes_through(record: Trace, value: Value) -> bool:
    """Whether no way leads from the image to the output past ``value``."""
    reached = set(record.inputs) - {value}
    for op in record.ops:
        if not reached.isdisjoint(op.inputs):
            reached.update(output for output in op.outputs if output is not value)
    return reached.isdisjoint(record.outputs)


def _last_grid(
    ops: list[Op], weighted: list[int], end: int, fields: dict[Value, ReceptiveField | None], shape: tuple[int, ...]
) -> tuple[int, int] | None:
    """How many positions the last convolution before ``end`` gives."""
    for position in reversed(weighted):
        if position < end and ops[position].outputs:
            # A dense layer lays the positions out in a row; what leaves its module is the map again.
            for value in (ops[position].outputs[0], *ops[position].call.outputs[:1]):
                layout, grid = _positions(value, fields, shape)
                if layout is not None:
                    return grid
    return None
