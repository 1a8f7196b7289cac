"""Predicting files, folders and arrays: the network's own answers, bad files named and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from cnnlab.errors import DataError, UsageError
from cnnlab.runs import Run
from cnnlab.runs.predict import find_images, predict


@pytest.fixture
def digit_files(tmp_path: Path) -> Path:
    """Eleven digits as PNG files, some in subfolders, beside files that are no images."""
    images = load_digits().images[:11] * (255 / 16)
    folder = tmp_path / "digits"
    for number, pixels in enumerate(images):
        path = folder / ("deep/er" if number % 2 else ".") / f"digit_{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_answers_are_those_of_the_network(tiny_run: Run, digit_files: Path) -> None:
    answers = predict(tiny_run, digit_files, batch_size=4, top_k=3)
    files = find_images(digit_files)
    assert [answer.file for answer in answers] == [str(path) for path in files]
    with torch.inference_mode():
        expected = tiny_run.model()(tiny_run.preprocess(files)).softmax(1)
    for answer, row in zip(answers, expected, strict=True):
        assert answer.label == tiny_run.classes[int(row.argmax())]
        assert answer.confidence == pytest.approx(float(row.max()), rel=1e-4)
        assert [name for name, _ in answer.top] == [tiny_run.classes[i] for i in row.topk(3).indices.tolist()]
        assert answer.top[0] == (answer.label, answer.confidence)
        assert [p for _, p in answer.top] == sorted((p for _, p in answer.top), reverse=True)
    assert answers.failed == []


def test_top_k_beyond_the_classes_names_all(tiny_run: Run, digit_files: Path) -> None:
    answer = predict(tiny_run, digit_files / "digit_00.png", top_k=99)[0]
    assert len(answer.top) == 10
    assert sum(p for _, p in answer.top) == pytest.approx(1)


def test_arrays_pictures_and_the_method_of_a_run(tiny_run: Run, digit_files: Path) -> None:
    path = digit_files / "digit_00.png"
    pixels = np.asarray(Image.open(path))
    by_path = predict(tiny_run, path)[0]
    for given in (pixels, torch.from_numpy(pixels.copy()), Image.open(path), pixels[None, :, :, None]):
        answer = tiny_run.predict(given)[0]
        assert answer.top == by_path.top
    assert predict(tiny_run, pixels)[0].file == "#0"
    many = predict(tiny_run, [path, pixels])
    assert [answer.file for answer in many] == [str(path), "#1"]


def test_bad_files_are_named_and_cost_nobody_else(tiny_run: Run, digit_files: Path) -> None:
    (digit_files / "broken.png").write_bytes(b"\x89PNG not really")
    (digit_files / "empty.jpg").write_bytes(b"")
    answers = predict(tiny_run, [digit_files, digit_files / "absent.png"], batch_size=3)
    assert len(answers) == 11
    assert [Path(file).name for file, _ in answers.failed] == ["broken.png", "empty.jpg", "absent.png"]
    assert all(reason for _, reason in answers.failed)
    nothing = predict(tiny_run, digit_files / "broken.png")
    assert (len(nothing), len(nothing.failed)) == (0, 1)


def test_nothing_to_predict(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image in the folder"):
        predict(tiny_run, tmp_path)
    with pytest.raises(UsageError, match="nothing to predict"):
        predict(tiny_run, [])
    with pytest.raises(UsageError, match="top_k is 0"):
        predict(tiny_run, tmp_path, top_k=0)
