"""CSV files: labels of image files, and tables of pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnlab.data import ArraySplit, FileSplit, class_counts, load_data
from cnnlab.data.readers.csv import load_csv
from cnnlab.errors import DataError, DataNotFoundError, UsageError

labelled_rows = st.tuples(st.sampled_from(["cat", "dog", "7"]), st.lists(st.integers(0, 255), min_size=4, max_size=4))


def write(path: Path, *lines: str, newline: str = "\n") -> Path:
    path.write_text(newline.join(lines) + newline, encoding="utf-8", newline="")
    return path


def table_of(pixels: np.ndarray, labels: list[str], *, header: str | None = None) -> list[str]:
    names = header or "label," + ",".join(f"pixel{i}" for i in range(pixels.shape[1]))
    rows = [f"{label}," + ",".join(map(str, row)) for label, row in zip(labels, pixels.tolist(), strict=True)]
    return [names, *rows]


def all_pixels(data: object) -> tuple[list[list[int]], list[str]]:
    """Return pixels and class names of train and val together, sorted."""
    rows = []
    for split in (data.train, data.val, data.test):  # type: ignore[attr-defined]
        if split is not None:
            rows += [
                (pixels.flatten().tolist(), data.classes[label])  # type: ignore[attr-defined]
                for pixels, label in zip(split.pixels, split.labels.tolist(), strict=True)
            ]
    return sorted(rows)  # type: ignore[return-value]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for i in range(10):
        array = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(array).save(tmp_path / "img" / f"{i}.png")
    return tmp_path


class TestPixels:
    @pytest.mark.parametrize(
        ("count", "shape"), [(784, (1, 28, 28)), (3072, (3, 32, 32)), (16, (1, 4, 4)), (12, (3, 2, 2))]
    )
    def test_shape_from_the_number_of_columns(self, tmp_path: Path, count: int, shape: tuple[int, int, int]) -> None:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (20, count))
        labels = [str(i % 2) for i in range(20)]
        data = load_data(write(tmp_path / "digits.csv", *table_of(pixels, labels)), seed=5)
        assert isinstance(data.train, ArraySplit)
        assert data.train.pixels.shape[1:] == shape
        assert data.val is not None
        assert class_counts(data.train, data.classes).tolist() == [8, 8]
        assert class_counts(data.val, data.classes).tolist() == [2, 2]
        assert all_pixels(data) == sorted(zip(pixels.tolist(), labels, strict=True))
        assert data.name == "digits"
        assert data.notes[0] == "CSV of pixels: 2 classes (0 10, 1 10), train 16, val 4, no test"
        assert data.notes[2] == "divided here into train 16 and val 4, by class, seed 5"

    def test_a_share_for_val(self, tmp_path: Path) -> None:
        table = write(tmp_path / "x.csv", *table_of(np.zeros((40, 4), int), ["0", "1"] * 20))
        data = load_csv(table, val_fraction=0.1)
        assert data.val is not None
        assert class_counts(data.val, data.classes).tolist() == [2, 2]
        with pytest.raises(UsageError, match="between 0 and 1"):
            load_csv(table, val_fraction=1.5)

    def test_planes_are_red_green_blue(self, tmp_path: Path) -> None:
        row = np.arange(12).reshape(1, 12).repeat(4, axis=0)
        data = load_csv(write(tmp_path / "x.csv", *table_of(row, ["0", "1"] * 2)))
        assert data.train.pixels[0].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]  # type: ignore[attr-defined]

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        st.lists(labelled_rows, min_size=4, max_size=20),
        st.sampled_from([",", ";", "\t"]),
        st.sampled_from(["\n", "\r\n"]),
        st.booleans(),
    )
    def test_any_table_is_read_back(
        self, tmp_path: Path, rows: list[tuple[str, list[int]]], separator: str, newline: str, quoted: bool
    ) -> None:
        rows += [("cat", [0, 0, 0, 0]), ("cat", [1, 1, 1, 1]), ("dog", [2, 2, 2, 2]), ("dog", [3, 3, 3, 3])]
        mark = '"' if quoted else ""
        lines = [separator.join(["p0", "p1", "label", "p2", "p3"])]
        lines += [separator.join(map(str, [*v[:2], f"{mark}{label}{mark}", *v[2:]])) for label, v in rows]
        lines.insert(3, "")  # an empty line does no harm
        data = load_csv(write(tmp_path / "t.csv", *lines, newline=newline))
        assert all_pixels(data) == sorted((v, label) for label, v in rows)

    def test_split_column(self, tmp_path: Path) -> None:
        lines = ["label,split,a,b,c,d"]
        lines += [f"{i % 2},{split},{i},0,0,0" for i, split in enumerate(["train"] * 4 + ["Valid"] * 2 + ["test"] * 2)]
        data = load_csv(write(tmp_path / "x.csv", *lines))
        assert data.val is not None
        assert data.test is not None
        assert data.train.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3]  # type: ignore[attr-defined]
        assert data.val.pixels[:, 0, 0, 0].tolist() == [4, 5]  # type: ignore[attr-defined]
        assert data.test.labels.tolist() == [0, 1]

    def test_numbers_sort_as_numbers(self, tmp_path: Path) -> None:
        pixels = np.zeros((22, 4), int)
        data = load_csv(write(tmp_path / "x.csv", *table_of(pixels, [str(i) for i in range(11)] * 2)))
        assert data.classes == [str(i) for i in range(11)]

    def test_byte_order_mark_of_spreadsheets(self, tmp_path: Path) -> None:
        lines = table_of(np.zeros((4, 4), int), ["0", "1"] * 2)
        data = load_csv(write(tmp_path / "x.csv", "\ufeff" + lines[0], *lines[1:]))
        assert data.classes == ["0", "1"]

    @pytest.mark.parametrize(
        ("line", "row", "message"),
        [
            (3, "1,1,2,3", "line 3: 4 columns, the header has 5"),
            (4, "1,1,2,3,4,5", "line 4: 6 columns, the header has 5"),
            (2, "1,1,x,3,4", 'line 2: column "pixel1" is "x", expected an integer 0..255'),
            (3, "1,1,,3,4", 'line 3: column "pixel1" is "", expected an integer'),
            (5, "1,1,2.5,3,4", 'line 5: column "pixel1" is "2.5", expected an integer'),
            (5, "1,1,256,3,4", 'line 5: column "pixel1" is "256", expected an integer 0..255'),
            (5, "1,1,2,3,-1", 'line 5: column "pixel3" is "-1", expected an integer 0..255'),
            (5, "1,1,2,3,99999999999999999999", r'column "pixel3" is "9+", expected an integer 0..255'),
            (3, ",1,2,3,4", "line 3: the label is empty"),
            (3, '"1,1,2,3,4', "line .*: .*"),
        ],
    )
    def test_bad_row_is_named_by_line(self, tmp_path: Path, line: int, row: str, message: str) -> None:
        lines = table_of(np.arange(24).reshape(6, 4), ["0", "1"] * 3)
        lines[line - 1] = row
        with pytest.raises(DataError, match=message) as caught:
            load_csv(write(tmp_path / "x.csv", *lines))
        assert "x.csv" in str(caught.value)
        assert "remove this row" in str(caught.value)

    def test_bad_split_value(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match='line 3: the split is "dev", expected train, val or test'):
            load_csv(write(tmp_path / "x.csv", "label,split,a,b,c,d", "0,train,1,1,1,1", "1,dev,2,2,2,2"))

    def test_number_of_pixels(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"5 columns of pixels.*neither S\*S"):
            load_csv(write(tmp_path / "x.csv", *table_of(np.zeros((2, 5), int), ["0", "1"])))

    def test_kaggle_size_takes_seconds(self, tmp_path: Path) -> None:
        import time

        pixels = np.random.default_rng(0).integers(0, 256, (4200, 784))
        path = write(tmp_path / "train.csv", *table_of(pixels, [str(i % 10) for i in range(4200)]))
        start = time.perf_counter()
        data = load_csv(path)
        assert time.perf_counter() - start < 5  # a tenth of Kaggle's MNIST; 0.2 s on a quiet machine
        assert len(data.train) == 3360


class TestHeader:
    def test_is_needed(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"line 1 has no column names but numbers.*Add the header line"):
            load_csv(write(tmp_path / "x.csv", "5,0,0,0,0", "1,0,0,0,0"))

    def test_needs_a_label(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r'no column "label" \(file, kind, age\).*--label-column'):
            load_csv(write(tmp_path / "x.csv", "file,kind,age", "a.png,1,2"))

    def test_empty_files(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("")
        with pytest.raises(DataError, match="is empty"):
            load_csv(tmp_path / "x.csv")
        with pytest.raises(DataError, match="a header and no rows"):
            load_csv(write(tmp_path / "x.csv", "label,a"))
        with pytest.raises(DataNotFoundError, match="no file"):
            load_csv(tmp_path / "none.csv")

    def test_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01")
        with pytest.raises(DataError, match="UTF-8"):
            load_csv(tmp_path / "x.csv")


class TestFiles:
    def test_files_and_labels(self, pictures: Path) -> None:
        lines = ["file,label", *(f"img/{i}.png,{'cat' if i < 5 else 'dog'}" for i in range(10))]
        data = load_data(write(pictures / "labels.csv", *lines))
        assert isinstance(data.train, FileSplit)
        assert data.classes == ["cat", "dog"]
        assert data.val is not None
        assert class_counts(data.train, data.classes).tolist() == [4, 4]
        assert class_counts(data.val, data.classes).tolist() == [1, 1]
        assert data.notes[0].startswith("CSV of image files: 2 classes (cat 5, dog 5), train 8, val 2")
        for name, label in zip(data.train.names, data.train.labels.tolist(), strict=True):
            assert label == int(int(Path(name).stem) >= 5)

    def test_split_column_and_other_names(self, pictures: Path) -> None:
        lines = ["Split,Filename,Class"]
        lines += [f"{'val' if i > 7 else 'train'},img/{i}.png,{i % 2}" for i in range(10)]
        data = load_csv(write(pictures / "labels.csv", *lines))
        assert data.val is not None
        assert data.val.names == ["img/8.png", "img/9.png"]
        assert data.val.labels.tolist() == [0, 1]
        assert len(data.train) == 8

    def test_quoted_names(self, pictures: Path) -> None:
        (pictures / "img" / "0.png").rename(pictures / "img" / "a, b.png")
        lines = ["file,label", '"img/a, b.png",0', *(f"img/{i}.png,{i % 2}" for i in range(1, 10))]
        data = load_csv(write(pictures / "labels.csv", *lines))
        assert "img/a, b.png" in {row["name"] for row in data.split_rows()}

    def test_missing_files_are_listed_as_unreadable_ones_are(self, pictures: Path) -> None:
        lines = ["file,label", *(f"img/{i}.png,{i % 2}" for i in range(12))]
        data = load_csv(write(pictures / "labels.csv", *lines))
        assert data.skipped == [("img/10.png", "there is no such file"), ("img/11.png", "there is no such file")]
        assert len(data.split_rows()) == 10
        with pytest.raises(DataError, match=r'none of the 1 files of the column "file".*"no.png", looked for in.*img'):
            load_csv(write(pictures / "labels.csv", "file,label", "no.png,0"))

    def test_bad_rows(self, pictures: Path) -> None:
        with pytest.raises(DataError, match="line 2: 3 columns, the header has 2"):
            load_csv(write(pictures / "labels.csv", "file,label", "img/1.png,0,x"))
        with pytest.raises(DataError, match="line 2: the label is empty"):
            load_csv(write(pictures / "labels.csv", "file,label", "img/1.png,"))

    def test_unreadable_files_are_skipped(self, pictures: Path) -> None:
        (pictures / "img" / "3.png").write_bytes(b"")
        lines = ["file,label", *(f"img/{i}.png,{i % 2}" for i in range(10))]
        data = load_csv(write(pictures / "labels.csv", *lines))
        assert [name for name, _ in data.skipped] == ["img/3.png"]

    def test_classes_come_from_train(self, pictures: Path) -> None:
        lines = ["file,label,split", *(f"img/{i}.png,{i % 2 + 5},train" for i in range(8)), "img/8.png,1,test"]
        with pytest.raises(DataError, match='test has 1 images of the class "1", which train does not have'):
            load_csv(write(pictures / "labels.csv", *lines))
        lines[-1] = "img/8.png,6,test"
        data = load_csv(write(pictures / "labels.csv", *lines))
        assert data.test is not None
        assert data.test.labels.tolist() == [1]
        assert data.val is None

    def test_no_training_rows_and_single_class(self, pictures: Path) -> None:
        with pytest.raises(DataError, match='no row has the split "train"'):
            load_csv(write(pictures / "labels.csv", "file,label,split", "img/8.png,1,test"))
        with pytest.raises(DataError, match="a single class"):
            load_csv(write(pictures / "labels.csv", "file,label", "img/8.png,1", "img/7.png,1"))


def test_torch_labels_are_int64(tmp_path: Path) -> None:
    data = load_csv(write(tmp_path / "x.csv", *table_of(np.zeros((4, 4), int), ["0", "1"] * 2)))
    assert data.train.labels.dtype == torch.int64


class TestKaggle:
    @pytest.mark.parametrize("header", ["id,label", "id,breed", "image_id,species"])
    @pytest.mark.parametrize("folder", ["train", "images", "."])
    def test_ids_without_endings_beside_a_folder_of_images(self, pictures: Path, header: str, folder: str) -> None:
        if folder != ".":
            (pictures / "img").rename(pictures / folder)
        else:
            for path in (pictures / "img").iterdir():
                path.rename(pictures / path.name)
        data = load_csv(
            write(pictures / "labels.csv", header, *(f"{i},{'cat' if i < 5 else 'dog'}" for i in range(10)))
        )
        assert isinstance(data.train, FileSplit)
        assert data.classes == ["cat", "dog"]
        assert data.train.size == (6, 8)
        for name, label in zip(data.train.names, data.train.labels.tolist(), strict=True):
            assert (pictures / name).is_file()
            assert label == int(int(Path(name).stem) >= 5)

    def test_columns_by_name(self, pictures: Path) -> None:
        lines = ["who,what,why", *(f"img/{i}.png,{i % 2},{i % 3}" for i in range(10))]
        table = write(pictures / "labels.csv", *lines)
        with pytest.raises(DataError, match=r'no column "label" \(who, what, why\).*--label-column'):
            load_csv(table)
        assert load_data(table, label_column="What").classes == ["0", "1"]
        assert load_data(table, label_column="why", file_column="who").classes == ["0", "1", "2"]
        with pytest.raises(UsageError, match=r'no column "whi". Did you mean'):
            load_csv(table, label_column="whi")

    @pytest.mark.parametrize("column", ["7", "1000"])
    def test_a_single_column_is_no_image(self, tmp_path: Path, column: str) -> None:
        rows = [f"{column},{i % 2}" for i in range(6)]
        with pytest.raises(DataError, match=r'beside the labels there is "id".*--file-column'):
            load_csv(write(tmp_path / "x.csv", "id,label", *rows))

    def test_a_column_that_counts_rows_is_no_pixel(self, tmp_path: Path) -> None:
        lines = ["id,label,a,b,c,d", *(f"{900 + i},{i % 2},{i},0,0,0" for i in range(6))]
        data = load_csv(write(tmp_path / "x.csv", *lines))
        assert isinstance(data.train, ArraySplit)
        assert data.train.size == (2, 2)

    def test_backslashes_and_line_ends_in_labels(self, pictures: Path) -> None:
        lines = ["file,label", *(f'img\\{i}.png,"big\n{i % 2}"' for i in range(10))]
        data = load_csv(write(pictures / "labels.csv", *lines))
        assert data.classes == ["big\n0", "big\n1"]
        assert data.train.names is not None
        assert all(name.startswith("img/") for name in data.train.names)

    def test_numbers_as_labels(self, pictures: Path) -> None:
        def labelled(*labels: str) -> list[str]:
            return load_csv(
                write(pictures / "l.csv", "file,label", *(f"img/{i}.png,{labels[i % len(labels)]}" for i in range(10)))
            ).classes

        assert labelled("1.0", "2", "1", "10.0") == ["1", "2", "10"]
        assert labelled("-1", "1") == ["1", "-1"]  # the two sides of a classifier
        assert labelled("1.0", "v2") == ["1.0", "v2"]
        with pytest.raises(DataError, match='label is "-1" in 3 rows, which looks like an image without a class'):
            labelled("-1", "0", "1", "2")
        with pytest.raises(DataError, match=r'label is "0\.5" in 5 rows, which looks like a quantity'):
            labelled("0.5", "1")


def test_a_long_cell_is_no_file(tmp_path: Path, pictures: Path) -> None:
    caption = "a cat and a dog " * 20
    lines = [f"{caption},img/{i}.png,{'cat' if i % 2 else 'dog'}" for i in range(10)]
    data = load_data(write(pictures / "data.csv", "caption,picture,label", *lines))
    assert sum(map(len, data.splits().values())) == 10


def test_parts_of_numbers_are_refused_by_old_versions_of_numpy_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loadtxt(lines: list[str], *arguments: object, **options: object) -> np.ndarray:
        warnings.warn("loadtxt(): Parsing an integer via a float is deprecated.", DeprecationWarning, stacklevel=2)
        return np.zeros((len(lines), 4), np.int16)

    monkeypatch.setattr(np, "loadtxt", loadtxt)
    path = write(tmp_path / "data.csv", "label,a,b,c,d", *("0,0.5,0.1,0.2,0.3", "1,0.5,0.1,0.2,0.3"))
    with pytest.raises(DataError, match=r'"0\.5", expected an integer'):
        load_data(path)
