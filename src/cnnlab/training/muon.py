"""Muon: steps whose matrices are orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

The momentum of a weight matrix is replaced by the nearest orthogonal matrix, so that a step changes what the layer does
to all directions of its input by the same amount, the rare ones too. A filter bank (K, C, h, w) counts as the matrix
(K, C h w). Biases, scales of normalisations and the last layer, whose directions are the classes, take AdamW's steps
in :class:`Muon`, and those of SGD in :class:`MuonSGD`, which is made for short trainings of small networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor

from cnnlab.hardware import has_fast_bf16

# The polynomial a x + b x^3 + c x^5 of Jordan et al. 2024: steep at 0, so that few steps suffice, at the price of
# singular values between 0.7 and 1.2 instead of 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# Those of https://github.com/hiverge/cifar10-speedrun for three steps, after which small singular values are below 1.
FEW_STEPS = (3.4576, -4.7391, 2.0843)


@torch.no_grad()
def orthogonalised(matrix: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = COEFFICIENTS) -> Tensor:
    """Return the nearly orthogonal matrix U V' for ``matrix`` = U S V', by Newton-Schulz iterations.

    Args:
        matrix: a matrix (m, n), whose scale does not matter.
        steps: number of iterations.
        coefficients: a, b, c of the polynomial a x + b x^3 + c x^5 that is applied to the singular values in each.

    Returns:
        (m, n) of the same type, with singular values near 1 (Jordan et al. 2024, section "Newton-Schulz").
    """
    a, b, c = coefficients
    x = matrix.bfloat16() if has_fast_bf16(matrix.device) else matrix
    x = x / (x.norm() + 1e-7)  # singular values of at most 1
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.mT
    for _ in range(steps):
        square = x @ x.mT
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrix.dtype)


def orthogonal_filters(
    filters: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = COEFFICIENTS
) -> Tensor:
    """Return :func:`orthogonalised` filters (K, C, h, w), or weights (K, C), of the same shape.

    The order of a matrix's columns makes no difference, so they are taken as they lie in memory.
    """
    last = filters.ndim == 4 and filters.is_contiguous(memory_format=torch.channels_last)
    ordered = filters.permute(0, 2, 3, 1) if last else filters
    matrix = orthogonalised(ordered.flatten(1), steps, coefficients).view(ordered.shape)
    return matrix.permute(0, 3, 1, 2) if last else matrix


class ParameterwiseOptimizer(torch.optim.Optimizer):
    """An optimizer that changes one parameter after the other."""

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Change every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.change(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def change(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change a parameter in place by its gradient of the same shape, its own state and the group's settings."""
        raise NotImplementedError


class Muon(ParameterwiseOptimizer):
    """Muon for the parameter groups with ``"hidden": True``, AdamW for the others.

    An orthogonal step is scaled so that its root mean square is that of a usual step of AdamW; so both take the same
    learning rate and weight decay (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2).

    Args:
        groups: parameter groups; those of hidden layers hold parameters of at least two dimensions.
        lr: learning rate.
        momentum: decay of the running mean of the gradient in hidden layers.
        nesterov: whether a step in hidden layers looks ahead by the momentum.
        betas: decay rates of AdamW's two running means.
        weight_decay: decoupled weight decay of groups that have none of their own.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "betas": betas, "weight_decay": weight_decay}
        super().__init__(groups, {**settings, "hidden": False, "eps": 1e-8})

    def change(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        (self._orthogonal_step if group["hidden"] else self._adam_step)(parameter, gradient, state, group)

    @staticmethod
    def _orthogonal_step(parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["mean"] = torch.zeros_like(parameter)
        mean = state["mean"].lerp_(gradient, 1 - group["momentum"])
        direction = gradient.lerp(mean, group["momentum"]) if group["nesterov"] else mean
        scale = 0.2 * max(len(parameter), parameter[0].numel()) ** 0.5
        parameter.add_(orthogonal_filters(direction), alpha=-group["lr"] * scale)

    @staticmethod
    def _adam_step(parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
        state["step"] += 1
        first, second = group["betas"]
        mean = state["mean"].lerp_(gradient, 1 - first)
        square = state["square"].lerp_(gradient.square(), 1 - second)
        unbiased = square.div(1 - second ** state["step"]).sqrt_().add_(group["eps"])
        parameter.addcdiv_(mean, unbiased, value=-group["lr"] / (1 - first ** state["step"]))


class MuonSGD(ParameterwiseOptimizer):
    """Muon as in the fastest trainings on CIFAR-10: filters of one norm, SGD for everything else.

    Each filter bank (K, C, h, w) of the parameter groups with ``"hidden": True`` is kept at the norm sqrt(K), so that
    its filters have a norm of about 1, and the learning rate is the spectral norm of a step: 0.2 changes a bank by a
    fifth. There is no weight decay there. The first step sets these norms, which changes nothing where BatchNorm
    follows, but spoils pretrained filters elsewhere. All other parameters take steps of SGD with Nesterov momentum.
    Methods and numbers are those of https://github.com/KellerJordan/cifar10-airbench (airbench94_muon) and of
    https://github.com/hiverge/cifar10-speedrun, which takes three Newton-Schulz iterations.

    Args:
        groups: parameter groups; those of hidden layers hold parameters of at least two dimensions. ``"factor"`` is the
            one by which a group's learning rate was multiplied, 1 by default.
        lr: learning rate; the spectral norm of a step in hidden layers.
        momentum: decay of the running sum of the gradient in hidden layers.
        nesterov: whether a step looks ahead by the momentum.
        sgd_momentum: momentum of the other parameters.
        weight_decay: decoupled weight decay of the others, times the learning rate without their factor.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float = 0.2,
        momentum: float = 0.65,
        nesterov: bool = True,
        sgd_momentum: float = 0.825,
        weight_decay: float = 0.0,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(groups, {**settings, "sgd_momentum": sgd_momentum, "hidden": False, "factor": 1.0})

    def change(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        momentum = group["momentum" if group["hidden"] else "sgd_momentum"]
        if not state:
            state["sum"] = torch.zeros_like(parameter)
        running = state["sum"].mul_(momentum).add_(gradient)
        direction = gradient.add(running, alpha=momentum) if group["nesterov"] else running
        if group["hidden"]:
            direction = orthogonal_filters(direction, 3, FEW_STEPS)
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp_min(1e-12))
        else:
            parameter.mul_(1 - group["lr"] / group["factor"] * group["weight_decay"])
        parameter.add_(direction, alpha=-group["lr"])
