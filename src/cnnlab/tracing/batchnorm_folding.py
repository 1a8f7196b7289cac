"""BatchNorm folded into the convolution before it: the same outputs from fewer operations, for networks in use.

In eval mode a BatchNorm multiplies and adds the same numbers for every image. Where its input is the output of a
convolution and nothing else reads that output, these numbers go into the weights and the bias of the convolution.

Jacob et al.: Quantization and training of neural networks for efficient integer-arithmetic-only inference. CVPR 2018.
https://arxiv.org/abs/1712.05877 (section 3.2)
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from cnnlab.tracing.forward_pass import trace
from cnnlab.tracing.record import Call, Op, Trace

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def foldable_pairs(model: nn.Module, shape: Sequence[int]) -> list[tuple[str, str]]:
    """Return the convolutions whose output goes into a BatchNorm and nowhere else, with that BatchNorm.

    Args:
        model: any module; it is traced, not changed.
        shape: the shape (N, C, H, W) of the images.

    Returns:
        Pairs of the dotted names of a convolution and of a BatchNorm, in the order in which they run.

    Raises:
        ModelError: the network cannot take images of this shape.
    """
    record = trace(model, tuple(shape))
    runs = Counter(call.path for call in record.calls)
    tensors = Counter(id(tensor) for module in model.modules() for tensor in module._parameters.values())
    readers = _readers(record)
    pairs = []
    for norm in record.calls:
        if type(norm.module) not in NORMS or len(norm.inputs) != 1 or norm.module.running_var is None:
            continue
        value = norm.inputs[0]
        conv = None if value.made_by is None else value.made_by.call
        if conv is None or type(conv.module) not in CONVOLUTIONS or conv.outputs != [value]:
            continue
        alone = runs[conv.path] == runs[norm.path] == 1 and all(op.call is norm for op in readers[id(value)])
        if (
            alone
            and value not in record.outputs
            and _is_plain(model, conv, tensors)
            and _is_plain(model, norm, tensors)
        ):
            pairs.append((conv.path, norm.path))
    return pairs


def folded(model: nn.Module, shape: Sequence[int]) -> tuple[nn.Module, int]:
    """Return a copy of a network in eval mode with every BatchNorm folded that can be, and how many these are.

    The layers keep their names: a folded BatchNorm is a ``torch.nn.Identity``. The network itself is not changed.

    Args:
        model: any module.
        shape: the shape (N, C, H, W) of the images.

    Raises:
        ModelError: the network cannot take images of this shape.
    """
    pairs = foldable_pairs(model, shape)
    twin = copy.deepcopy(model).eval()
    for conv, norm in pairs:
        first, second = twin.get_submodule(conv), twin.get_submodule(norm)
        twin.set_submodule(conv, fuse_conv_bn_eval(first, second))  # type: ignore[type-var, arg-type]
        twin.set_submodule(norm, nn.Identity())
    return twin, len(pairs)


def _readers(record: Trace) -> dict[int, list[Op]]:
    """Return the operations that take each value, by the id of the value."""
    readers: dict[int, list[Op]] = {}
    for op in record.ops:
        for value in op.inputs:
            readers.setdefault(id(value), []).append(op)
    return readers


def _is_plain(model: nn.Module, call: Call, tensors: Counter[int]) -> bool:
    """Return whether the parameters of a module are its own and nobody computes or watches something in it."""
    module = model.get_submodule(call.path)
    hooked = module._forward_hooks or module._forward_pre_hooks or is_parametrized(module)
    return not hooked and all(tensors[id(one)] == 1 for one in module._parameters.values() if one is not None)
