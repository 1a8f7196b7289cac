"""The data doctor on made-up folders, each with one thing wrong, and on data in memory."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnlab.data import ArraySplit, ImageData, Preprocess, doctor, load_data, near_duplicates
from cnnlab.data.doctor import Diagnosis, Finding, examine
from cnnlab.data.inspection import inspect_images
from cnnlab.data.shard_split import ShardSplit
from cnnlab.errors import DataNotFoundError, UnknownNameError

REAL = Path(os.environ.get("CNNLAB_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def photo(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """A smooth random picture: no two seeds look alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A healthy folder: two classes, six images of each in train, three in val."""
    seeds = itertools.count()
    for split, count in (("train", 6), ("val", 3)):
        for name in ("ants", "bees"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                photo(next(seeds)).save(folder / f"{i}.jpg", quality=90)
    return tmp_path / "photos"


def by_kind(diagnosis: Diagnosis) -> dict[str, Finding]:
    return {finding.kind: finding for finding in diagnosis.findings}


def only(diagnosis: Diagnosis, kind: str) -> Finding:
    assert [finding.kind for finding in diagnosis.findings] == [kind]
    return diagnosis.findings[0]


def test_healthy(photos: Path) -> None:
    diagnosis = examine(photos)
    assert diagnosis.findings == []
    assert not diagnosis.harmful
    assert diagnosis.images == 18
    assert diagnosis.counts == {"train": {"ants": 6, "bees": 6}, "val": {"ants": 3, "bees": 3}}


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "truncated"),
        (lambda path: path.write_bytes(b"this is no picture at all"), "not an image"),
    ],
    ids=["zero", "truncated", "text"],
)
def test_unreadable(photos: Path, damage: Callable[[Path], object], why: str) -> None:
    damage(photos / "train" / "ants" / "3.jpg")
    diagnosis = examine(photos)
    finding = only(diagnosis, "unreadable")
    assert diagnosis.harmful
    assert finding.message == "1 file cannot be read"
    assert finding.files[0].startswith("train/ants/3.jpg: ")
    assert why in finding.files[0]
    assert diagnosis.images == 17


def test_exact_copy_across_splits(photos: Path) -> None:
    shutil.copy(photos / "train" / "ants" / "2.jpg", photos / "val" / "ants" / "copy.jpg")
    finding = only(examine(photos), "duplicates across splits")
    assert finding.severity == "error"
    assert finding.groups == (("train/ants/2.jpg", "val/ants/copy.jpg"),)
    assert finding.message == "1 picture occurs in more than one of train, val"


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((200, 170)),
        lambda image: image.point(lambda value: round(value * 0.8)),
        lambda image: image.convert("L"),
        lambda image: image.crop((1, 1, 95, 79)),
    ],
    ids=["resized", "darker", "grey", "trimmed"],
)
def test_changed_copy_across_splits(photos: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    source = photos / "train" / "bees" / "1.jpg"
    with Image.open(source) as image:
        change(image).save(photos / "val" / "bees" / "copy.jpg", quality=60)
    findings = by_kind(examine(photos))
    assert findings["near-duplicates across splits"].severity == "error"
    assert findings["near-duplicates across splits"].groups == (("train/bees/1.jpg", "val/bees/copy.jpg"),)
    assert set(findings) <= {"near-duplicates across splits", "mixed modes"}


def test_the_same_picture_under_two_labels(photos: Path) -> None:
    shutil.copy(photos / "train" / "ants" / "2.jpg", photos / "train" / "bees" / "x.jpg")
    finding = only(examine(photos), "duplicates with different labels")
    assert finding.severity == "error"
    assert finding.groups == (("train/ants/2.jpg (ants)", "train/bees/x.jpg (bees)"),)


def test_nearly_the_same_picture_under_two_labels_is_a_warning(photos: Path) -> None:
    with Image.open(photos / "train" / "ants" / "2.jpg") as image:
        image.save(photos / "train" / "bees" / "x.jpg", quality=50)
    diagnosis = examine(photos)
    assert only(diagnosis, "near-duplicates with different labels").severity == "warning"
    assert not diagnosis.harmful


def test_copies_within_a_split_are_a_note(photos: Path) -> None:
    for name in ("x", "y"):
        shutil.copy(photos / "train" / "ants" / "2.jpg", photos / "train" / "ants" / f"{name}.jpg")
    finding = only(examine(photos), "duplicates")
    assert finding.severity == "note"
    assert finding.groups == (("train/ants/2.jpg", "train/ants/x.jpg", "train/ants/y.jpg"),)


def test_copies_in_a_folder_that_is_divided_at_random(photos: Path) -> None:
    for _ in range(3):
        shutil.copy(photos / "train" / "ants" / "2.jpg", photos / "train" / "ants" / "x.jpg")
    for seed in range(6):  # whether the twins fall into one split or two
        finding = only(examine(photos / "train", seed=seed), "duplicates")
        assert finding.severity == "warning"
        assert "divided at random" in finding.advice


def test_blank_pictures_are_not_taken_for_copies(photos: Path) -> None:
    for i, grey in enumerate((10, 12, 200)):
        Image.new("RGB", (64, 64), (grey,) * 3).save(photos / "train" / "ants" / f"blank{i}.png")
    finding = only(examine(photos), "blank")
    assert finding.message == "3 pictures of a single colour"


def test_missing_class(photos: Path) -> None:
    shutil.rmtree(photos / "val" / "bees")
    finding = only(examine(photos), "missing class")
    assert finding.severity == "error"
    assert finding.message == "val has no image of bees"


def test_missing_class_in_test_is_a_warning(photos: Path) -> None:
    (photos / "test" / "ants").mkdir(parents=True)
    photo(99).save(photos / "test" / "ants" / "a.jpg")
    diagnosis = examine(photos)
    assert only(diagnosis, "missing class").severity == "warning"
    assert not diagnosis.harmful


def test_imbalance(photos: Path) -> None:
    for i in range(1, 6):
        (photos / "train" / "ants" / f"{i}.jpg").unlink()
    assert not examine(photos).findings
    finding = only(examine(photos, imbalance=5), "imbalance")
    assert finding.severity == "warning"
    assert finding.message == 'train has 6 images of "bees" and 1 of "ants": 6 to 1'


def test_tiny(photos: Path) -> None:
    photo(99, (200, 20)).save(photos / "train" / "ants" / "strip.jpg")
    finding = only(examine(photos), "tiny")
    assert finding.files == ("train/ants/strip.jpg",)
    assert not examine(photos, tiny=20).findings


def test_exif_rotation_is_a_note_and_compared_upright(photos: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photos / "train" / "ants" / "1.jpg") as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.save(photos / "val" / "ants" / "turned.jpg", exif=exif, quality=95)
    findings = by_kind(examine(photos))
    assert findings["EXIF rotation"].severity == "note"
    assert findings["EXIF rotation"].files == ("val/ants/turned.jpg",)
    assert findings["near-duplicates across splits"].groups == (("train/ants/1.jpg", "val/ants/turned.jpg"),)


def test_mixed_modes_and_wrong_ending(photos: Path) -> None:
    photo(98).convert("P").save(photos / "train" / "ants" / "palette.png")
    photo(99).save(photos / "train" / "bees" / "really_png.jpg", format="PNG")
    findings = by_kind(examine(photos))
    assert set(findings) == {"mixed modes", "wrong ending"}
    assert findings["mixed modes"].message == "pixel formats: RGB 19, P 1"
    assert findings["mixed modes"].files == ("train/ants/palette.png",)
    assert findings["wrong ending"].files == ("train/bees/really_png.jpg",)


def test_data_that_training_refuses(photos: Path) -> None:
    shutil.rmtree(photos / "train" / "bees")
    shutil.rmtree(photos / "val" / "bees")
    diagnosis = examine(photos)
    assert diagnosis.harmful
    assert "single class" in only(diagnosis, "unusable").message


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError):
        examine(tmp_path / "none")
    with pytest.raises(UnknownNameError, match='Did you mean "mnist5k"'):
        examine("mnist5")


def test_csv_of_files(photos: Path) -> None:
    shutil.copy(photos / "train" / "ants" / "2.jpg", photos / "val" / "ants" / "2 again.jpg")
    rows = [(path.relative_to(photos), path.parent.name, path.parts[-3]) for path in sorted(photos.rglob("*.jpg"))]
    table = photos / "labels.csv"
    table.write_text("file,label,split\n" + "".join(f"{file},{label},{split}\n" for file, label, split in rows))
    finding = only(examine(table), "duplicates across splits")
    assert finding.groups == (("train/ants/2.jpg", "val/ants/2 again.jpg"),)


def test_errors_come_first_and_json_has_everything(photos: Path) -> None:
    photo(99, (20, 20)).save(photos / "train" / "ants" / "small.jpg")
    (photos / "val" / "bees" / "0.jpg").write_bytes(b"")
    shutil.copy(photos / "train" / "ants" / "2.jpg", photos / "train" / "ants" / "x.jpg")
    diagnosis = examine(photos)
    assert [finding.severity for finding in diagnosis.findings] == ["error", "warning", "note"]
    read = json.loads(json.dumps(diagnosis.to_dict()))
    assert read["harmful"] is True
    assert read["findings"][0]["kind"] == "unreadable"
    assert read["counts"]["val"] == {"ants": 3, "bees": 2}


def test_images_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.stack([np.asarray(photo(seed, (32, 32))) for seed in range(12)]).transpose(0, 3, 1, 2)
    pixels[7] = pixels[2]
    pixels[9] = (pixels[1] * 0.9).astype(np.uint8)
    labels = np.arange(12) % 2
    labels[7] = 1 - labels[2]
    labels[9] = labels[1]
    data = ImageData(
        "made", ["a", "b"], ArraySplit(pixels[:8], labels[:8]), None, ArraySplit(pixels[8:], labels[8:]), ""
    )
    monkeypatch.setattr(doctor, "load_data", lambda *_, **__: data)
    findings = by_kind(examine("./made"))
    assert findings["duplicates with different labels"].groups == (("train[2] (a)", "train[7] (b)"),)
    assert findings["near-duplicates across splits"].groups == (("train[1]", "test[1]"),)
    assert findings["near-duplicates across splits"].severity == "error"
    # Of a data set with official splits it is a fact to be stated.
    assert by_kind(examine("mnist5k"))["near-duplicates across splits"].severity == "warning"


def test_embedded_digits_are_healthy() -> None:
    assert examine("mnist5k").findings == []


def test_real_photos() -> None:
    if not (REAL / "hymenoptera").is_dir():
        pytest.skip("no hymenoptera photos in ../shared/data")
    diagnosis = examine(REAL / "hymenoptera")
    assert diagnosis.images == 397
    assert diagnosis.findings == []


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: image.resize((224, 224)),
        lambda image: image.convert("L"),
        lambda image: image.point(lambda value: round(40 + value * 0.6)),
        lambda image: image.crop((image.width // 100, image.height // 100, image.width, image.height)),
    ],
    ids=["half", "square", "grey", "pale", "trimmed"],
)
def test_changed_copies_of_real_photos_are_found(tmp_path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    if not (REAL / "hymenoptera").is_dir():
        pytest.skip("no hymenoptera photos in ../shared/data")
    for split in ("train", "val"):
        for name in ("ants", "bees"):
            (tmp_path / split / name).mkdir(parents=True)
    sources = sorted((REAL / "hymenoptera" / "train").rglob("*.jpg"))[::12]
    for source in sources:
        shutil.copyfile(source, tmp_path / "train" / source.parent.name / source.name)
        with Image.open(source) as image:
            change(image.convert("RGB")).save(tmp_path / "val" / source.parent.name / source.name, quality=50)
    expected = {(f"train/{s.parent.name}/{s.name}", f"val/{s.parent.name}/{s.name}") for s in sources}
    groups = by_kind(examine(tmp_path))["near-duplicates across splits"].groups
    assert set(groups) == expected


# --- the search for copies -----------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0, 1, 40, 255]))
def test_hash_is_that_of_imagehash(seed: int, scale: int) -> None:
    thumbs = (np.random.default_rng(seed).random((3, 32, 32)) * scale).astype(np.uint8)
    expected = [np.packbits(imagehash.phash(Image.fromarray(thumb)).hash.ravel()) for thumb in thumbs]
    np.testing.assert_array_equal(near_duplicates.perceptual_hashes(thumbs), expected)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 40), distance=st.integers(0, 8))
def test_near_pairs_are_those_of_brute_force(seed: int, count: int, distance: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different hashes with a few bits flipped, so that there are pairs at every distance.
    bits = rng.integers(0, 2, (4, 64), dtype=np.uint8)[rng.integers(0, 4, count)] ^ (rng.random((count, 64)) < 0.05)
    expected = [
        (i, j) for i, j in itertools.combinations(range(count), 2) if int((bits[i] != bits[j]).sum()) <= distance
    ]
    pairs = near_duplicates.near_pairs(np.packbits(bits, axis=1), distance)
    assert [tuple(pair) for pair in pairs.tolist()] == expected


def test_correlation_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    thumbs = rng.integers(0, 256, (5, 32, 32), dtype=np.uint8)
    thumbs[4] = 7
    pairs = np.array([(0, 1), (2, 2), (3, 4)])
    values = near_duplicates.correlation(thumbs, pairs)
    assert values[0] == pytest.approx(np.corrcoef(thumbs[0].ravel(), thumbs[1].ravel())[0, 1], abs=1e-5)
    assert values[1] == pytest.approx(1)
    assert values[2] == 0


def test_groups_join_what_shares_a_member() -> None:
    pairs = np.array([(0, 3), (3, 5), (1, 2)])
    assert near_duplicates.groups(7, pairs) == [[0, 3, 5], [1, 2]]
    assert near_duplicates.groups(7, np.empty((0, 2), np.int64)) == []


def test_fifty_thousand_images_take_seconds() -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (50_000, 8), dtype=np.uint8)
    hashes[40_000:40_010] = hashes[:10]
    assert near_duplicates.near_pairs(hashes, 4).tolist() == [[i, 40_000 + i] for i in range(10)]


def save(root: Path, name: str, pixels: np.ndarray) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_ten_bits_in_sixteen_are_no_blank_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        for i in range(4):
            save(tmp_path, f"{name}/{i}.png", rng.integers(0, 1024, (40, 40)).astype(np.uint16))
    diagnosis = examine(tmp_path)
    assert "grey pixels stored in 16 bits use 10 of them: 1023 is taken for white" in diagnosis.notes
    assert not {"blank", "few values"} & set(by_kind(diagnosis))
    train = load_data(tmp_path).train
    assert train.depth == 10
    preprocess = Preprocess(40, 1, (0.5,), (0.5,), depth=train.depth)
    assert int(train.fetch(torch.arange(len(train)), preprocess).max()) > 250


def test_dark_data_are_not_to_be_deleted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        for i in range(3):
            save(tmp_path, f"{name}/{i}.png", rng.integers(0, 4, (40, 40, 3), dtype=np.uint8))
    findings = by_kind(examine(tmp_path))
    assert "blank" not in findings
    assert findings["few values"].message.startswith("all pixels of all pictures are within ")


def test_what_was_left_aside_is_questioned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for i in range(2):
            save(tmp_path, f"{name}/{i}.png", rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for i in range(6):
        (tmp_path / "a" / f"{i}.raw").write_bytes(b"x")
        (tmp_path / f"empty{i}").mkdir()
    save(tmp_path, "a/dot.png", np.zeros((1, 1, 3), np.uint8))
    findings = by_kind(examine(tmp_path))
    assert findings["most files ignored"].message == "5 images are used and 6 other files are not"
    assert findings["most folders ignored"].message == "2 folders are classes and 6 folders are ignored"
    assert findings["no pictures"].files == ("a/dot.png",)


def test_a_folder_without_classes_still_gets_its_unreadable_files_listed(tmp_path: Path) -> None:
    save(tmp_path, "1.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "2.jpg").write_bytes(b"<html>404</html>")
    findings = by_kind(examine(tmp_path))
    assert set(findings) == {"unusable", "unreadable"}
    assert findings["unreadable"].files == ("2.jpg: it is an HTML page, as a failed download leaves it, not an image",)


def test_images_in_tar_files_are_examined(photos: Path) -> None:
    shutil.copy(photos / "val" / "bees" / "1.jpg", photos / "train" / "bees" / "copy.jpg")
    for split in ("train", "val"):
        with tarfile.open(photos / f"{split}-0.tar", "w") as archive:
            archive.add(photos / split, ".")
    diagnosis = examine(str(photos / "train-0.tar"))
    assert diagnosis.images == 19
    leak = only(diagnosis, "duplicates across splits")
    assert leak.groups == (("train-0.tar/./bees/copy.jpg", "val-0.tar/./bees/1.jpg"),)
    data = load_data(str(photos / "train-0.tar"))
    assert isinstance(data.train, ShardSplit)
    with open(photos / "train-0.tar", "rb+") as file:  # the first image is overwritten
        file.seek(int(data.train.members.offset[0]))
        file.write(bytes(100))
    errors = [image.error for image in inspect_images(data, progress=False)]
    assert [error is None for error in errors] == [False] + [True] * 18
