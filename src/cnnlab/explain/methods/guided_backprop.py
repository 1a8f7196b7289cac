"""Guided backpropagation: each ReLU lets only the positive part of the gradient pass backwards.

Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for simplicity: the all convolutional net. ICLR workshop 2015.
https://arxiv.org/abs/1412.6806 (section 3.4)

It draws sharp pictures of what is in the image. How much they depend on the class is another question: Adebayo et al.
2018 (https://arxiv.org/abs/1810.03292) find that they hardly change when the network's last layers are random.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from cnnlab.explain.checks import gradient_of
from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe

_FUNCTIONS = {torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, F.relu, F.relu6}


def is_relu(function: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a call of a torch function is a ReLU or ReLU6, whether a module or a plain function makes it.

    Args:
        function: the function that a :class:`torch.overrides.TorchFunctionMode` intercepts.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
    """
    if function is F.hardtanh:  # nn.ReLU6 calls it
        return (args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)) == 0
    return function in _FUNCTIONS


class GuidedReLU(TorchFunctionMode):
    """While open, gradients pass backwards through ReLU and ReLU6, in place or not, only where they are positive.

    Attributes:
        count: the number of ReLUs that ran.
    """

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if is_relu(func, args, kwargs or {}):
            self.count += 1
            if out.requires_grad:
                out.register_hook(torch.relu)
        return out


@explanation(
    title="Guided backpropagation",
    signed=True,
    paper="Springenberg et al. 2015",
    url="https://arxiv.org/abs/1412.6806",
    meaning="Details that excite features for {target}: red where brighter pixels would, blue where darker ones would.",
    unit="guided change of the score",
    direction=True,
)
def guided_backprop(probe: Probe) -> Tensor:
    """Return the gradient whose negative parts are cut off at each ReLU in the backward pass, (C, H, W)."""
    image = probe.image.clone().requires_grad_()
    with GuidedReLU() as mode:
        score = probe.run(image)[0, probe.target]
    gradient = gradient_of(score, image)
    if not mode.count:
        probe.note("There is no ReLU in this network, so this is the plain gradient.")
    return gradient[0]
