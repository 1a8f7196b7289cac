"""One check for every layer: values and gradients against torch and central differences, types, inputs left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import settings
from hypothesis import strategies as st

from cnnlab.scratch.gradcheck import check_directions, check_gradients

Array = npt.NDArray[Any]
SEEDS = st.integers(0, 999)
FEW = settings(max_examples=25, deadline=None)

# Up to so many values in all inputs together every one of them is nudged; beyond that random directions do.
NUDGE_ALL_UP_TO = 60


def check_layer(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Mapping[str, Array],
    reference: Callable[..., Any],
    *,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    float32_tolerance: float = 1e-4,
    numeric: bool = True,
    seed: int = 0,
) -> None:
    """Hold a layer to its contract.

    - Outputs and every gradient equal those of ``reference`` (torch, float64).
    - Every gradient equals the central difference.
    - float64 stays float64 and float32 stays float32, and then the values are near those of float64.
    - No input and no upstream gradient is modified, whatever their memory layout; the backward pass can be repeated.

    Args:
        forward: ``forward(*inputs.values()) -> (out, cache)``, or ``(out1, out2, ..., cache)``.
        backward: ``backward(dout, cache)``, or ``backward(dout1, dout2, ..., cache)``, gives a gradient for each input.
        inputs: the float64 arrays that have gradients, by name, in order. Whatever has none (parameter dicts, labels)
            belongs into the functions, as in ``lambda x, w, b: conv_forward(x, w, b, {"stride": 1, "pad": 0})``.
        reference: the same in torch, from tensors in the same order; one tensor, or a tuple for several outputs.
        rtol, atol: what float64 may differ from torch.
        float32_tolerance: what float32 may differ from float64, relative to the largest value of each array.
        numeric: False where the central difference means nothing, as at a kink.
        seed: of the upstream gradients.
    """
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs.values()]
    expected = as_tuple(reference(*tensors))
    rng = np.random.default_rng(seed)
    douts = [rng.standard_normal(tuple(out.shape)) for out in expected]
    weighted = [(out * torch.as_tensor(dout)).sum() for out, dout in zip(expected, douts, strict=True)]
    # An input that torch finds unused has gradient zero.
    gradients = torch.autograd.grad(torch.stack(weighted).sum(), tensors, allow_unused=True, materialize_grads=True)

    names = [f"output {i}" for i in range(len(expected))] + [f"the gradient of {name}" for name in inputs]
    truth = [t.detach().numpy() for t in (*expected, *gradients)]
    arrays = list(inputs.values())
    actual = run_untouched(forward, backward, arrays, douts)
    for name, value, right in zip(names, actual, truth, strict=True):
        assert np.asarray(value).dtype == np.float64, f"{name} is {np.asarray(value).dtype} from float64 inputs"
        np.testing.assert_allclose(value, right, rtol=rtol, atol=atol, err_msg=name)

    # The same values in another memory layout.
    actual = run_untouched(forward, backward, [x.copy(order="F") for x in arrays], [strided(d) for d in douts])
    for name, value, right in zip(names, actual, truth, strict=True):
        np.testing.assert_allclose(value, right, rtol=rtol, atol=atol, err_msg=f"{name}, other memory layout")

    single = run_untouched(forward, backward, [to_float32(x) for x in arrays], [to_float32(d) for d in douts])
    for name, value, right in zip(names, single, truth, strict=True):
        assert np.asarray(value).dtype == np.float32, f"{name} is {np.asarray(value).dtype} from float32 inputs"
        allowed = float32_tolerance * max(1.0, float(np.max(np.abs(right), initial=0.0)))
        np.testing.assert_allclose(value, right, rtol=0, atol=allowed, err_msg=f"{name}, float32")

    if numeric:
        small = sum(x.size for x in arrays) <= NUDGE_ALL_UP_TO
        check = check_gradients if small else check_directions
        check(forward, backward, {name: x.copy() for name, x in inputs.items()}, seed=seed)


def normal(*shape: int, seed: int = 0) -> Any:
    """Return random numbers with mean 0 and standard deviation 1; a single one has the shape ()."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def run_untouched(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Sequence[Array], douts: Sequence[Array]
) -> list[Array]:
    """Return outputs and gradients, after checking that nothing was modified and that backward can be repeated."""
    kept = [np.array(a) for a in (*inputs, *douts)]
    *outs, cache = forward(*inputs)
    gradients = as_tuple(backward(*douts, cache))
    assert len(gradients) == len(inputs), f"{len(gradients)} gradients for {len(inputs)} inputs"
    first = [np.array(a) for a in (*outs, *gradients)]
    again = as_tuple(backward(*douts, cache))
    for a, b in zip(first, (*outs, *again), strict=True):
        np.testing.assert_array_equal(a, b, err_msg="a second backward pass from the same cache differs from the first")
    for before, after in zip(kept, (*inputs, *douts), strict=True):
        np.testing.assert_array_equal(before, after, err_msg="an input was modified")
    for x, gradient in zip(inputs, gradients, strict=True):
        assert np.shape(gradient) == x.shape
    return first


def as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def to_float32(array: Array) -> Array:
    return np.asarray(array).astype(np.float32)


def strided(array: Array) -> Array:
    """Return the same values in memory that is not contiguous."""
    array = np.asarray(array)
    roomy = np.zeros((*array.shape, 2), array.dtype)
    roomy[..., 0] = array
    return roomy[..., 0]
