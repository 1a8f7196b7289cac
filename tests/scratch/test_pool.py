"""Pooling against torch, central differences, loops, and numbers by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.scratch.layers import pool
from cnnlab.scratch.layers.pool import avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward
from cnnlab.scratch.layers.pool_naive import max_pool_backward_naive, max_pool_forward_naive
from tests.scratch.helpers_layers import Array, check_layer, run_untouched

MAX = [(max_pool_forward, max_pool_backward), (max_pool_forward_naive, max_pool_backward_naive)]
ALL = [*MAX, (avg_pool_forward, avg_pool_backward)]
TWO = {"pool_height": 2, "pool_width": 2, "stride": 2}


@st.composite
def cases(draw: st.DrawFn, ties: bool = False) -> tuple[Array, dict[str, int]]:
    """Images and how they are pooled; windows overlap, touch, or leave gaps."""
    few = st.integers(1, 3)
    stride, window, places = draw(few), (draw(few), draw(few)), (draw(few), draw(few))
    height, width = ((p - 1) * stride + k for p, k in zip(places, window, strict=True))
    shape = draw(st.integers(0, 4)), draw(few), height, width
    rng = np.random.default_rng(0)
    # Without ties: different values so far apart that a nudge does not change which one is largest.
    x = rng.integers(0, 3, shape) if ties else rng.permutation(int(np.prod(shape))).reshape(shape)
    return x.astype(float), {"pool_height": window[0], "pool_width": window[1], "stride": stride}


def in_torch(function: Any, param: dict[str, int]) -> Any:
    return lambda x: function(x, (param["pool_height"], param["pool_width"]), param["stride"])


@pytest.mark.parametrize(("forward", "backward"), MAX)
class TestMax:
    @settings(max_examples=40, deadline=None)
    @given(case=cases())
    def test_equals_torch(self, forward: Any, backward: Any, case: tuple[Array, dict[str, int]]) -> None:
        x, param = case
        x = x[:1] if x.size == 0 else x  # torch refuses to pool no images
        if x.size:
            check_layer(lambda x: forward(x, param), backward, {"x": x}, in_torch(F.max_pool2d, param))

    @settings(max_examples=40, deadline=None)
    @given(case=cases(ties=True))
    def test_ties_go_to_the_first(self, forward: Any, backward: Any, case: tuple[Array, dict[str, int]]) -> None:
        x, param = case
        if x.size:
            reference = in_torch(F.max_pool2d, param)
            check_layer(lambda x: forward(x, param), backward, {"x": x}, reference, numeric=False)

    def test_by_hand(self, forward: Any, backward: Any) -> None:
        x = np.array([[[[1, 5, 2], [5, 3, 2], [0, 5, 9]]]], dtype=float)
        out, cache = forward(x, {"pool_height": 2, "pool_width": 2, "stride": 1})
        assert out.tolist() == [[[[5, 5], [5, 9]]]]
        dx = backward(np.array([[[[1.0, 10], [100, 1000]]]]), cache)
        assert dx.tolist() == [[[[0, 11, 0], [100, 0, 0], [0, 0, 1000]]]]

    def test_nan_is_passed_on(self, forward: Any, backward: Any) -> None:
        """Up and down: to the first NaN of a window, and without a trace in the other windows."""
        x = np.array([[[[1, np.nan, 3, 4], [np.nan, 5, 6, 2]]]])
        out, cache = forward(x, TWO)
        np.testing.assert_array_equal(out, [[[[np.nan, 6]]]])
        assert backward(np.array([[[[1.0, 10]]]]), cache).tolist() == [[[[0, 1, 0, 0], [0, 0, 10, 0]]]]

    def test_bytes_stay_bytes(self, forward: Any, backward: Any) -> None:
        x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
        out, cache = forward(x, TWO)
        assert out.dtype == np.uint8
        assert out.tolist() == [[[[5, 7], [13, 15]]]]
        assert backward(np.full(out.shape, 0.5, np.float32), cache).sum() == 2


@settings(max_examples=60, deadline=None)
@given(cases(ties=True), st.integers(1, 500))
def test_fast_equals_naive_in_blocks_of_any_size(case: tuple[Array, dict[str, int]], limit: int) -> None:
    x, param = case
    dout = np.random.default_rng(1).standard_normal(max_pool_forward_naive(x, param)[0].shape)
    naive = run_untouched(lambda x: max_pool_forward_naive(x, param), max_pool_backward_naive, [x], [dout])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_BLOCK_BYTES", limit)
        fast = run_untouched(lambda x: max_pool_forward(x, param), max_pool_backward, [x], [dout])
    for one, other in zip(naive, fast, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


class TestAverage:
    @settings(max_examples=60, deadline=None)
    @given(cases())
    def test_equals_torch(self, case: tuple[Array, dict[str, int]]) -> None:
        x, param = case
        if x.size:
            reference = in_torch(F.avg_pool2d, param)
            check_layer(lambda x: avg_pool_forward(x, param), avg_pool_backward, {"x": x}, reference)

    def test_by_hand(self) -> None:
        x = np.array([[[[1, 2, 3], [4, 5, 6]]]], dtype=np.uint8)
        out, cache = avg_pool_forward(x, {"pool_height": 2, "pool_width": 2, "stride": 1})
        assert out.tolist() == [[[[3, 4]]]]
        assert avg_pool_backward(np.array([[[[4.0, 8]]]]), cache).tolist() == [[[[1, 3, 2], [1, 3, 2]]]]


@pytest.mark.parametrize(("forward", "backward"), ALL)
class TestBadInput:
    def test_sizes(self, forward: Any, backward: Any) -> None:
        x = np.ones((2, 3, 5, 4))
        with pytest.raises(ShapeError, match=r"height 5: \(5 - 2\) / 2 = 1\.5 .*height 4 or 6 fits"):
            forward(x, TWO)
        with pytest.raises(ShapeError, match=r"width 6 does not fit into an image of width 4\."):
            forward(x, TWO | {"pool_width": 6, "stride": 1})
        with pytest.raises(ShapeError, match=r"x must be \(N, C, H, W\), got .*\(3, 5, 4\)"):
            forward(x[0], TWO)

    def test_keys(self, forward: Any, backward: Any) -> None:
        x = np.ones((2, 3, 4, 4))
        with pytest.raises(UnknownNameError, match=r'no key "pool_hight"\. Did you mean "pool_height".*pool_param'):
            forward(x, TWO | {"pool_hight": 2})
        with pytest.raises(UsageError, match=r'pool_param lacks "stride"'):
            forward(x, {"pool_height": 2, "pool_width": 2})
        with pytest.raises(UsageError, match=r'\["pool_width"\] must be at least 1, got 0'):
            forward(x, TWO | {"pool_width": 0})

    def test_dout(self, forward: Any, backward: Any) -> None:
        _, cache = forward(np.ones((2, 3, 4, 4)), TWO)
        with pytest.raises(ShapeError, match=r"dout must be of shape \(2, 3, 2, 2\) .*\(2, 3, 4, 4\), got \(2, 3, 2\)"):
            backward(np.ones((2, 3, 2)), cache)
