"""Convolution against torch, central differences, loops, and sums by hand."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.scratch.layers import _im2col, conv
from cnnlab.scratch.layers._geometry import receptive_field
from cnnlab.scratch.layers.columns import im2col
from cnnlab.scratch.layers.conv import conv_backward, conv_forward
from cnnlab.scratch.layers.conv_naive import conv_backward_naive, conv_forward_naive
from cnnlab.tracing import receptive_fields, trace
from tests.scratch.helpers_layers import Array, check_layer, run_untouched


@dataclass
class Case:
    """Images, filters and biases that fit each other, and how they are convolved."""

    x: Array
    w: Array
    b: Array
    stride: int
    pad: int
    dilation: int = 1
    groups: int = 1

    @property
    def inputs(self) -> dict[str, Array]:
        return {"x": self.x, "w": self.w, "b": self.b}

    @property
    def param(self) -> dict[str, int]:
        """With dilation and groups only where they are not 1, so that the naive convolution takes it too."""
        extra = {key: getattr(self, key) for key in ("dilation", "groups") if getattr(self, key) > 1}
        return {"stride": self.stride, "pad": self.pad, **extra}

    def forward(self, x: Array, w: Array, b: Array) -> Any:
        return conv_forward(x, w, b, self.param)

    def naive(self, x: Array, w: Array, b: Array) -> Any:
        return conv_forward_naive(x, w, b, self.param)

    def torch(self, x: Any, w: Any, b: Any) -> Any:
        return F.conv2d(x, w, b, self.stride, self.pad, self.dilation, self.groups)


def make(images: tuple[int, ...], filters: tuple[int, ...], stride: int, pad: int, **more: int) -> Case:
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape) for shape in (images, filters, filters[:1]))
    return Case(x, w, b, stride, pad, **more)


@st.composite
def cases(draw: st.DrawFn, plain: bool = False, largest: int = 4) -> Case:
    """Sizes from the number of places backwards, so that every stride divides."""
    few = st.integers(1, 3)
    stride, pad = draw(few), draw(st.integers(0, 3))
    dilation, groups = (1, 1) if plain else (draw(few), draw(few))
    window = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    places = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    height, width = ((p - 1) * stride + dilation * (k - 1) + 1 - 2 * pad for p, k in zip(places, window, strict=True))
    assume(height >= 1 and width >= 1)
    C, count = draw(few), draw(few)
    images = (draw(st.integers(1, 4)), groups * C, height, width)
    return make(images, (groups * count, C, *window), stride, pad, dilation=dilation, groups=groups)


class TestFast:
    @settings(max_examples=150, deadline=None)
    @given(cases())
    def test_equals_torch(self, case: Case) -> None:
        check_layer(case.forward, conv_backward, case.inputs, case.torch, rtol=0, numeric=False)

    @settings(max_examples=25, deadline=None)
    @given(cases(largest=3))
    def test_gradients_are_central_differences(self, case: Case) -> None:
        check_layer(case.forward, conv_backward, case.inputs, case.torch)

    @settings(max_examples=40, deadline=None)
    @given(cases(), st.integers(1, 2000))
    def test_blocks_and_pieces_make_no_difference(self, case: Case, limit: int) -> None:
        """From one place at a time up to a few images, with a remainder in the last block."""
        dout = np.random.default_rng(1).standard_normal(case.forward(*case.inputs.values())[0].shape)
        whole = run_untouched(case.forward, conv_backward, list(case.inputs.values()), [dout])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_im2col, "COLUMNS_BYTES", 8 * limit)
            parts = run_untouched(case.forward, conv_backward, list(case.inputs.values()), [dout])
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        "case",
        [
            make((3, 3, 32, 32), (32, 3, 7, 7), 1, 3),
            make((9, 16, 8, 8), (24, 16, 3, 3), 1, 1),
            make((2, 3, 31, 31), (5, 3, 3, 3), 2, 1),
            make((2, 3, 35, 35), (8, 3, 11, 11), 4, 0),
            make((2, 12, 9, 9), (12, 1, 3, 3), 1, 1, groups=12),  # depthwise
            make((2, 12, 9, 9), (24, 1, 3, 3), 2, 1, groups=12),
            make((5, 20, 4, 4), (10, 20, 1, 1), 1, 0),
            make((2, 4, 20, 20), (4, 4, 3, 3), 1, 4, dilation=4),
            make((1, 2, 1, 1), (2, 2, 1, 1), 1, 5),  # more padding than image
            make((2, 2, 7, 1), (2, 2, 2, 1), 5, 0),  # pixels that no window sees
        ],
    )
    def test_usual_and_odd_shapes(self, case: Case) -> None:
        check_layer(case.forward, conv_backward, case.inputs, case.torch, rtol=1e-10, numeric=False)

    def test_no_images(self) -> None:
        case = make((0, 2, 5, 5), (3, 2, 3, 3), 1, 1)
        out, cache = case.forward(case.x, case.w, case.b)
        assert out.shape == (0, 3, 5, 5)
        dx, dw, db = conv_backward(out, cache)
        assert dx.shape == case.x.shape
        assert not dw.any()
        assert not db.any()

    def test_whole_numbers_become_floats(self) -> None:
        """Pixels as they come from a file: 200 * 2 does not fit into a byte."""
        x, w, b = np.full((1, 1, 2, 2), 200, np.uint8), np.full((1, 1, 1, 1), 2), np.zeros(1, int)
        for forward, backward in ((conv_forward, conv_backward), (conv_forward_naive, conv_backward_naive)):
            out, cache = forward(x, w.astype(np.int8), b, {"stride": 1, "pad": 0})
            assert out.dtype == np.float32
            assert (out == 400).all()
            dx, dw, _ = backward(np.full_like(out, 0.5), cache)
            assert (dx == 1).all()
            assert (dw == 400).all()

    def test_a_bad_image_spoils_its_own_responses_only(self) -> None:
        case = make((3, 2, 4, 4), (2, 2, 3, 3), 1, 1)
        clean = case.forward(case.x, case.w, case.b)[0]
        case.x[1] = np.nan
        out = case.forward(case.x, case.w, case.b)[0]
        assert np.isnan(out[1]).all()
        np.testing.assert_array_equal(out[[0, 2]], clean[[0, 2]])

    @pytest.mark.parametrize("shape", [(32, 16, 56, 56), (1, 8, 448, 448)])
    def test_memory_is_bounded(self, shape: tuple[int, ...]) -> None:
        """The columns of all images together would take nine times as much as the images."""
        x = np.ones(shape, np.float32)
        w, b = np.ones((8, shape[1], 3, 3), np.float32), np.zeros(8, np.float32)
        tracemalloc.start()
        try:
            out, cache = conv_forward(x, w, b, {"stride": 1, "pad": 1})
            conv_backward(out, cache)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # Beyond out and dx: columns (of the gradients too; reserved but never used), and the rows of a block
        # of images, of their gradients and of their responses.
        rows = 3 * max(x[:1].nbytes, _im2col.COLUMNS_BYTES // 9) * 1.2
        assert peak < out.nbytes + x.nbytes + 2 * _im2col.COLUMNS_BYTES + rows


def test_the_drawing_is_right() -> None:
    """The numbers in the docstring are what the code copies."""
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    rows = _im2col.Rows(_im2col.Geometry(x, np.ones((1, 1, 3, 3)), np.ones(1), {"stride": 1, "pad": 1}))
    rows.load(x)
    columns = rows.im2col(slice(0, 12))[0]
    drawn = re.findall(r"weight \((\d), (\d)\) ([\d ]+)", conv.__doc__ or "")
    assert len(drawn) == 5
    for i, j, numbers in drawn:
        assert columns[3 * int(i) + int(j)].astype(int).tolist() == [int(number) for number in numbers.split()]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_im2col_is_unfold_of_torch(data: st.DataObject) -> None:
    """And a matrix product with the filters is the convolution; whatever does not fit is refused."""
    N, C, HH, WW, stride = (data.draw(st.integers(1, 3)) for _ in range(5))
    pad = data.draw(st.integers(0, 2))
    H, W = (window + stride * data.draw(st.integers(pad, 4)) for window in (HH, WW))
    pad = pad if 2 * pad % stride == 0 else 0
    x = np.random.default_rng(0).normal(size=(N, C, H, W)).astype(np.float32)
    columns = im2col(x, HH, WW, stride, pad)
    expected = F.unfold(torch.from_numpy(x), (HH, WW), stride=stride, padding=pad).numpy()
    np.testing.assert_array_equal(columns, expected)
    assert columns.dtype == np.float32
    w = np.random.default_rng(1).normal(size=(2, C, HH, WW))
    out, _ = conv_forward(x, w, np.zeros(2), {"stride": stride, "pad": pad})
    np.testing.assert_allclose((w.reshape(2, -1) @ columns).reshape(out.shape), out, rtol=1e-6, atol=1e-6)


def test_im2col_says_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"x must be \(N, C, H, W\)"):
        im2col(np.ones((3, 4, 4)), 2, 2)
    with pytest.raises(ShapeError, match="Stride 2 does not divide"):
        im2col(np.ones((1, 1, 4, 5)), 2, 2, 2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=4))
def test_the_receptive_field_of_a_chain_is_that_of_the_recorded_network(layers: list[tuple[int, int, int]]) -> None:
    size, jump = receptive_field(layers)
    network = nn.Sequential(*(nn.Conv2d(1, 1, k, stride=s, dilation=d) for k, s, d in layers))
    recorded = trace(network, torch.zeros(1, 1, size + jump, size + jump))
    field = receptive_fields(recorded)[recorded.outputs[0]]
    assert field is not None
    assert (field.size, field.stride) == ((size, size), (jump, jump))


class TestNaive:
    def test_by_hand(self) -> None:
        """Two channels, padding 1, stride 2; every number can be followed with a pencil."""
        x = np.array([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[0, 1, 0], [1, 0, 1], [0, 1, 0]]]], dtype=float)
        w = np.array([[[[1, 0, 0], [0, 2, 0], [0, 0, 3]], [[0, 0, 0], [0, 0, 10], [0, 0, 0]]]], dtype=float)
        param = {"stride": 2, "pad": 1}
        # upper left:  2 * 1 + 3 * 5 + 10 * 1 = 27          upper right: 2 * 3 + 10 * 0 = 6
        # lower left:  2 * 7 + 10 * 1 = 24                   lower right: 1 * 5 + 2 * 9 = 23
        expected = np.array([[[[27, 6], [24, 23]]]]) + 0.5
        dout = np.array([[[[1, 10], [100, 1000]]]], dtype=float)
        # The pixel in the middle is under weight 3 of the upper left window and weight 1 of the lower right one.
        dx = np.array([[2, 0, 20], [0, 3 + 1000, 0], [200, 0, 2000]], dtype=float)
        second = np.array([[0, 10, 0], [0, 0, 0], [0, 1000, 0]], dtype=float)
        # Weight (1, 1) meets the corners 1, 3, 7, 9; (1, 2) what is to the right of them.
        for forward, backward in ((conv_forward_naive, conv_backward_naive), (conv_forward, conv_backward)):
            out, cache = forward(x, w, np.array([0.5]), param)
            np.testing.assert_allclose(out, expected, rtol=1e-14)
            dx_, dw, db = backward(dout, cache)
            np.testing.assert_allclose(dx_[0], [dx, second], rtol=1e-14)
            assert dw[0, 0, 1, 1] == 1 * 1 + 3 * 10 + 7 * 100 + 9 * 1000
            assert dw[0, 0, 2, 2] == 5 * 1
            assert dw[0, 0, 0, 0] == 5 * 1000
            assert dw[0, 1, 1, 2] == 1 * 1 + 1 * 100
            assert db == [1111]

    @settings(max_examples=40, deadline=None)
    @given(cases(plain=True, largest=3))
    def test_equals_torch(self, case: Case) -> None:
        check_layer(case.naive, conv_backward_naive, case.inputs, case.torch, rtol=0)

    @settings(max_examples=40, deadline=None)
    @given(cases(plain=True, largest=3))
    def test_fast_equals_naive(self, case: Case) -> None:
        inputs = list(case.inputs.values())
        dout = np.random.default_rng(1).standard_normal(case.naive(*inputs)[0].shape)
        naive = run_untouched(case.naive, conv_backward_naive, inputs, [dout])
        fast = run_untouched(case.forward, conv_backward, inputs, [dout])
        for one, other in zip(naive, fast, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("key", ["dilation", "groups"])
    def test_refuses_what_it_has_not(self, key: str) -> None:
        case = make((1, 2, 5, 5), (2, 2, 3, 3), 1, 1)
        with pytest.raises(UsageError, match=f'no "{key}".*conv_forward has'):
            conv_forward_naive(case.x, case.w, case.b, {"stride": 1, "pad": 1, key: 1})


@pytest.mark.parametrize("forward", [conv_forward, conv_forward_naive])
class TestBadInput:
    """Both say the same."""

    def call(self, forward: Any, x: Any = (2, 3, 8, 8), w: Any = (4, 3, 3, 3), b: Any = (4,), **param: Any) -> None:
        forward(np.ones(x), np.ones(w), np.ones(b), {"stride": 1, "pad": 1, **param})

    def test_stride_that_does_not_divide(self, forward: Any) -> None:
        words = r"Stride 2 .*height 8 with pad 1: \(8 \+ 2 \* 1 - 3\) / 2 = 3\.5 .*height 7 or 9 fits"
        with pytest.raises(ShapeError, match=words):
            self.call(forward, stride=2)
        with pytest.raises(ShapeError, match=r"width 9: \(9 - 2\) / 3 = 2.33333 .*width 8 or 11 fits"):
            self.call(forward, (1, 3, 8, 9), (4, 3, 2, 2), stride=3, pad=0)
        with pytest.raises(ShapeError, match=r"\(1 \+ 2 \* 1 - 2\) / 2 = 0\.5 .*height 2 fits"):
            self.call(forward, (1, 3, 1, 1), (4, 3, 2, 2), stride=2)

    def test_what_the_message_says_fits_does_fit(self, forward: Any) -> None:
        self.call(forward, (1, 3, 7, 9), stride=2)
        self.call(forward, (1, 3, 2, 2), (4, 3, 2, 2), stride=2)

    def test_filter_larger_than_the_image(self, forward: Any) -> None:
        with pytest.raises(ShapeError, match=r"height 11 does not fit .* height 8 with pad 1, 10 pixels in all.* 9 or"):
            self.call(forward, w=(4, 3, 11, 3))
        with pytest.raises(ShapeError, match=r"width 9 does not fit into an image of width 8\. "):
            self.call(forward, w=(4, 3, 1, 9), pad=0)

    def test_channels(self, forward: Any) -> None:
        words = (
            r"\(4, 1, 3, 3\) is for 1 channels, but x of shape \(2, 3, 8, 8\) has 3.*must be of shape \(4, 3, 3, 3\)"
        )
        with pytest.raises(ShapeError, match=words):
            self.call(forward, w=(4, 1, 3, 3))

    def test_shapes(self, forward: Any) -> None:
        with pytest.raises(ShapeError, match=r"x must be \(N, C, H, W\), got an array of shape \(3, 8, 8\)"):
            self.call(forward, (3, 8, 8))
        with pytest.raises(ShapeError, match=r"w must be \(F, C, HH, WW\), got an array of shape \(3, 3\)"):
            self.call(forward, w=(3, 3))
        with pytest.raises(ShapeError, match=r"b must be of shape \(4,\) .*\(4, 3, 3, 3\), got \(3,\)"):
            self.call(forward, b=(3,))
        with pytest.raises(ShapeError, match="without a pixel"):
            self.call(forward, w=(4, 3, 0, 3))

    def test_keys(self, forward: Any) -> None:
        with pytest.raises(UnknownNameError, match=r'no key "padding"\. Did you mean "pad"'):
            self.call(forward, padding=1)
        with pytest.raises(UsageError, match=r'conv_param lacks "pad"'):
            forward(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), np.ones(1), {"stride": 1})
        with pytest.raises(UsageError, match=r'conv_param\["stride"\] must be a whole number .*got \(2, 2\)'):
            self.call(forward, stride=(2, 2))
        with pytest.raises(UsageError, match=r'\["pad"\] must be a whole number .*got 1\.0'):
            self.call(forward, pad=1.0)
        with pytest.raises(UsageError, match=r'\["stride"\] must be at least 1, got 0'):
            self.call(forward, stride=0)
        with pytest.raises(UsageError, match=r'\["pad"\] must be at least 0, got -1'):
            self.call(forward, pad=-1)
        self.call(forward, stride=np.int64(1), pad=np.uint8(1))

    def test_dout(self, forward: Any) -> None:
        backward = conv_backward if forward is conv_forward else conv_backward_naive
        case = make((2, 3, 8, 8), (4, 3, 3, 3), 1, 1)
        _, cache = forward(case.x, case.w, case.b, case.param)
        with pytest.raises(ShapeError, match=r"dout must be of shape \(2, 4, 8, 8\) .*got \(2, 4, 8, 7\)"):
            backward(np.ones((2, 4, 8, 7)), cache)


def test_groups_that_do_not_divide() -> None:
    x, w, b = np.ones((1, 4, 3, 3)), np.ones((6, 2, 3, 3)), np.ones(6)
    with pytest.raises(ShapeError, match=r"3 groups must divide .*\(1, 4, 3, 3\) has 4 channels, .* has 6 filters"):
        conv_forward(x, w, b, {"stride": 1, "pad": 1, "groups": 3})
    words = r"\(6, 1, 3, 3\) is for 1 channels in each of 2 groups, but .* has 4\..*must be of shape \(6, 2, 3, 3\)"
    with pytest.raises(ShapeError, match=words):
        conv_forward(x, w[:, :1], b, {"stride": 1, "pad": 1, "groups": 2})
    with pytest.raises(ShapeError, match=r"height 5 \(3 at dilation 2\) does not fit"):
        conv_forward(x, np.ones((6, 4, 3, 3)), b, {"stride": 1, "pad": 0, "dilation": 2})
