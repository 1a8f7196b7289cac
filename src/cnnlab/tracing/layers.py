"""The layers of a network: one list for summaries, reports, and the choice of the target layer."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cnnlab.tracing.receptive_field import ReceptiveField
from cnnlab.tracing.record import Call, Trace, Value

Shapes = tuple[tuple[int, ...], ...]
Layout = Literal["NCHW", "NHWC", "tokens"]
Fields = Mapping[Value, ReceptiveField | None]

_MOST_EXTRA_TOKENS = 8  # tokens beside those of the patches, such as the class token


@dataclass(frozen=True)
class Layer:
    """A module of a network.

    ``parameters`` and ``macs`` are those of the module with everything inside it. ``own_parameters`` and ``own_macs``
    leave out the modules inside it, and a parameter belongs to the first module that has it: over all layers of a
    network the own numbers add up to the totals.

    Attributes:
        name: dotted name of the module; empty for the network itself.
        type: name of the module's class.
        depth: 0 for the network, 1 for its children, and so on.
        calls: number of times that the module runs in one forward pass.
        rank: position among the layers in the order in which their last calls finish; None for one that does not run.
        inputs, outputs: shapes of the tensors at the last call, batch first.
        output: shape of the first output of floating-point numbers at the last call, batch first; empty without one.
        field: receptive field of that output; None for one that depends on no pixels or where the field is unknown.
        layout: how the output is laid out over positions on the image: with channels first or last, or as tokens
            ``(N, T, C)`` row by row; None for an output without positions.
        grid: number of positions on the image, (h, w).
        parameters, trainable: numbers of parameters in the module, and of those that are not frozen.
        own_parameters: number of parameters that the module itself owns.
        macs, own_macs: multiply-adds of matrix products and convolutions in all calls together.
        shared_with: name of the module that owns the parameters, where that is an earlier one; else empty.
    """

    name: str
    type: str
    depth: int = 1
    calls: int = 1
    rank: int | None = None
    inputs: Shapes = ()
    outputs: Shapes = ()
    output: tuple[int, ...] = ()
    field: ReceptiveField | None = None
    layout: Layout | None = None
    grid: tuple[int, int] | None = None
    parameters: int = 0
    trainable: int = 0
    own_parameters: int = 0
    macs: int = 0
    own_macs: int = 0
    shared_with: str = ""

    @property
    def spatial(self) -> bool:
        """Whether the output has several positions on the image."""
        return self.layout is not None

    @property
    def has_extra_tokens(self) -> bool:
        """Whether there are tokens beside those of the patches, such as the class token."""
        return self.layout == "tokens" and self.grid is not None and self.output[1] > self.grid[0] * self.grid[1]

    def as_map(self, output: Tensor) -> Tensor:
        """Return an output of the layer in its ``layout`` as feature maps ``(N, C, h, w)``."""
        if self.layout == "NHWC":
            return output.permute(0, 3, 1, 2)
        if self.layout == "tokens" and self.grid is not None:
            height, width = self.grid
            patches = output[:, output.shape[1] - height * width :]  # extra tokens come first
            return patches.transpose(1, 2).reshape(len(output), -1, height, width)
        return output


def structure(model: nn.Module) -> Hashable:
    """Return what the layers of a network depend on, to be compared: a pass is recorded anew where it has changed.

    It holds the kinds and the settings of the modules, as they print them, and the shapes of the parameters. What else
    a ``forward`` depends on is not seen.
    """
    modules = tuple((name, type(module), module.extra_repr()) for name, module in model.named_modules())
    lazy = nn.parameter.is_lazy  # parameters that have no shape yet
    parameters = ((name, None if lazy(one) else tuple(one.shape)) for name, one in model.named_parameters())
    return modules, tuple(parameters)


def layers_of(model: nn.Module, record: Trace, fields: Fields) -> tuple[Layer, ...]:
    """Return every layer of a network, in the order of ``named_modules``; a shared module is there once per name.

    Args:
        model: the network.
        record: a recorded forward pass of it.
        fields: the receptive fields of the tensors in that pass.
    """
    modules = list(model.named_modules(remove_duplicate=False))
    image = image_size(record)
    calls: dict[str, list[Call]] = {}
    ranks = {call: rank for rank, call in enumerate(record.root.finished())}
    for call in ranks:
        calls.setdefault(call.path, []).append(call)
    own_macs = {name: sum(call.own_macs for call in calls.get(name, ())) for name, _ in modules}
    macs = _with_inner(own_macs)
    owner: dict[int, str] = {}
    layers = []
    for name, module in modules:
        own = [parameter for parameter in module._parameters.values() if parameter is not None]
        owned = {id(p): p.numel() for p in own if owner.setdefault(id(p), name) == name}
        inside = list(module.parameters())
        last = calls[name][-1] if name in calls else None
        outputs = last.outputs if last else []
        output = next((value for value in outputs if value.dtype.is_floating_point), None)
        layout, grid = (None, None) if output is None else positions(output, fields, image)
        layer = Layer(
            name=name,
            type=type(module).__name__,
            depth=name.count(".") + 1 if name else 0,
            calls=len(calls.get(name, ())),
            rank=None if last is None else ranks[last],
            inputs=shapes(last.inputs) if last else (),
            outputs=shapes(outputs),
            output=() if output is None else output.shape,
            field=None if output is None else fields.get(output),
            layout=layout,
            grid=grid,
            parameters=sum(p.numel() for p in inside),
            trainable=sum(p.numel() for p in inside if p.requires_grad),
            own_parameters=sum(owned.values()),
            macs=macs[name],
            own_macs=own_macs[name],
            shared_with=next((owner[id(p)] for p in own if owner[id(p)] != name), ""),
        )
        layers.append(layer)
    return tuple(layers)


def _with_inner(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return for each module its number plus those of the modules inside it, by dotted names."""
    sums = dict.fromkeys(numbers, 0)
    for name, number in numbers.items():
        parts = name.split(".") if name else []
        for length in range(len(parts) + 1):
            sums[".".join(parts[:length])] += number
    return sums


def shapes(values: Iterable[Value]) -> Shapes:
    """Return the shapes of recorded tensors."""
    return tuple(value.shape for value in values)


def image_size(record: Trace) -> tuple[int, int] | None:
    """Return height and width of the images that the recorded network takes; None for one that takes no images."""
    return next((value.shape[2:] for value in record.inputs if len(value.shape) == 4), None)


def positions(
    value: Value, fields: Fields, image: tuple[int, int] | None
) -> tuple[Layout, tuple[int, int]] | tuple[None, None]:
    """Return how a tensor is laid out over positions on the image, and the number of positions down and across.

    Args:
        value: the tensor.
        fields: receptive fields of the recorded tensors.
        image: height and width of the image in pixels.
    """
    if value not in fields or image is None:  # it does not depend on an image
        return None, None
    field, shape = fields[value], value.shape
    if field is None:  # unknown: a tensor in the shape of a map is taken for one
        return ("NCHW", (shape[2], shape[3])) if len(shape) == 4 and shape[2] * shape[3] > 1 else (None, None)
    if len(shape) == 4 and field.dims in ((), (None, None)):
        # Every position may depend on the whole image, as after attention: a map has the image's proportions.
        grids: dict[Layout, tuple[int, ...]] = {"NCHW": shape[2:], "NHWC": shape[1:3]}
        for layout, (high, wide) in grids.items():
            if high * wide > 1 and round(image[0] / high) == round(image[1] / wide) > 1:
                return layout, (high, wide)
    if field.whole:
        return None, None
    if len(shape) == 4 and field.dims in ((2, 3), (1, 2)):
        first = field.dims[0] or 0
        if shape[first] * shape[first + 1] > 1:
            return ("NCHW" if first == 2 else "NHWC"), (shape[first], shape[first + 1])
    if len(shape) == 3 and field.dims == (None, None) and (grid := _token_grid(shape[1], field.stride, image)):
        return "tokens", grid
    return None, None


def _token_grid(tokens: int, stride: tuple[float | None, ...], image: tuple[int, int]) -> tuple[int, int] | None:
    """Return how many patches lie down and across the image, (h, w); None where ``tokens`` are not that many.

    Args:
        tokens: number of tokens.
        stride: pixels between neighbouring patches, down and across.
        image: height and width of the image in pixels.
    """
    down, across = stride
    if down is None or across is None:
        return None
    grid = int(image[0] / abs(down)), int(image[1] / abs(across))
    if 1 < grid[0] * grid[1] <= tokens <= grid[0] * grid[1] + _MOST_EXTRA_TOKENS:
        return grid
    side = math.sqrt(image[0] * image[1] / tokens)  # pixels of a patch, if the tokens share the image among them
    grid = round(image[0] / side), round(image[1] / side)
    return grid if 1 < grid[0] * grid[1] == tokens else None
