"""Splits, data sets, stratified choice and statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from cnnlab.data import ArraySplit, Crops, ImageData, Preprocess, base, channel_statistics, class_counts
from cnnlab.data.batch_augment import draw_crops
from cnnlab.data.stratify import stratified_choice, stratified_split
from cnnlab.errors import DataError, UsageError

labels_lists = st.lists(st.integers(0, 4), min_size=1, max_size=80)


def make_split(count: int, classes: int = 3, channels: int = 1, size: int = 6, seed: int = 0) -> ArraySplit:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    return ArraySplit(pixels, rng.permutation(np.arange(count) % classes))


def make_data(count: int = 60, **splits: ArraySplit | None) -> ImageData:
    named = {"val": None, "test": None, **splits}
    return ImageData("made", ["a", "b", "c"], make_split(count), named["val"], named["test"], "memory")


class TestArraySplit:
    def test_native_fetch_is_the_array(self) -> None:
        split = make_split(10, channels=3)
        preprocess = Preprocess(6, 3, (0.5,) * 3, (0.5,) * 3)
        rows = torch.tensor([7, 2, 2])
        assert torch.equal(split.fetch(rows, preprocess), split.pixels[rows])

    @pytest.mark.parametrize("budget", [0, 10**9])
    @pytest.mark.parametrize(("channels", "wanted"), [(1, 1), (1, 3), (3, 1), (3, 3)])
    def test_resized_fetch_is_pixels_of_each(
        self, channels: int, wanted: int, budget: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base, "memory_budget", lambda: budget)
        split = make_split(5, channels=channels)
        for size in (9, 4):  # a change of geometry renews the cache
            preprocess = Preprocess(size, wanted, (0.5,) * wanted, (0.5,) * wanted)
            rows = torch.tensor([4, 0, 3])
            expected = torch.stack([preprocess.pixels(split.pixels[i]) for i in rows])
            assert torch.equal(split.fetch(rows, preprocess), expected)
            assert torch.equal(split.fetch(rows, preprocess), expected)

    def test_crops_are_boxes_cut_and_resized(self) -> None:
        split = make_split(4, size=12)
        preprocess = Preprocess(6, 1, (0.5,), (0.5,))
        # Half the width and half the height, at the lower right corner: 6x6, nothing to resize.
        crops = Crops(np.full((4, 1), 0.25), np.ones((4, 1)), np.full((4, 2), 0.9999))
        out = split.fetch(torch.arange(4), preprocess, crops)
        assert torch.equal(out, split.pixels[:, :, 6:, 6:])

    def test_subset_keeps_order_and_names(self) -> None:
        split = make_split(5)
        split.names = list("abcde")
        part = split.subset([3, 1])
        assert part.names == ["d", "b"]
        assert torch.equal(part.pixels, split.pixels[[3, 1]])
        assert torch.equal(part.labels, split.labels[[3, 1]])
        assert torch.equal(split.image(3, Preprocess(6, 1, (0.5,), (0.5,))), split.pixels[3])

    def test_wrong_arrays(self) -> None:
        with pytest.raises(DataError, match=r"torch\.float32"):
            ArraySplit(torch.zeros(2, 1, 4, 4), [0, 1])
        with pytest.raises(DataError, match="2 images have labels of shape"):
            ArraySplit(torch.zeros(2, 4, 4, dtype=torch.uint8), [0])
        with pytest.raises(DataError, match="1 names"):
            ArraySplit(torch.zeros(2, 4, 4, dtype=torch.uint8), [0, 1], ["x"])


class TestCrops:
    @given(st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 1), st.integers(0, 1000))
    def test_boxes_are_inside(self, height: int, width: int, scale: float, seed: int) -> None:
        crops = draw_crops(np.random.default_rng(seed), 5, scale)
        for i in range(len(crops)):
            top, left, h, w = crops.box(i, height, width)
            assert top >= 0
            assert left >= 0
            assert h >= 1
            assert w >= 1
            assert top + h <= height
            assert left + w <= width

    def test_area_and_aspect_have_the_drawn_range(self) -> None:
        crops = draw_crops(np.random.default_rng(0), 500, 0.25)
        boxes = np.array([crops.box(i, 400, 400) for i in range(500)])
        area, aspect = boxes[:, 2] * boxes[:, 3] / 400**2, boxes[:, 3] / boxes[:, 2]
        assert 0.24 <= area.min() < 0.3
        assert 0.9 < area.max() <= 1
        assert 0.74 <= aspect.min() < 0.8
        assert 1.25 < aspect.max() <= 1.35

    def test_nothing_fits(self) -> None:
        crops = Crops(np.ones((1, 1)), np.full((1, 1), 0.9), np.zeros((1, 2)))
        assert crops.box(0, 10, 100) == (0, 43, 10, 13)  # the largest centred box of aspect 4/3


class TestStratified:
    @given(labels_lists, st.floats(0.05, 0.95), st.integers(0, 10))
    def test_split_is_a_partition_by_class(self, values: list[int], fraction: float, seed: int) -> None:
        labels = torch.tensor(values)
        sizes = torch.bincount(labels)
        if sizes.max() < 2:
            with pytest.raises(DataError, match="two images"):
                stratified_split(labels, fraction, seed)
            return
        rest, part = stratified_split(labels, fraction, seed)
        assert sorted(rest.tolist() + part.tolist()) == list(range(len(values)))
        for label, size in enumerate(sizes.tolist()):
            taken = int((labels[part] == label).sum())
            assert abs(taken - size * fraction) < 2
            if size >= 2:
                assert 1 <= taken < size
            else:
                assert taken == 0
        again = stratified_split(labels, fraction, seed)
        assert torch.equal(again[1], part)

    def test_exact_shares(self) -> None:
        labels = torch.arange(5000) % 10
        rest, part = stratified_split(labels, 0.1, 3)
        assert torch.bincount(labels[part]).tolist() == [50] * 10
        assert len(rest) == 4500
        other = stratified_split(labels, 0.1, 4)[1]
        assert not torch.equal(part, other)

    @given(labels_lists, st.integers(1, 100), st.integers(0, 5))
    def test_choice(self, values: list[int], count: int, seed: int) -> None:
        labels = torch.tensor(values)
        chosen = stratified_choice(labels, count, seed)
        assert len(chosen) == min(count, len(values))
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        share = len(chosen) / len(values)
        difference = torch.bincount(labels[chosen], minlength=5) - torch.bincount(labels, minlength=5) * share
        assert difference.abs().max() < 1

    @pytest.mark.parametrize("fraction", [0, 1, -0.5, 20])
    def test_share_out_of_range(self, fraction: float) -> None:
        with pytest.raises(UsageError, match="between 0 and 1"):
            stratified_split(torch.tensor([0, 0]), fraction, 0)


class TestImageData:
    def test_with_validation(self) -> None:
        data = make_data(60)
        divided = data.with_validation(0.2, 1)
        assert divided.val is not None
        assert (len(divided.train), len(divided.val)) == (48, 12)
        assert class_counts(divided.val, data.classes).tolist() == [4, 4, 4]
        both = torch.cat([divided.train.pixels, divided.val.pixels]).flatten(1)  # type: ignore[attr-defined]
        assert sorted(both.tolist()) == sorted(data.train.pixels.flatten(1).tolist())  # type: ignore[attr-defined]
        assert "12 of the 60" in divided.notes[-1]
        assert divided.with_validation(0.5, 1) is divided
        assert data.val is None

    def test_limited(self) -> None:
        data = make_data(60, test=make_split(30, seed=2))
        small = data.limited(9, test=100)
        assert class_counts(small.train, data.classes).tolist() == [3, 3, 3]
        assert small.test is data.test
        with pytest.raises(UsageError, match="0 images"):
            data.limited(0)

    def test_split_rows(self) -> None:
        data = make_data(4, val=make_split(2))
        assert data.val is not None
        data.val.names = ["x.png", "y.png"]
        rows = data.split_rows()
        assert [(row["split"], row["index"]) for row in rows] == [("train", i) for i in range(4)] + [
            ("val", 0),
            ("val", 1),
        ]
        assert [row["name"] for row in rows] == [""] * 4 + ["x.png", "y.png"]
        assert [row["label"] for row in rows[:4]] == ["abc"[i] for i in data.train.labels]

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 2), min_size=3, max_size=50).filter(lambda v: len(set(v)) == 3))
    def test_class_weights_equal_scikit_learn(self, values: list[int]) -> None:
        split = ArraySplit(torch.zeros(len(values), 1, 2, 2, dtype=torch.uint8), values)
        data = ImageData("made", ["a", "b", "c"], split, None, None, "memory")
        expected = compute_class_weight("balanced", classes=np.arange(3), y=np.array(values))
        weights = data.class_weights()
        np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
        assert weights[split.labels].mean().item() == pytest.approx(1.0, rel=1e-5)

    def test_absent_class_weighs_nothing(self) -> None:
        split = ArraySplit(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), [0, 0, 0, 2])
        weights = ImageData("made", ["a", "b", "c"], split, None, None, "memory").class_weights()
        np.testing.assert_allclose(weights.numpy(), [4 / 6, 0, 4 / 2])

    def test_labels_out_of_range(self) -> None:
        with pytest.raises(DataError, match=r"labels are 0\.\.1; its train split has labels 0\.\.2"):
            ImageData("made", ["a", "b"], make_split(5), None, None, "memory")

    def test_empty_train(self) -> None:
        with pytest.raises(DataError, match="empty"):
            ImageData("made", ["a", "b"], make_split(0), None, None, "memory")


class TestStatistics:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_equal_numpy(self, channels: int) -> None:
        split = make_split(300, channels=channels)
        preprocess = Preprocess(6, channels, (0.0,) * channels, (1.0,) * channels)
        mean, std = channel_statistics(split, preprocess)
        values = split.pixels.numpy() / 255
        np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-9)
        np.testing.assert_allclose(std, values.std((0, 2, 3)), rtol=1e-9)

    def test_sample_is_spread_evenly(self) -> None:
        split = ArraySplit(torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1), [0] * 100)
        mean, _ = channel_statistics(split, Preprocess(1, 1, (0.0,), (1.0,)), sample=10)
        assert mean[0] * 255 == pytest.approx(45.0)

    def test_constant_images_can_be_divided_by(self) -> None:
        split = ArraySplit(torch.full((5, 1, 4, 4), 51, dtype=torch.uint8), [0] * 5)
        mean, std = channel_statistics(split, Preprocess(4, 1, (0.0,), (1.0,)))
        assert mean[0] == pytest.approx(0.2)
        assert std == (1.0,)
