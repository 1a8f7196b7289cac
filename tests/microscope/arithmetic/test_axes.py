"""The view (C, H, W) of tensors of every layout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from cnnlab.microscope.arithmetic import index_of, places_of, to_view, view_shape
from cnnlab.microscope.arithmetic.axes import channel_of, channels_last_after

LAYOUTS = [
    ((1, 3, 4, 5), False, (3, 4, 5)),
    ((1, 4, 5, 3), True, (3, 4, 5)),
    ((1, 7), False, (7, 1, 1)),
    ((7,), False, (7, 1, 1)),
    ((), False, (1, 1, 1)),
    ((1, 9, 4), False, (4, 3, 3)),
    ((1, 6, 4), False, (4, 6, 1)),
    ((16, 5), False, (5, 4, 4)),
    ((3, 6, 6), False, (3, 6, 6)),
    ((1, 2, 3, 4, 5), False, (2, 12, 5)),
    ((4, 2, 3, 3), False, (2, 12, 3)),
]


@pytest.mark.parametrize(("shape", "channels_last", "view"), LAYOUTS)
def test_every_layout_has_a_view_whose_places_name_its_elements(
    shape: tuple[int, ...], channels_last: bool, view: tuple[int, ...]
) -> None:
    assert view_shape(shape, channels_last) == view
    tensor = torch.arange(int(np.prod(shape))).reshape(shape)
    seen = to_view(tensor, channels_last)
    assert tuple(seen.shape) == view
    for at in itertools.product(*map(range, view)):
        flat = int(tensor[index_of(shape, at, channels_last)])
        assert flat == int(seen[at])
        assert tuple(places_of(shape, flat, channels_last)) == at


def test_tokens_lie_row_by_row_in_their_square() -> None:
    """Token 5 of 9 is in row 1, column 2."""
    assert index_of((1, 9, 4), (3, 1, 2)) == (0, 5, 3)


def test_a_place_outside_is_refused() -> None:
    with pytest.raises(IndexError, match=r"no place \[3, 0, 0\]"):
        index_of((1, 3, 4, 5), (3, 0, 0))


def test_a_channel_of_any_layout_can_be_written_to() -> None:
    for shape, channels_last, _ in LAYOUTS:
        if shape:
            tensor = torch.ones(shape)
            channel_of(tensor, 2 if view_shape(shape, channels_last)[0] > 2 else 1, channels_last).mul_(0)
            sums = to_view(tensor, channels_last).flatten(1).sum(1)
            assert (sums == 0).sum() == 1


def test_channels_are_the_last_between_two_permutations() -> None:
    first, last = (1, 6, 4, 4), (1, 4, 4, 6)
    to_last, to_first = {"dims": [0, 2, 3, 1]}, {"dims": [0, 3, 1, 2]}
    assert channels_last_after("permute", to_last, first, last, False)
    assert not channels_last_after("permute", to_first, last, first, True)
    assert not channels_last_after("permute", to_last, last, (1, 4, 6, 4), True)
    assert channels_last_after("native_layer_norm", {"normalized_shape": [6]}, last, last, False)
    assert channels_last_after("view", {}, (16, 12), (1, 4, 4, 12), False)
    assert not channels_last_after("view", {}, (1, 96), (1, 6, 4, 4), False)
    assert channels_last_after("gelu", {}, last, last, True)
    assert not channels_last_after("convolution", {}, first, first, False)
