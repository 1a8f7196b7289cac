"""bf16 on a CPU: autocast, with the backward pass of depthwise convolutions in float32.

With the kernels of torch 2.13 the forward pass of a depthwise convolution is faster in bf16, but its backward pass is
slower than in float32: so much slower that MobileNets and EfficientNets would train faster without bf16.
``benchmarks/precision.py`` measures how fast they train.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextlib.contextmanager
def bf16_training() -> Iterator[None]:
    """Compute convolutions and dense layers in bf16 on the CPU within this context, for a backward pass afterwards."""
    with torch.autocast("cpu", torch.bfloat16), FloatDepthwiseGradients():
        yield


class FloatDepthwiseGradients(TorchFunctionMode):
    """Computes depthwise 2-D convolutions on the CPU by :class:`DepthwiseConvolution`, whoever calls them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, unless it is such a convolution, called as ``nn.Conv2d`` does."""
        if func is F.conv2d and not kwargs and len(args) == 7:
            x, weight, *_, padding, _, groups = args
            if groups > 1 and weight.shape[1] == 1 and x.ndim == 4 and x.is_cpu and not isinstance(padding, str):
                return DepthwiseConvolution.apply(*args)
        return func(*args, **(kwargs or {}))


class DepthwiseConvolution(torch.autograd.Function):
    """``F.conv2d`` with one input channel per group: forward as the context says, backward in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
        """Return the outputs (N, K, H', W').

        Args:
            x: inputs (N, C, H, W).
            weight: (K, 1, h, w), float32, for K a multiple of C.
            bias: (K,), or None.
            options: stride, padding, dilation, and C, the number of groups.
        """
        ctx.options = options
        outputs = F.conv2d(x, weight, bias, *options)
        ctx.save_for_backward(x.to(outputs.dtype), weight, bias)
        return outputs

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


def _pair(step: int | Sequence[int]) -> tuple[int, int]:
    """Return a step for both sides as two numbers: F.conv2d also takes one, but its backward pass does not."""
    steps = (step,) if isinstance(step, int) else step
    return steps[0], steps[-1]
