"""Convolution by hand: a named kernel over an image, and the arithmetic behind one output pixel.

A convolution lays a small window of weights over the image, multiplies each pixel with the weight above it, adds the
products and a bias, writes the sum down, and moves on::

    filtered = apply_kernel(image, "sobel_x")       # what the kernel makes of the image
    filtered.pixel(20, 31).figure()                 # where one of its numbers comes from
    layer_pixel(model, image, "conv1", channel=3)   # the same for a layer of a network

As in every library of networks the kernel is not flipped: mathematicians call this a cross-correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnnlab import figures
from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.explain.probe import Probe
from cnnlab.figures import Drawable
from cnnlab.tracing.hooks import find_layer, recording, recording_inputs, uncompiled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
Pair = tuple[int, int]

#: The kernels that every course begins with. A kernel whose weights sum to 1 keeps the brightness of even areas; one
#: whose weights sum to 0 gives 0 there, and numbers of both signs at edges.
KERNELS: dict[str, tuple[tuple[float, ...], ...]] = {
    "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "sobel_x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),  # bright on the right: upright edges
    "sobel_y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),  # bright below: lying edges
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),  # spots and edges of every direction
    "blur": ((1 / 9,) * 3,) * 3,  # the mean of the neighbourhood
    "gaussian": ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),
    "emboss": ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),  # lit from the top left
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),  # the image minus its Laplacian
}


def named_kernel(name: str) -> Array:
    """Return the kernel called ``name``, (3, 3) float64.

    Raises:
        UnknownNameError: it is none of :data:`KERNELS`.
    """
    if name not in KERNELS:
        raise UnknownNameError("kernel", name, KERNELS)
    return np.array(KERNELS[name], dtype=float)


@dataclass(frozen=True, eq=False)
class OutputPixel(Drawable):
    """One number of a convolution's output and the numbers it is computed from: ``value = products.sum() + bias``.

    Attributes:
        image: the image (C, H, W).
        kernel: the weights (C, kh, kw).
        bias: the bias that is added to the sum.
        patch: the pixels (C, kh, kw) under the window; beyond the border the padding.
        output: the channel (H', W') of the output that holds the number.
        row, column: the position of the number in that channel.
        rows, columns: the rows (kh,) and columns (kw,) of the image under the window; below 0 or past the end is
            padding.
    """

    image: Array
    kernel: Array
    bias: float
    patch: Array
    output: Array
    row: int
    column: int
    rows: Array
    columns: Array

    @property
    def products(self) -> Array:
        """Patch times kernel, (C, kh, kw)."""
        return self.patch * self.kernel

    @property
    def sum(self) -> float:
        """The sum of the products."""
        return float(self.products.sum())

    @property
    def value(self) -> float:
        """The number itself."""
        return self.sum + self.bias

    def figure(self) -> Figure:
        """Draw patch x kernel = products, their sum, and where in image and output they are."""
        return figures.output_pixel(
            self.image,
            self.patch,
            self.kernel,
            self.bias,
            self.output,
            at=(self.row, self.column),
            rows=self.rows,
            columns=self.columns,
        )


@dataclass(frozen=True, eq=False)
class Filtered(Drawable):
    """An image filtered by a kernel, each channel on its own.

    Attributes:
        image: the image, float64 (C, H, W).
        kernel: the weights (kh, kw).
        name: the name of the kernel.
        values: the results (C, H', W').
        bias: the number that was added.
        stride: the distance of neighbouring windows in pixels, (vertical, horizontal).
        padding: rows and columns of zeros, ((above, below), (left, right)).
    """

    image: Array
    kernel: Array
    name: str
    values: Array
    bias: float
    stride: Pair
    padding: tuple[Pair, Pair]

    def pixel(self, row: int, column: int, channel: int = 0) -> OutputPixel:
        """Return the patch and the kernel from which ``values[channel, row, column]`` is computed.

        Raises:
            UsageError: it is outside.
        """
        if not 0 <= channel < len(self.image):
            raise UsageError(f"The image has {len(self.image)} channels, 0 to {len(self.image) - 1}, not {channel}.")
        return output_pixel(
            self.image[channel], self.kernel, row, column, bias=self.bias, stride=self.stride, padding=self.padding
        )

    def figure(self) -> Figure:
        """Draw image, kernel and result beside each other."""
        return figures.kernel_results(self.image, {self.name: (self.kernel, self.values)})


def apply_kernel(
    image: npt.ArrayLike | Tensor,
    kernel: str | npt.ArrayLike = "sobel_x",
    *,
    bias: float = 0.0,
    stride: int = 1,
    padding: int | Literal["same"] = "same",
) -> Filtered:
    """Move a kernel over an image.

    Args:
        image: image (H, W) or (C, H, W); every channel is filtered on its own.
        kernel: a name from :data:`KERNELS`, or weights (kh, kw).
        bias: the number that is added to every sum.
        stride: the distance of neighbouring windows, in pixels.
        padding: rows and columns of zeros around the image; ``"same"`` gives an output of the image's size at stride 1.

    Raises:
        UnknownNameError: there is no such kernel.
        ShapeError: the image is no image, or smaller than the kernel.
    """
    name, weights = (kernel, named_kernel(kernel)) if isinstance(kernel, str) else ("kernel", _numbers(kernel))
    if weights.ndim != 2:
        raise ShapeError(f"A kernel is a matrix (kh, kw), got an array of shape {weights.shape}.")
    channels = _channels(image)
    steps = (stride, stride)
    if padding == "same":  # of an odd number the larger half comes after, as in torch
        top, left = ((size - 1) // 2 for size in weights.shape)
        border = (top, weights.shape[0] - 1 - top), (left, weights.shape[1] - 1 - left)
    else:
        border = (padding, padding), (padding, padding)
    values = [
        _convolve(_padded(channel[None], border, "constant"), weights[None], steps, (1, 1)) for channel in channels
    ]
    return Filtered(channels, weights, name, np.stack(values) + bias, bias, steps, border)


def all_kernels(image: npt.ArrayLike | Tensor) -> Figure:
    """Draw what each of :data:`KERNELS` makes of an image (H, W) or (C, H, W)."""
    filtered = [apply_kernel(image, name) for name in KERNELS]
    return figures.kernel_results(filtered[0].image, {each.name: (each.kernel, each.values) for each in filtered})


def output_pixel(
    image: npt.ArrayLike | Tensor,
    kernel: npt.ArrayLike | Tensor,
    row: int,
    column: int,
    *,
    bias: float = 0.0,
    stride: int | Pair = 1,
    padding: int | tuple[Pair, Pair] = 0,
    dilation: int | Pair = 1,
    padding_mode: str = "zeros",
) -> OutputPixel:
    """Return the patch, kernel and bias from which one number of a convolution's output is computed.

    Args:
        image: image (H, W) or (C, H, W).
        kernel: weights (kh, kw) or (C, kh, kw).
        row, column: the position of the number in the output.
        bias: the number that is added to the sum.
        stride: the distance of neighbouring windows in pixels; one number, or (down, across).
        padding: rows and columns around the image; one number, or ((above, below), (left, right)).
        dilation: distance between neighbouring pixels under the window; 1 is the next.
        padding_mode: the contents of the padding, as in ``torch.nn.Conv2d``.

    Raises:
        ShapeError: image and kernel do not fit each other.
        UsageError: the output has no such row or column.
    """
    channels, weights = _channels(image), _channels(kernel)
    if len(channels) != len(weights):
        raise ShapeError(f"The kernel has {len(weights)} channels and the image {len(channels)}; they must agree.")
    steps, gaps = _pair(stride), _pair(dilation)
    border = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    padded = _padded(channels, border, _NUMPY_PADDING.get(padding_mode, padding_mode))
    output = _convolve(padded, weights, steps, gaps) + bias
    for name, at, size in (("row", row, output.shape[0]), ("column", column, output.shape[1])):
        if not 0 <= at < size:
            raise UsageError(f"The output is {output.shape[0]} x {output.shape[1]}; {name} {at} is not in it.")
    down, across = (
        at * step + gap * np.arange(size)
        for at, step, gap, size in zip((row, column), steps, gaps, weights.shape[1:], strict=True)
    )
    patch = padded[:, down[:, None], across]
    rows, columns = down - border[0][0], across - border[1][0]
    return OutputPixel(channels, weights, float(bias), patch, output, row, column, rows, columns)


def layer_pixel(
    model: nn.Module,
    image: Any,
    layer: str,
    channel: int = 0,
    row: int | None = None,
    column: int | None = None,
) -> OutputPixel:
    """Return the patch, kernel and bias from which one output of a network's convolution is computed for an image.

    Args:
        model: the network; it is left as it was.
        image: the image (C, H, W) or (1, C, H, W) as the network takes it.
        layer: the dotted name of a ``torch.nn.Conv2d``.
        channel: the channel of the output.
        row, column: the position in the output; that of the largest value of the channel when left out.

    Raises:
        UnknownNameError: there is no such layer.
        UsageError: it is not a 2-D convolution, computes something else than one, as a layer with a ``forward`` of its
            own may, or has no such channel, row or column.
        ModelError: the network cannot take the image, or does not use the layer.
    """
    model = uncompiled(model)
    module = find_layer(model, layer)
    if not isinstance(module, nn.Conv2d):
        raise UsageError(f'"{layer}" is a {type(module).__name__}; name a Conv2d to see a convolution by hand.')
    if (row is None) != (column is None):
        raise UsageError(f"row is {row} and column {column}; give both, or neither for the largest value.")
    if not 0 <= channel < module.out_channels:
        raise UsageError(f'"{layer}" has {module.out_channels} output channels; channel {channel} is not one of them.')
    probe = Probe(model, image)
    with (
        probe.session(),
        torch.no_grad(),
        recording_inputs(model, [layer]) as inputs,
        recording(model, [layer]) as outputs,
    ):
        probe.run(probe.image)
    per_group = module.in_channels // module.groups
    first = channel // (module.out_channels // module.groups) * per_group
    source = inputs[layer][0, first : first + per_group].double().cpu().numpy()
    weight = module.weight.detach()[channel].double().cpu().numpy()
    left, right, top, bottom = module._reversed_padding_repeated_twice
    options: dict[str, Any] = {
        "bias": 0.0 if module.bias is None else float(module.bias[channel].detach()),
        "stride": module.stride,
        "padding": ((top, bottom), (left, right)),
        "dilation": module.dilation,
        "padding_mode": module.padding_mode,
    }
    output = output_pixel(source, weight, 0, 0, **options).output
    _check_output(output, outputs[layer][0, channel], f'"{layer}" is a {type(module).__name__}')
    if row is None or column is None:
        row, column = (int(i) for i in np.unravel_index(output.argmax(), output.shape))
    return output_pixel(source, weight, row, column, **options)


def _check_output(output: Array, recorded: Tensor, layer: str) -> None:
    """Compare what a convolution by hand gives, (H', W'), with what the layer gave; it may be rounded, also to TF32.

    Raises:
        UsageError: they differ.
    """
    given = recorded.double().cpu().numpy()
    tolerance = max(0.01, torch.finfo(recorded.dtype).eps ** 0.5) * np.abs(given).max()
    if output.shape != given.shape or np.abs(output - given).max() > tolerance:
        raise UsageError(
            f"{layer} whose outputs are not those of a plain convolution with its weights: it changes its weights or "
            "its padding as it runs, or a hook changes its outputs. Name a plain Conv2d."
        )


_NUMPY_PADDING: dict[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _convolve(padded: Array, weights: Array, stride: Pair, dilation: Pair) -> Array:
    """Return the sum over the cells of the window of their weights times the shifted image."""
    (down, across), (gap_y, gap_x) = stride, dilation
    if min(*stride, *dilation) < 1:
        raise UsageError(f"stride is {stride} and dilation {dilation}; every step must be at least 1.")
    _, kernel_h, kernel_w = weights.shape
    height, width = padded.shape[1] - gap_y * (kernel_h - 1), padded.shape[2] - gap_x * (kernel_w - 1)
    if height < 1 or width < 1:
        raise ShapeError(
            f"The image is {padded.shape[1]} x {padded.shape[2]} with its padding, smaller than the kernel of "
            f"{kernel_h} x {kernel_w}. Give a larger image or more padding."
        )
    total = np.zeros((1 + (height - 1) // down, 1 + (width - 1) // across))
    for i in range(kernel_h):
        for j in range(kernel_w):
            shifted = padded[:, i * gap_y : i * gap_y + height : down, j * gap_x : j * gap_x + width : across]
            total += np.tensordot(weights[:, i, j], shifted, axes=1)
    return total


def _padded(channels: Array, border: tuple[Pair, Pair], mode: Any) -> Array:
    if min(*border[0], *border[1]) < 0:
        raise UsageError(f"padding is {border}; it cannot be negative.")
    return np.pad(channels, ((0, 0), *border), mode=mode)


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _numbers(values: npt.ArrayLike | Tensor) -> Array:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=float)


def _channels(values: npt.ArrayLike | Tensor) -> Array:
    array = _numbers(values)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or not array.size:
        raise ShapeError(f"An image is an array (H, W) or (C, H, W), got {array.shape}.")
    return array
