"""Batches: every image once, the same again, resumable, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnlab.data import ArraySplit, Augment, Batch, FileSplit, Loader, Preprocess, base
from cnnlab.data.scanning import Scanned, scan
from cnnlab.errors import DataError, UsageError

GREY = Preprocess(4, 1, (0.5,), (0.25,))
RGB = Preprocess(12, 3, (0.5,) * 3, (0.25,) * 3, "crop", 0.75)
EVERYTHING = Augment(flip=True, crop=1, crop_scale=0.5, cutout=2, mixup=0.5, cutmix=0.5)


def arrays(count: int, classes: int = 3) -> ArraySplit:
    pixels = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ArraySplit(pixels, torch.arange(count) % classes)


@pytest.fixture
def photos(tmp_path: Path) -> FileSplit:
    rng = np.random.default_rng(0)
    paths = []
    for i in range(23):
        array = rng.integers(0, 256, (int(rng.integers(14, 60)), int(rng.integers(14, 60)), 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(array).save(paths[-1])
    return FileSplit(paths, np.arange(23) % 3, scanned=scan(paths))


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("images", "labels", "targets", "indices"))


class TestCoverage:
    @settings(max_examples=150)
    @given(st.integers(1, 70), st.integers(1, 20), st.integers(1, 4), st.booleans())
    def test_every_index_once_across_ranks(self, count: int, batch_size: int, world: int, shuffle: bool) -> None:
        split = arrays(count)
        if shuffle and min(count, batch_size) < world:
            with pytest.raises(UsageError, match="processes cannot share"):
                Loader(split, GREY, batch_size, shuffle=True, world=world)
            return
        positions: list[int] = []
        steps = []
        for rank in range(world):
            loader = Loader(split, GREY, batch_size, shuffle=shuffle, rank=rank, world=world)
            batches = list(loader.epoch(3))
            steps.append(len(batches))
            for batch in batches:
                positions += batch.indices.tolist()
                assert len(batch) == len(batch.images) == len(batch.labels) > 0
                assert torch.equal(batch.labels, split.labels[batch.indices])
            if shuffle:
                assert len(batches) == len(loader)
        assert sorted(positions) == list(range(count))
        if shuffle:
            assert len(set(steps)) == 1  # or distributed training would wait for ever

    def test_order_is_kept_without_shuffle(self) -> None:
        split = arrays(10)
        batches = list(Loader(split, GREY, 4).epoch(0))
        assert [b.indices.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert torch.equal(batches[0].images, GREY.normalize(split.pixels[:4]))
        assert batches[0].targets is batches[0].labels

    @pytest.mark.parametrize(
        ("count", "batch_size", "world", "sizes"),
        [
            (9, 4, 1, [4, 5]),
            (10, 4, 1, [4, 4, 2]),
            (1, 4, 1, [1]),
            (3, 1, 1, [1, 1, 1]),
            (11, 8, 2, [11]),
            (12, 8, 2, [8, 4]),
        ],
    )
    def test_last_single_image_joins_the_batch_before(
        self, count: int, batch_size: int, world: int, sizes: list[int]
    ) -> None:
        if count < world:
            pytest.skip("fewer images than processes")
        loaders = [Loader(arrays(count), GREY, batch_size, shuffle=True, rank=r, world=world) for r in range(world)]
        per_rank = [[len(batch) for batch in loader.epoch(0)] for loader in loaders]
        assert [sum(parts) for parts in zip(*per_rank, strict=True)] == sizes
        assert len(loaders[0]) == len(sizes)

    def test_single_images_stay_when_not_shuffled(self) -> None:
        assert [len(b) for b in Loader(arrays(9), GREY, 4).epoch(0)] == [4, 4, 1]

    def test_empty_split(self) -> None:
        loader = Loader(arrays(0), GREY, 4)
        assert len(loader) == 0
        assert list(loader.epoch(0)) == []


class TestDeterminism:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(2, 40), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3), st.data())
    def test_resuming_gives_the_tail(
        self, count: int, batch_size: int, epoch: int, seed: int, data: st.DataObject
    ) -> None:
        loader = Loader(arrays(count), GREY, batch_size, shuffle=True, augment=EVERYTHING, seed=seed)
        whole = list(loader.epoch(epoch))
        start = data.draw(st.integers(0, len(whole)))
        again = Loader(arrays(count), GREY, batch_size, shuffle=True, augment=EVERYTHING, seed=seed)
        tail = list(again.epoch(epoch, start_step=start))
        assert len(tail) == len(whole) - start
        assert all(same(a, b) for a, b in zip(whole[start:], tail, strict=True))

    def test_resuming_in_files_with_kornia(self, photos: FileSplit) -> None:
        pytest.importorskip("kornia")
        augment = EVERYTHING.model_copy(update={"kornia": [{"name": "RandomAffine", "degrees": 20.0}]})
        whole = list(Loader(photos, RGB, 5, shuffle=True, augment=augment, seed=4).epoch(1))
        fresh = photos.subset(range(23))
        tail = list(Loader(fresh, RGB, 5, shuffle=True, augment=augment, seed=4).epoch(1, start_step=2))
        assert all(same(a, b) for a, b in zip(whole[2:], tail, strict=True))

    def test_epochs_seeds_and_ranks_differ(self) -> None:
        def first(seed: int = 0, epoch: int = 0, rank: int = 0) -> Batch:
            loader = Loader(arrays(40), GREY, 20, shuffle=True, augment=Augment(crop=2), seed=seed, rank=rank, world=2)
            return next(iter(loader.epoch(epoch)))

        base = first()
        assert same(base, first())
        for other in (first(seed=1), first(epoch=1), first(rank=1)):
            assert not torch.equal(base.indices, other.indices)

    def test_alternating_flips_show_each_image_both_ways_in_two_epochs(self) -> None:
        split = arrays(200)
        loader = Loader(split, GREY, 32, shuffle=True, augment=Augment(flip="alternate"))

        def mirrored(epoch: int) -> dict[int, bool]:
            flags = {}
            for batch in loader.epoch(epoch):
                plain = GREY.normalize(split.pixels[batch.indices])
                for index, image, original in zip(batch.indices.tolist(), batch.images, plain, strict=True):
                    flags[index] = not torch.equal(image, original)
                    assert torch.equal(image, original.flip(2) if flags[index] else original)
            return flags

        first, second, third = (mirrored(epoch) for epoch in range(3))
        assert 70 < sum(first.values()) < 130
        assert second == {index: not flag for index, flag in first.items()}
        assert third == first

    def test_global_random_state_plays_no_part(self) -> None:
        loader = Loader(arrays(20), GREY, 6, shuffle=True, augment=EVERYTHING)
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        a = list(loader.epoch(0))
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        assert all(same(x, y) for x, y in zip(a, loader.epoch(0), strict=True))

    @pytest.mark.parametrize("augment", [None, EVERYTHING])
    def test_thread_timing_plays_no_part(
        self, photos: FileSplit, augment: Augment | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = list(Loader(photos, RGB, 5, shuffle=True, augment=augment).epoch(0))
        slow = photos.subset(range(23))
        for name in ("_square", "_cut"):
            quick = getattr(FileSplit, name)

            def late(self: FileSplit, index: int, *rest: object, quick: object = quick) -> object:
                time.sleep(0.004 * (index % 4))
                return quick(self, index, *rest)  # type: ignore[operator]

            monkeypatch.setattr(FileSplit, name, late)
        assert all(
            same(a, b)
            for a, b in zip(expected, Loader(slow, RGB, 5, shuffle=True, augment=augment).epoch(0), strict=True)
        )


class TestBalanced:
    def test_classes_come_equally_often(self) -> None:
        labels = [0] * 900 + [1] * 90 + [3] * 10
        split = ArraySplit(torch.zeros(1000, 1, 4, 4, dtype=torch.uint8), labels)
        loader = Loader(split, GREY, 100, shuffle=True, sampling="balanced")
        drawn = torch.cat([loader.order(epoch) for epoch in range(10)])
        assert len(loader.order(0)) == 1000
        counts = torch.bincount(split.labels[drawn], minlength=4).tolist()
        assert counts[2] == 0
        for label in (0, 1, 3):
            assert counts[label] == pytest.approx(10000 / 3, rel=0.05)
        rare = Counter(drawn[split.labels[drawn] == 3].tolist())
        assert len(rare) == 10
        assert min(rare.values()) > 250  # 333 expected of each
        assert torch.equal(loader.order(4), loader.order(4))
        assert not torch.equal(loader.order(4), loader.order(5))


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 2**40 + 7])
def test_the_order_is_numpys_for_seed_and_epoch(seed: int) -> None:
    order = Loader(arrays(50), GREY, 8, shuffle=True, seed=seed).order(3)
    assert order.tolist() == np.random.default_rng([1, seed, 3]).permutation(50).tolist()


def test_in_order_every_epoch_has_the_order_of_the_split() -> None:
    split = ArraySplit(torch.zeros(7, 1, 4, 4, dtype=torch.uint8), [0, 1, 2, 3, 4, 5, 6])
    loader = Loader(split, GREY, 3, shuffle=True, sampling="in_order")
    for epoch in (0, 5):
        assert [batch.labels.tolist() for batch in loader.epoch(epoch)] == [[0, 1, 2], [3, 4, 5, 6]]


class TestFiles:
    @pytest.mark.parametrize("budget", [0, 10**9])
    def test_fetch_equals_pixels(self, photos: FileSplit, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(base, "memory_budget", lambda: budget)
        split = FileSplit(photos.paths, photos.labels, scanned=photos.scanned)
        rows = torch.tensor([5, 3, 3, 20])
        expected = torch.stack([RGB.pixels(split.paths[i]) for i in rows])
        for _ in range(2):
            assert torch.equal(split.fetch(rows, RGB), expected)
        stretch = Preprocess(9, 1, (0.0,), (1.0,))
        assert torch.equal(split.fetch(rows, stretch)[0], stretch.pixels(split.paths[5]))
        assert split.fetch(torch.tensor([], dtype=torch.int64), RGB).shape == (0, 3, 12, 12)

    def test_crops_do_not_depend_on_the_cache(self, photos: FileSplit, monkeypatch: pytest.MonkeyPatch) -> None:
        def batches(budget: int, epochs: int) -> list[Batch]:
            monkeypatch.setattr(base, "memory_budget", lambda: budget)
            split = FileSplit(photos.paths, photos.labels, scanned=photos.scanned)
            loader = Loader(split, RGB, 6, shuffle=True, augment=Augment(crop_scale=0.3))
            return [batch for epoch in range(epochs) for batch in loader.epoch(epoch)]

        assert all(same(a, b) for a, b in zip(batches(10**9, 3), batches(0, 3), strict=True))

    def test_later_epochs_read_no_file(self, photos: FileSplit) -> None:
        for augment in (None, Augment(crop_scale=0.5)):
            loader = Loader(photos, RGB, 5, shuffle=True, augment=augment)
            list(loader.epoch(0))
            list(loader.epoch(1))
        for path in photos.paths:
            path.unlink()
        for augment in (None, Augment(crop_scale=0.5)):
            assert sum(len(b) for b in Loader(photos, RGB, 5, shuffle=True, augment=augment).epoch(2)) == 23

    def test_whether_all_fit_is_asked_anew_but_their_sizes_are_summed_once(
        self, photos: FileSplit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        passes: list[int] = []

        class Watched(list[Scanned]):
            def __iter__(self) -> Iterator[Scanned]:
                passes.append(1)
                return super().__iter__()

        free = 0
        monkeypatch.setattr(base, "memory_budget", lambda: free)
        split = FileSplit(photos.paths, photos.labels, scanned=photos.scanned)
        split.scanned = Watched(split.scanned or [])
        small = Preprocess(2, 3, RGB.mean, RGB.std, RGB.resize, RGB.crop_fraction)
        loaders = [Loader(split, preprocess, 3, augment=Augment(crop_scale=0.5)) for preprocess in (RGB, small)]
        for loader in loaders * 2:
            list(loader.epoch(0))
        assert len(passes) == 2, "once for each size of the images"
        free = 10_000  # enough for 23 photos whose shorter side is 4 pixels, not for 20 pixels
        for loader in loaders:
            list(loader.epoch(1))
        for path in photos.paths:
            path.unlink()
        assert sum(len(batch) for batch in loaders[1].epoch(2)) == 23
        with pytest.raises(DataError, match="no such file"):
            list(loaders[0].epoch(2))

    def test_no_thread_is_left(self, photos: FileSplit, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(base, "memory_budget", lambda: 0)
        before = threading.active_count()
        split = FileSplit(photos.paths, photos.labels, scanned=photos.scanned)
        stream = Loader(split, RGB, 3, shuffle=True).epoch(0)
        next(stream)
        assert threading.active_count() > before
        stream.close()  # type: ignore[attr-defined]
        assert threading.active_count() == before
        for _ in Loader(split, RGB, 3).epoch(0):
            break  # the abandoned iterator is closed when it is collected
        list(Loader(split, RGB, 3).epoch(0))
        assert threading.active_count() == before

    def test_two_batches_are_decoded_ahead(self, photos: FileSplit, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[int] = []
        original = FileSplit.start

        def noted(self: FileSplit, *arguments: object) -> object:
            started.append(1)
            return original(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(FileSplit, "start", noted)
        stream = Loader(photos, RGB, 4).epoch(0)
        next(stream)
        assert len(started) == 3
        next(stream)
        assert len(started) == 4
        stream.close()  # type: ignore[attr-defined]

    def test_file_broken_later_is_named(self, photos: FileSplit) -> None:
        before = threading.active_count()
        photos.paths[7].write_bytes(b"broken")
        with pytest.raises(DataError, match=r"7\.png.*doctor"):
            list(Loader(photos, RGB, 4).epoch(0))
        assert threading.active_count() == before

    def test_channels_and_size_from_the_scan(self, tmp_path: Path) -> None:
        Image.new("L", (7, 5)).save(tmp_path / "a.png")
        Image.new("LA", (7, 5)).save(tmp_path / "b.png")
        split = FileSplit([tmp_path / "a.png", tmp_path / "b.png"], [0, 1], scanned=scan([tmp_path / "a.png"] * 2))
        assert (split.channels, split.size) == (1, (5, 7))
        assert FileSplit([tmp_path / "a.png"], [0]).channels == 3
        with pytest.raises(DataError, match="give one each"):
            FileSplit([tmp_path / "a.png"], [0, 1])


class TestScan:
    def test_finds_what_is_broken(self, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6
        for name in ("good.jpg", "turned.jpg", "turned.tif", "cut.jpg", "cut.png"):
            options = {"exif": exif} if name.startswith("turned") else {}
            Image.fromarray(array).save(tmp_path / name, **options)
        for name in ("cut.jpg", "cut.png"):
            content = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(content[: len(content) // 2])
        (tmp_path / "empty.jpg").write_bytes(b"")
        (tmp_path / "text.jpg").write_text("no image")
        names = ["good.jpg", "turned.jpg", "turned.tif", "cut.jpg", "cut.png", "empty.jpg", "text.jpg", "none.jpg"]
        full = dict(zip(names, scan([tmp_path / name for name in names], full=True), strict=True))
        assert full["good.jpg"] == Scanned((40, 60), "RGB")
        assert full["turned.jpg"] == Scanned((60, 40), "RGB")
        assert full["turned.tif"] == Scanned((60, 40), "RGB")
        for name, why in {
            "cut.jpg": "truncated",
            "cut.png": "truncated",
            "empty.jpg": "0 bytes",
            "text.jpg": "not an image",
            "none.jpg": "no such file",
        }.items():
            assert why in (full[name].error or ""), name
        headers = dict(zip(names, scan([tmp_path / name for name in names], full=False), strict=True))
        assert headers["good.jpg"] == full["good.jpg"]
        assert headers["turned.jpg"] == full["turned.jpg"]
        assert headers["turned.tif"] == full["turned.tif"]
        assert headers["empty.jpg"].error
        assert headers["text.jpg"].error


class TestArguments:
    def test_device_and_memory_format(self) -> None:
        split = ArraySplit(torch.zeros(6, 3, 4, 4, dtype=torch.uint8), [0, 1] * 3)
        preprocess = Preprocess(4, 3, (0.5,) * 3, (0.5,) * 3)
        batch = next(iter(Loader(split, preprocess, 3, channels_last=True).epoch(0)))
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.dtype == torch.float32
        assert batch.labels.dtype == batch.indices.dtype == torch.int64

    def test_targets_have_all_classes(self) -> None:
        loader = Loader(arrays(6), GREY, 6, shuffle=True, augment=Augment(mixup=1.0), classes=10)
        assert next(iter(loader.epoch(0))).targets.shape == (6, 10)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"batch_size": 0}, "at least 1"),
            ({"rank": 2, "world": 2}, "ranks are 0..1"),
            ({"sampling": "random"}, '"shuffle", "balanced" or "in_order"'),
        ],
    )
    def test_wrong(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            Loader(**{"split": arrays(4), "preprocess": GREY, "batch_size": 2, **change})  # type: ignore[arg-type]

    def test_no_such_step(self) -> None:
        with pytest.raises(UsageError, match="no step 3 of epoch 0; an epoch has 2"):
            Loader(arrays(4), GREY, 2).epoch(0, start_step=3)
