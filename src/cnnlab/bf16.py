"""bf16 on a CPU: autocast, with other ways to compute convolutions where those of torch 2.13 are slow or wrong.

- The forward pass of a depthwise convolution is faster in bf16, but its backward pass is slower than in float32, so
  much that MobileNets and EfficientNets would train faster without bf16. Its gradients are computed in float32 here.
- Where the padding is larger than the image, and where a stride leaves one column of outputs and either several rows or
  is wider than the image, the gradient for the weights, and some outputs too, contain whatever lies in memory. Such
  convolutions are computed in float32, whose kernels are right.
- Processors with AMX multiply blocks of 32 numbers at a time. The kernel of the weight gradient fills such a block with
  the columns of one image, and wastes most of it where the outputs are small maps of 2 to 8 columns. Here many images
  are laid side by side for it, with zeros between them: the same sums in 0.1 to 0.8 of the time, the smaller the maps
  the less.

``benchmarks/precision.py`` measures how fast networks train, ``benchmarks/side_by_side.py`` what the last way saves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Outputs of at most so many columns are small maps. From 9 columns on the zeros and the copies cost most of the gain.
SMALL = 8
# The copies pay from this product of images, input and output channels on: 128 images with 128 to 128 channels.
ENOUGH_WORK = 2**21
# So many images are laid in one row.
SIDE_BY_SIDE = 32


@contextlib.contextmanager
def bf16_on_cpu() -> Iterator[None]:
    """Compute convolutions and dense layers in bf16 on the CPU here, for a backward pass here or later."""
    with torch.autocast("cpu", torch.bfloat16), Convolutions():
        yield


def has_amx() -> bool:
    """Return whether the processor multiplies blocks of matrices in bf16 (AMX of Intel's Xeons since 2023)."""
    check = getattr(torch.cpu, "_is_amx_tile_supported", bool)  # a private name: without it, no AMX is assumed
    return bool(check())


class Convolutions(TorchFunctionMode):
    """Computes 2-D convolutions on the CPU in other ways where these are better.

    It sees those that are called as ``nn.Conv2d`` and ``nn.ConvTranspose2d`` call them, on a batch of images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.amx = has_amx()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, unless it is such a convolution, called as ``nn.Conv2d`` and ``nn.ConvTranspose2d`` do."""
        given = 0 if kwargs or not torch.is_autocast_enabled("cpu") else len(args)
        if func is F.conv2d and given == 7 and _is_cast(args[0]):
            return self.convolve(*args)
        if func is F.conv_transpose2d and given == 8 and _is_cast(args[0]):
            x, weight, _, *steps, _, dilation = args
            stride, padding, extra = map(_pair, steps)
            sides = zip(x.shape[2:], weight.shape[2:], stride, padding, extra, _pair(dilation), strict=True)
            image = [
                (rows - 1) * step - 2 * edge + gap * (size - 1) + more + 1
                for rows, size, step, edge, more, gap in sides
            ]
            if _is_misread(x.shape[2:], image, stride, padding):
                return _in_float32(func, args)
        return func(*args, **(kwargs or {}))

    def convolve(self, x: Tensor, weight: Tensor, *others: Any) -> Tensor:
        """Return ``F.conv2d`` of images (N, C, H, W) on the CPU, with the best way to its gradients."""
        args, (_, *steps, groups) = (x, weight, *others), others
        stride, padding, dilation = _pair(steps[0]), _edges(steps[1], weight, steps[2]), _pair(steps[2])
        sides = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        maps = [(side + 2 * edge - gap * (size - 1) - 1) // step + 1 for side, size, step, edge, gap in sides]
        if _is_misread(maps, x.shape[2:], stride, padding):
            return _in_float32(F.conv2d, args)
        if isinstance(steps[1], str):
            return F.conv2d(*args)
        if not torch.is_grad_enabled():
            return F.conv2d(*args)
        if groups > 1 and weight.shape[1] == 1:
            return DepthwiseConvolution.apply(*args)
        # Kernels of one column are fast as they are; larger edges, and gaps in the kernel, do not fit into the rows.
        fits = weight.shape[3] > max(1, 2 * padding[1]) and dilation == (1, 1) and groups == 1
        pays = maps[1] <= SMALL and len(x) * weight.shape[0] * weight.shape[1] >= ENOUGH_WORK
        if self.amx and fits and pays and weight.requires_grad:
            return SideBySideConvolution.apply(*args)
        return F.conv2d(*args)


def _is_cast(images: Tensor) -> bool:
    """Return whether these are several images (N, C, H, W) on the CPU, of a type that autocast turns into bf16."""
    return images.ndim == 4 and images.is_cpu and images.dtype in (torch.float32, torch.bfloat16, torch.float16)


def _is_misread(maps: Sequence[int], image: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> bool:
    """Return whether the kernels for bf16 may read what does not belong to the image.

    On processors with and without AMX, all wrong gradients and outputs among 9,832 shapes were of this kind, and all
    among 1,332 shapes of transposed convolutions.

    Args:
        maps: rows and columns of the outputs; of the inputs of a transposed convolution.
        image: rows and columns of the inputs; of the outputs of a transposed convolution.
        stride, padding: those of the convolution, for rows and columns.
    """
    strided = maps[1] == 1 and stride[1] > 1 and (maps[0] > 1 or stride[1] > image[1])
    return strided or padding[0] > image[0] or padding[1] > image[1]


def _in_float32(function: Callable[..., Tensor], args: Sequence[Any]) -> Tensor:
    """Return the outputs of a convolution that was computed in float32, in bf16; ``args`` begin with three tensors."""
    with torch.autocast("cpu", enabled=False):
        floats = (None if tensor is None else tensor.float() for tensor in args[:3])
        return function(*floats, *args[3:]).to(torch.bfloat16)


def _edges(padding: str | int | Sequence[int], weight: Tensor, dilation: int | Sequence[int]) -> tuple[int, int]:
    """Return the padding of rows and columns in pixels, the larger one where the two sides differ."""
    if padding == "valid":
        return 0, 0
    if isinstance(padding, str):  # "same"
        sides = zip(weight.shape[2:], _pair(dilation), strict=True)
        rows, columns = (-(-gap * (size - 1) // 2) for size, gap in sides)
        return rows, columns
    return _pair(padding)


class _Convolution(torch.autograd.Function):
    """``F.conv2d``, forward as the context says; its subclasses give the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
        """Return the outputs (N, K, H', W').

        Args:
            x: inputs (N, C, H, W).
            weight: (K, C / groups, h, w), float32.
            bias: (K,), or None.
            options: stride, padding, dilation and groups.
        """
        ctx.options = options
        outputs = F.conv2d(x, weight, bias, *options)
        # Rounded already to save memory, unless the gradient may have to be derived for the images themselves.
        ctx.save_for_backward(x if ctx.needs_input_grad[0] else x.to(outputs.dtype), weight, bias)
        return outputs


class DepthwiseConvolution(_Convolution):
    """A convolution with one input channel per group, and gradients in float32."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients for x, weight and bias, in float32, for that of the outputs (N, K, H', W')."""
        (gradient,), (x, weight, bias) = gradients, ctx.saved_tensors
        *steps, groups = ctx.options
        stride, padding, dilation = map(_pair, steps)
        sizes = None if bias is None else list(bias.shape)
        for_x, for_weight, for_bias = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight.float(), sizes, stride, padding, dilation, False, (0, 0), groups,
            ctx.needs_input_grad[:3],
        )  # fmt: skip
        return for_x, for_weight, for_bias, None, None, None, None


class SideBySideConvolution(_Convolution):
    """A convolution without groups and dilation, whose weight gradient is that of images side by side."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients for x, weight and bias, for that of the outputs (N, K, H', W')."""
        (gradient,), (x, weight, bias) = gradients, ctx.saved_tensors
        stride, padding, dilation = map(_pair, ctx.options[:3])
        x, rounded = x.to(gradient.dtype), weight.to(gradient.dtype)
        for_x, for_bias = None, None
        if ctx.needs_input_grad[0]:
            for_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, rounded, None, stride, padding, dilation, False, (0, 0), 1, (True, False, False)
            )
        if ctx.needs_input_grad[2]:  # the operator above would compute the gradient for the weights with it
            for_bias = gradient.sum((0, 2, 3), dtype=bias.dtype)
        count = min(SIDE_BY_SIDE, len(x))
        # Each image has so many columns of outputs and ``stride`` times as many of inputs, the last ones zeros. The
        # zeros after an image are also the padding before the next one.
        columns = -(-(x.shape[3] + max(padding[1], stride[1] - 1)) // stride[1])
        width = stride[1] * (count * columns - 1) + weight.shape[3] - 2 * padding[1]
        _, for_weight, _ = torch.ops.aten.convolution_backward(
            side_by_side(gradient, count, columns, count * columns),
            side_by_side(x, count, stride[1] * columns, width),
            rounded, None, stride, padding, dilation, False, (0, 0), 1, (False, True, False),
        )  # fmt: skip
        return for_x, for_weight.to(weight.dtype), for_bias, None, None, None, None


def side_by_side(maps: Tensor, count: int, columns: int, width: int) -> Tensor:
    """Return maps (N, C, H, W) in rows of ``count``, as (N / count rounded up, C, H, ``width``), with zeros between.

    Args:
        maps: the maps, in any memory layout; the result is channels_last.
        count: the number of maps in a row; an incomplete last row is filled up with zeros.
        columns: the distance between the first columns of two maps in a row.
        width: the number of columns of a row: at least ``(count - 1) * columns + W``.
    """
    number, channels, height, own = maps.shape
    full, rest = divmod(number, count)
    rows = maps.new_zeros(full + bool(rest), height, max(width, count * columns), channels)
    places = rows[:, :, : count * columns].unflatten(2, (count, columns))[:, :, :, :own]
    maps = maps.permute(0, 2, 3, 1)
    places[:full] = maps[: full * count].unflatten(0, (full, count)).transpose(1, 2)
    if rest:
        places[full, :, :rest] = maps[full * count :].transpose(0, 1)
    return rows[:, :, :width].permute(0, 3, 1, 2)


def _pair(step: int | Sequence[int]) -> tuple[int, int]:
    """Return a step for both sides as two numbers: F.conv2d also takes one, but its backward pass does not."""
    steps = (step,) if isinstance(step, int) else step
    return steps[0], steps[-1]
