"""Augmentation against loops, torch's own operations and the papers' formulas."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cnnlab.data import Augment, Preprocess
from cnnlab.data.batch_augment import BatchAugment, cut_out_, cutmix_box, kornia_transform, paste_box, shift_and_flip
from cnnlab.errors import UnknownNameError, UsageError


def batch(count: int, channels: int = 3, size: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(count) % 4


def unit(size: int = 8, channels: int = 3) -> Preprocess:
    """Normalisation that only divides by 255."""
    return Preprocess(size, channels, (0.0,) * channels, (1.0,) * channels)


def apply(augment: Augment, pixels: torch.Tensor, labels: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, ...]:
    preprocess = unit(pixels.shape[-1], pixels.shape[1])
    return BatchAugment(augment, preprocess, 4)(pixels, labels, np.random.default_rng(seed))


class TestShiftAndFlip:
    @settings(max_examples=50)
    @given(
        st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 4), st.data()
    )
    def test_equals_a_loop_over_images(
        self, count: int, channels: int, height: int, width: int, padding: int, data: st.DataObject
    ) -> None:
        places = st.lists(st.integers(0, 2 * padding), min_size=count, max_size=count)
        top, left = data.draw(places), data.draw(places)
        flip = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
        pixels = torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8)
        out = shift_and_flip(pixels, padding, torch.tensor(top), torch.tensor(left), torch.tensor(flip))
        for i in range(count):
            padded = F.pad(pixels[i], (padding,) * 4)
            cut = padded[:, top[i] : top[i] + height, left[i] : left[i] + width]
            assert torch.equal(out[i], cut.flip(2) if flip[i] else cut)

    @given(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9), st.integers(0, 3), st.data())
    def test_a_reflected_border_equals_numpy(
        self, channels: int, height: int, width: int, padding: int, data: st.DataObject
    ) -> None:
        top, left = (data.draw(st.integers(0, 2 * padding)) for _ in range(2))
        pixels = torch.randint(0, 256, (1, channels, height, width), dtype=torch.uint8)
        out = shift_and_flip(
            pixels, padding, torch.tensor([top]), torch.tensor([left]), torch.tensor([False]), reflect=True
        )
        padded = np.pad(pixels.numpy(), ((0, 0), (0, 0), *[(padding, padding)] * 2), mode="reflect")
        np.testing.assert_array_equal(out, padded[:, :, top : top + height, left : left + width])

    def test_a_border_wider_than_the_image_cannot_be_reflected(self) -> None:
        with pytest.raises(UsageError, match=r"augment.crop below 8"):
            BatchAugment(Augment(crop=8, crop_fill="reflect"), unit(), 4)

    @given(st.integers(0, 100))
    def test_flip_keeps_the_pixels(self, seed: int) -> None:
        pixels, labels = batch(6)
        images, _ = apply(Augment(flip=True), pixels, labels, seed)
        before = pixels.float().div(255).flatten(2).sort().values
        assert torch.allclose(images.flatten(2).sort().values, before)
        for image, original in zip(images, pixels.float() / 255, strict=True):
            assert torch.allclose(image, original) or torch.allclose(image, original.flip(2))

    def test_half_is_flipped(self) -> None:
        pixels, labels = batch(2000, 1, 4)
        images, _ = apply(Augment(flip=True), pixels, labels)
        same = (images - pixels.float() / 255).abs().amax((1, 2, 3)) < 1e-6
        assert 900 < int(same.sum()) < 1100

    def test_every_shift_occurs(self) -> None:
        pixels = torch.zeros(2000, 1, 5, 5, dtype=torch.uint8)
        pixels[:, :, 2, 2] = 255
        images, _ = apply(Augment(crop=2), pixels, torch.zeros(2000, dtype=torch.int64))
        places = Counter(images.flatten(1).argmax(1).tolist())
        assert len(places) == 25
        assert min(places.values()) > 40  # 80 expected of each


class TestCutout:
    @given(st.integers(0, 9), st.integers(0, 7), st.integers(0, 7))
    def test_equals_slices(self, side: int, row: int, column: int) -> None:
        images = torch.ones(1, 2, 8, 8)
        cut_out_(images, side, torch.tensor([row]), torch.tensor([column]))
        expected = np.ones((8, 8))
        top, left = row - side // 2, column - side // 2
        expected[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 0
        assert np.array_equal(images[0, 0].numpy(), expected)
        assert torch.equal(images[0, 0], images[0, 1])

    def test_fills_with_the_mean(self) -> None:
        preprocess = Preprocess(8, 1, (0.25,), (0.5,))
        pixels = torch.full((50, 1, 8, 8), 255, dtype=torch.uint8)
        augment = BatchAugment(Augment(cutout=4), preprocess, 4)
        images, _ = augment(pixels, torch.zeros(50, dtype=torch.int64), np.random.default_rng(0))
        assert sorted({round(value, 4) for value in images.unique().tolist()}) == [0.0, 1.5]
        covered = (images == 0).sum((1, 2, 3))
        assert covered.max() == 16
        assert covered.min() >= 4  # a corner at least


class TestMixing:
    def test_mixup_blends_pairs(self) -> None:
        pixels, labels = batch(16)
        images, targets = apply(Augment(mixup=0.4), pixels, labels, seed=3)
        rng = np.random.default_rng(3)
        share, partner = rng.beta(0.4, 0.4), rng.permutation(16)
        x = pixels.double().numpy() / 255
        np.testing.assert_allclose(images.numpy(), share * x + (1 - share) * x[partner], atol=1e-6)
        y = np.eye(4)[labels.numpy()]
        np.testing.assert_allclose(targets.numpy(), share * y + (1 - share) * y[partner], atol=1e-6)

    @pytest.mark.parametrize("augment", [Augment(mixup=0.2), Augment(cutmix=1.0), Augment(mixup=1.0, cutmix=1.0)])
    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_targets_sum_to_one(self, augment: Augment, count: int) -> None:
        for seed in range(20):
            pixels, labels = batch(count)
            images, targets = apply(augment, pixels, labels, seed)
            assert targets.shape == (count, 4)
            assert targets.dtype == torch.float32
            assert torch.allclose(targets.sum(1), torch.ones(count))
            assert targets.min() >= 0
            assert images.shape == pixels.shape

    def test_cutmix_shares_are_the_area(self) -> None:
        """With a picture per class of one value each, the mean of the mixed image is the share in the target."""
        values = torch.tensor([0, 255], dtype=torch.uint8)
        pixels = values.view(2, 1, 1, 1).expand(2, 1, 16, 16)
        shares = set()
        for seed in range(60):
            images, targets = apply(Augment(cutmix=1.0), pixels, torch.tensor([0, 1]), seed)
            np.testing.assert_allclose(images.mean((1, 2, 3)).numpy(), targets[:, 1].numpy(), atol=1e-6)
            shares.add(round(float(targets[0, 1]), 3))
        assert len(shares) > 10

    @given(st.integers(2, 40), st.floats(0, 1), st.data())
    def test_cutmix_box_is_inside(self, size: int, share: float, data: st.DataObject) -> None:
        row, column = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
        top, bottom, left, right = cutmix_box(size, share, row, column)
        assert 0 <= top <= bottom <= size
        assert 0 <= left <= right <= size
        assert (bottom - top) * (right - left) <= size**2 * (1 - share) + 1e-6

    def test_paste_box(self) -> None:
        images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 4, 4)
        mixed, share = paste_box(images, torch.tensor([1, 0]), (1, 3, 0, 4))
        assert mixed[0, 0].tolist() == [[0] * 4, [1] * 4, [1] * 4, [0] * 4]
        assert share == 0.5
        assert images[0].max() == 0

    def test_both_are_chosen_alike(self) -> None:
        pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 8, 8)
        blends = 0
        for seed in range(400):
            images, _ = apply(Augment(mixup=1.0, cutmix=1.0), pixels, torch.tensor([0, 1]), seed)
            inner = (images > 0.001) & (images < 0.999)
            blends += bool(inner.any())
        # Half of the permutations of two leave both in place, and then neither changes anything.
        assert 60 < blends < 140


class TestKornia:
    def test_is_applied_and_deterministic(self) -> None:
        pytest.importorskip("kornia")
        pixels, labels = batch(8)
        augment = Augment(kornia=[{"name": "RandomAffine", "degrees": 45.0, "p": 1.0}])
        torch.manual_seed(5)
        state = torch.get_rng_state()
        first, _ = apply(augment, pixels, labels, seed=1)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(6)
        again, _ = apply(augment, pixels, labels, seed=1)
        other, _ = apply(augment, pixels, labels, seed=2)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert not torch.allclose(first, pixels.float() / 255)

    def test_gets_and_gives_unit_range(self) -> None:
        pytest.importorskip("kornia")
        pixels, labels = batch(4)
        images, _ = apply(Augment(kornia=[{"name": "RandomInvert", "p": 1.0}]), pixels, labels)
        assert torch.allclose(images, 1 - pixels.float() / 255, atol=1e-6)

    def test_unknown_name_and_arguments(self) -> None:
        pytest.importorskip("kornia")
        with pytest.raises(UnknownNameError, match='Did you mean "RandomAffine"'):
            kornia_transform({"name": "RandomAfine"})
        with pytest.raises(UnknownNameError):
            kornia_transform({"name": "RandomMixUpV2"})
        with pytest.raises(UsageError, match=r'no argument "degree".*"degrees"'):
            kornia_transform({"name": "RandomAffine", "degree": 3})
        with pytest.raises(UsageError, match="refuses its arguments"):
            kornia_transform({"name": "RandomAffine"})
        with pytest.raises(UsageError, match="give a name"):
            kornia_transform({"degrees": 3})

    def test_change_of_size_is_refused(self) -> None:
        pytest.importorskip("kornia")
        pixels, labels = batch(2)
        with pytest.raises(UsageError, match="must keep the size"):
            apply(Augment(kornia=[{"name": "CenterCrop", "size": 4}]), pixels, labels)

    def test_without_kornia(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
        with pytest.raises(UsageError, match=r'pip install "cnnlab\[augment\]"'):
            kornia_transform({"name": "RandomAffine", "degrees": 3})


class TestAugment:
    def test_off_by_default(self) -> None:
        pixels, labels = batch(4)
        assert not Augment().active
        images, targets = apply(Augment(), pixels, labels)
        assert torch.equal(images, unit().normalize(pixels))
        assert targets is labels

    @pytest.mark.parametrize("on", [{"flip": True}, {"crop": 1}, {"crop_scale": 0.5}, {"kornia": [{"name": "x"}]}])
    def test_active(self, on: dict[str, object]) -> None:
        assert Augment(**on).active  # type: ignore[arg-type]
        assert not Augment(**on).mixes  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "bad", [{"crop": -1}, {"crop_scale": 0}, {"crop_scale": 1.5}, {"mixup": -1}, {"flop": True}]
    )
    def test_wrong_values(self, bad: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Augment(**bad)  # type: ignore[arg-type]
