"""The view (C, H, W) of tensors of every layout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from cnnlab.microscope.arithmetic import index_of, places_of, to_view, view_shape
from cnnlab.microscope.arithmetic.axes import Layout, channel_of, layout_after

LAYOUTS = [
    ((1, 3, 4, 5), Layout.USUAL, (3, 4, 5)),
    ((1, 4, 5, 3), Layout.LAST, (3, 4, 5)),
    ((1, 7), Layout.USUAL, (7, 1, 1)),
    ((7,), Layout.USUAL, (7, 1, 1)),
    ((), Layout.USUAL, (1, 1, 1)),
    ((1, 9, 4), Layout.USUAL, (4, 3, 3)),
    ((1, 6, 4), Layout.USUAL, (4, 6, 1)),
    ((16, 5), Layout.USUAL, (5, 4, 4)),
    ((3, 6, 6), Layout.USUAL, (3, 6, 6)),
    ((1, 2, 3, 4, 5), Layout.USUAL, (2, 12, 5)),
    ((4, 2, 3, 3), Layout.USUAL, (2, 12, 3)),
    ((1, 3, 4), Layout.SEQUENCE, (3, 1, 4)),
    ((1, 3, 4), Layout.MAP, (1, 3, 4)),
    ((1, 3, 4, 5), Layout.FIRST, (3, 4, 5)),
]


@pytest.mark.parametrize(("shape", "layout", "view"), LAYOUTS)
def test_every_layout_has_a_view_whose_places_name_its_elements(
    shape: tuple[int, ...], layout: Layout, view: tuple[int, ...]
) -> None:
    assert view_shape(shape, layout) == view
    tensor = torch.arange(int(np.prod(shape))).reshape(shape)
    seen = to_view(tensor, layout)
    assert tuple(seen.shape) == view
    for at in itertools.product(*map(range, view)):
        flat = int(tensor[index_of(shape, at, layout)])
        assert flat == int(seen[at])
        assert tuple(places_of(shape, flat, layout)) == at


def test_tokens_lie_row_by_row_in_their_square() -> None:
    """Token 5 of 9 is in row 1, column 2."""
    assert index_of((1, 9, 4), (3, 1, 2)) == (0, 5, 3)


def test_a_place_outside_is_refused() -> None:
    with pytest.raises(IndexError, match=r"no place \[3, 0, 0\]"):
        index_of((1, 3, 4, 5), (3, 0, 0))


def test_a_channel_of_any_layout_can_be_written_to() -> None:
    for shape, layout, _ in LAYOUTS:
        if shape:
            tensor = torch.ones(shape)
            channels = view_shape(shape, layout)[0]
            channel_of(tensor, min(2, channels - 1), layout).mul_(0)
            sums = to_view(tensor, layout).flatten(1).sum(1)
            assert (sums == 0).sum() == 1


def test_channels_are_the_last_between_two_permutations() -> None:
    first, last = (1, 6, 4, 4), (1, 4, 4, 6)
    to_last, to_first = {"dims": [0, 2, 3, 1]}, {"dims": [0, 3, 1, 2]}
    assert layout_after("permute", to_last, first, last, Layout.FIRST) is Layout.LAST
    assert layout_after("permute", to_first, last, first, Layout.LAST) is Layout.USUAL
    assert layout_after("permute", to_last, last, (1, 4, 6, 4), Layout.LAST) is Layout.USUAL
    assert layout_after("native_layer_norm", {"normalized_shape": [6]}, last, last, Layout.USUAL) is Layout.LAST
    assert layout_after("view", {}, (16, 12), (1, 4, 4, 12), Layout.USUAL) is Layout.LAST
    assert layout_after("view", {}, (1, 96), (1, 6, 4, 4), Layout.USUAL) is Layout.USUAL
    assert layout_after("gelu", {}, last, last, Layout.LAST) is Layout.LAST
    assert layout_after("convolution", {}, first, first, Layout.USUAL) is Layout.FIRST


def test_three_dimensions_are_a_sequence_after_convolutions_and_tokens_after_their_transposition() -> None:
    sequence, tokens = (1, 6, 16), (1, 16, 6)
    assert layout_after("convolution", {}, (1, 3, 16), sequence, Layout.USUAL) is Layout.SEQUENCE
    assert layout_after("view", {}, (1, 6, 4, 4), sequence, Layout.FIRST) is Layout.SEQUENCE
    assert layout_after("squeeze", {"dim": 2}, (1, 6, 1, 16), sequence, Layout.FIRST) is Layout.SEQUENCE
    assert layout_after("relu", {}, sequence, sequence, Layout.SEQUENCE) is Layout.SEQUENCE
    assert layout_after("unsqueeze", {"dim": 2}, sequence, (1, 6, 1, 16), Layout.SEQUENCE) is Layout.FIRST
    assert layout_after("transpose", {"dim0": 1, "dim1": 2}, sequence, tokens, Layout.SEQUENCE) is Layout.LAST
    # Heads of attention (1, N, heads, d) that are put together are tokens.
    assert layout_after("view", {}, (1, 16, 2, 3), tokens, Layout.USUAL) is Layout.USUAL
    assert layout_after("select", {"dim": 1, "index": 0}, (1, 6, 4, 5), (1, 4, 5), Layout.FIRST) is Layout.MAP
