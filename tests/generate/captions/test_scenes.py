"""Drawn scenes and the sentences about them."""

from __future__ import annotations

import numpy as np
import pytest

from cnnlab.errors import UsageError
from cnnlab.generate.captions.scenes import (
    COLOURS,
    LONGEST_CAPTION,
    SHAPES,
    UNSEEN_PAIRS,
    WORDS,
    Group,
    Scene,
    draw_scene,
    make_scenes,
)

TWO = Group(2, "red", "circle", "top")
ONE = Group(1, "blue", "cross", "bottom")


def test_one_group_is_described_by_its_place() -> None:
    assert Scene((Group(2, "red", "cross", "left"),)).captions() == [
        "two red crosses on the left",
        "there are two red crosses on the left",
        "on the left are two red crosses",
        "on the left there are two red crosses",
    ]


def test_two_groups_are_described_from_both_sides() -> None:
    assert Scene((TWO, ONE)).captions() == [
        "two red circles above a blue cross",
        "there are two red circles above a blue cross",
        "a blue cross below two red circles",
        "there is a blue cross below two red circles",
    ]
    groups = Group(1, "red", "circle", "left"), Group(3, "cyan", "square", "right")
    assert Scene(groups).captions()[::2] == [
        "a red circle to the left of three cyan squares",
        "three cyan squares to the right of a red circle",
    ]


def test_three_groups_are_named_from_left_to_right() -> None:
    left, right = Group(1, "green", "square", "bottom left"), Group(1, "green", "triangle", "bottom right")
    assert Scene((TWO, left, right)).captions() == [
        "two red circles above a green square and a green triangle",
        "there are two red circles above a green square and a green triangle",
        "a green square and a green triangle below two red circles",
        "there are a green square and a green triangle below two red circles",
    ]


def test_a_seed_gives_the_same_scenes_and_another_seed_others() -> None:
    pictures, scenes = make_scenes(20, seed=3)
    again, same = make_scenes(20, seed=3)
    assert pictures.shape == (20, 3, 64, 64)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, again)
    assert scenes == same
    assert make_scenes(20, seed=4)[1] != scenes


def test_training_lacks_the_pairs_of_held_out_scenes_but_no_colour_and_no_shape() -> None:
    def pairs_of(scenes: list[Scene]) -> set[tuple[str, str]]:
        return {(group.colour, group.shape) for scene in scenes for group in scene.groups}

    seen, unseen = pairs_of(make_scenes(400, 32)[1]), pairs_of(make_scenes(100, 32, pairs="unseen")[1])
    assert unseen == set(UNSEEN_PAIRS)
    assert not seen & unseen
    assert seen | unseen == {(colour, shape) for colour in COLOURS for shape in SHAPES}
    assert len(unseen) == 6
    for pairs in (seen, unseen):
        assert {colour for colour, _ in pairs} == set(COLOURS)
        assert {shape for _, shape in pairs} == set(SHAPES)


def test_groups_of_a_scene_differ_and_have_one_to_three_things() -> None:
    scenes = make_scenes(300, 32)[1]
    for scene in scenes:
        assert len({(group.colour, group.shape) for group in scene.groups}) == len(scene.groups)
    assert {group.count for scene in scenes for group in scene.groups} == {1, 2, 3}
    assert {len(scene.groups) for scene in scenes} == {1, 2, 3}


def test_all_captions_are_made_of_the_words_and_none_is_longer_than_the_longest() -> None:
    captions = [caption.split() for scene in make_scenes(1500, 32, pairs="all")[1] for caption in scene.captions()]
    assert {word for caption in captions for word in caption} == set(WORDS)
    assert max(map(len, captions)) == LONGEST_CAPTION


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", ["top", "bottom", "left", "right", "top left", "bottom right"])
def test_things_are_drawn_where_the_scene_says_and_as_many(shape: str, place: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(0)
    for count in (1, 2, 3):
        picture = draw_scene(Scene((Group(count, "purple", shape, place),)), 96, rng)
        covered = picture[1] < 140  # green is 51 in the things, and at least 228 around them
        assert ndimage.label(covered, np.ones((3, 3)))[1] == count
        rows, columns = np.nonzero(covered)
        assert rows.max() < 48 if "top" in place else rows.min() >= 48 if "bottom" in place else True
        assert columns.max() < 48 if "left" in place else columns.min() >= 48 if "right" in place else True


def test_shapes_have_the_area_of_their_geometry() -> None:
    # Circle pi r^2; square (2 * 0.92 r)^2; triangle with inradius 0.62 r, 3 sqrt(3) inradius^2; cross of two bars.
    areas = {"circle": np.pi, "square": 1.84**2, "triangle": 3 * np.sqrt(3) * 0.62**2, "cross": 2 * 2 * 0.72 - 0.72**2}
    for shape, area in areas.items():
        shares = []
        for seed in range(40):
            picture = draw_scene(Scene((Group(1, "purple", shape, "top"),)), 256, np.random.default_rng(seed))
            around, inside = picture[1].max().astype(float), picture[1].min().astype(float)
            shares.append(((around - picture[1]) / (around - inside)).sum())
        radius = 5 / 64 * 256  # in the middle of its range
        assert np.mean(shares) == pytest.approx(area * radius**2, rel=0.05), shape


def test_wrong_sizes_and_pairs_are_refused() -> None:
    with pytest.raises(UsageError, match="0 scenes of 64x64"):
        make_scenes(0)
    with pytest.raises(UsageError, match="1 scenes of 16x16"):
        make_scenes(1, 16)
    with pytest.raises(UsageError, match='got "none"'):
        make_scenes(1, pairs="none")  # type: ignore[arg-type]
