"""BatchNorm over the images of all processes: what ``sync_batchnorm`` in a recipe puts in place of BatchNorm.

``torch.nn.SyncBatchNorm`` does the same on GPUs only, and not on the CPUs where the tests run.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over the processes. A change of it changes every process's loss, so gradients add up too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(tensor: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(tensor)
    return total


class SyncBatchNorm(_BatchNorm):
    """BatchNorm that normalises with the statistics of the batch over all processes, which may have unequal parts.

    Two sums over the processes per layer: of the values, and of their squared distances from the common mean. The
    statistics are computed in float32, whatever the images are in.
    """

    def forward(self, images: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(images)
        axes = [axis for axis in range(images.ndim) if axis != 1]
        values = images.float()
        count = values.new_tensor([values.numel() // self.num_features])
        total = _sum_over_processes(torch.cat([values.sum(axes), count]))
        n = total[-1].detach()
        shape = [-1 if axis == 1 else 1 for axis in range(images.ndim)]
        mean = total[:-1] / n
        centred = values - mean.view(shape)
        variance = _sum_over_processes(centred.square().sum(axes)) / n
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * (n / (n - 1).clamp(min=1)))
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(images.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of a batch; without momentum they are means over the batches."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)

    def _check_input_dim(self, images: Tensor) -> None:
        """Take images of any number of dimensions: the layer that this one replaces has been checked with them."""


def synchronise_batchnorm(model: nn.Module) -> None:
    """Let every BatchNorm of ``model`` normalise over all processes; parameters, buffers and names stay as they are."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SyncBatchNorm
