"""Assignment 3 in NumPy: the calls of its captioning notebooks, with the numbers that they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cnnlab.course.cs231n.captioning_solver import CaptioningSolver
from cnnlab.course.cs231n.classifiers.rnn import CaptioningRNN
from cnnlab.course.cs231n.coco_utils import decode_captions, load_coco_data, sample_coco_minibatch
from cnnlab.course.cs231n.gradient_check import eval_numerical_gradient
from cnnlab.course.cs231n.image_utils import (
    blur_image,
    deprocess_image,
    image_from_url,
    load_image,
    preprocess_image,
)
from cnnlab.course.cs231n.rnn_layers import (
    lstm_forward,
    lstm_step_forward,
    rnn_forward,
    rnn_step_forward,
    sigmoid,
    temporal_softmax_loss,
    word_embedding_forward,
)
from cnnlab.errors import DataError, DataNotFoundError
from cnnlab.scratch import rel_error
from tests.course.helpers_course import SENTENCES, WORDS, write_coco
from tests.course.test_assignment2 import ramp
from tests.file_server import FileServer

Array = npt.NDArray[Any]


class TestLayers:
    def test_rnn_step(self) -> None:
        next_h, _ = rnn_step_forward(
            ramp(-0.4, 0.7, 3, 10), ramp(-0.2, 0.5, 3, 4), ramp(-0.1, 0.9, 10, 4), ramp(-0.3, 0.7, 4, 4),
            ramp(-0.2, 0.4, 4),
        )  # fmt: skip
        expected = [
            [-0.58172089, -0.50182032, -0.41232771, -0.31410098],
            [0.66854692, 0.79562378, 0.87755553, 0.92795967],
            [0.97934501, 0.99144213, 0.99646691, 0.99854353],
        ]
        np.testing.assert_allclose(next_h, expected, atol=1e-8)

    def test_rnn(self) -> None:
        h, _ = rnn_forward(
            ramp(-0.1, 0.3, 2, 3, 4), ramp(-0.3, 0.1, 2, 5), ramp(-0.2, 0.4, 4, 5), ramp(-0.4, 0.1, 5, 5),
            ramp(-0.7, 0.1, 5),
        )  # fmt: skip
        expected = [
            [-0.42070749, -0.27279261, -0.11074945, 0.05740409, 0.22236251],
            [-0.39525808, -0.22554661, -0.0409454, 0.14649412, 0.32397316],
            [-0.42305111, -0.24223728, -0.04287027, 0.15997045, 0.35014525],
        ]
        np.testing.assert_allclose(h[0], expected, atol=1e-8)

    def test_word_embedding(self) -> None:
        out, _ = word_embedding_forward(np.asarray([[0, 3, 1, 2], [2, 1, 0, 3]]), ramp(0, 1, 5, 3))
        np.testing.assert_allclose(out[0, 1], [0.64285714, 0.71428571, 0.78571429], atol=1e-8)
        np.testing.assert_allclose(out[1, 0], [0.42857143, 0.5, 0.57142857], atol=1e-8)

    def test_lstm_step(self) -> None:
        next_h, next_c, _ = lstm_step_forward(
            ramp(-0.4, 1.2, 3, 4), ramp(-0.3, 0.7, 3, 5), ramp(-0.4, 0.9, 3, 5), ramp(-2.1, 1.3, 4, 20),
            ramp(-0.7, 2.2, 5, 20), ramp(0.3, 0.7, 20),
        )  # fmt: skip
        np.testing.assert_allclose(next_h[0], [0.24635157, 0.28610883, 0.32240467, 0.35525807, 0.38474904], atol=1e-8)
        np.testing.assert_allclose(next_c[0], [0.32986176, 0.39145139, 0.451556, 0.51014116, 0.56717407], atol=1e-8)

    def test_lstm(self) -> None:
        h, _ = lstm_forward(
            ramp(-0.4, 0.6, 2, 3, 5), ramp(-0.4, 0.8, 2, 4), ramp(-0.2, 0.9, 5, 16), ramp(-0.3, 0.6, 4, 16),
            ramp(0.2, 0.7, 16),
        )  # fmt: skip
        np.testing.assert_allclose(h[0, 0], [0.01764008, 0.01823233, 0.01882671, 0.0194232], atol=1e-8)

    def test_sigmoid(self) -> None:
        np.testing.assert_allclose(sigmoid(np.array([0.0, -1000, 1000])), [0.5, 0, 1])

    @pytest.mark.parametrize(("T", "p", "expected"), [(1, 1.0, 2.3), (10, 1.0, 23), (10, 0.1, 2.3)])
    def test_temporal_softmax_loss_of_chance(self, T: int, p: float, expected: float) -> None:
        np.random.seed(231)
        N = 5000 if p < 1 else 100
        x, y, mask = 0.001 * np.random.randn(N, T, 10), np.random.randint(10, size=(N, T)), np.random.rand(N, T) <= p
        assert temporal_softmax_loss(x, y, mask)[0] == pytest.approx(expected, rel=0.04)

    def test_temporal_softmax_loss_takes_a_mask_of_numbers(self, capsys: Any) -> None:
        np.random.seed(231)
        x, y, mask = np.random.randn(7, 8, 9), np.random.randint(9, size=(7, 8)), np.random.rand(7, 8) > 0.5
        loss, dx = temporal_softmax_loss(x, y, mask, verbose=False)
        assert temporal_softmax_loss(x, y, mask.astype(float), True)[0] == loss
        assert capsys.readouterr().out == "dx: (7, 8, 9)\n"
        numeric = eval_numerical_gradient(lambda x: temporal_softmax_loss(x, y, mask)[0], x, verbose=False)
        assert rel_error(dx, numeric) < 1e-6


@pytest.mark.parametrize(
    ("cell", "low", "high", "expected"), [("rnn", -1.5, 0.3, 9.83235591003), ("lstm", -0.5, 1.7, 9.82445935443)]
)
def test_loss_of_the_captioning_network(cell: str, low: float, high: float, expected: float) -> None:
    N, D, W, H, T = 10, 20, 30, 40, 13
    word_to_idx = {"<NULL>": 0, "cat": 2, "dog": 3}
    model = CaptioningRNN(word_to_idx, input_dim=D, wordvec_dim=W, hidden_dim=H, cell_type=cell, dtype=np.float64)
    for name, value in model.params.items():
        model.params[name] = ramp(-1.4, 1.3, *value.shape)
    captions = (np.arange(N * T) % 3).reshape(N, T)
    loss, grads = model.loss(ramp(low, high, N, D), captions)
    assert loss == pytest.approx(expected, abs=1e-10)
    assert grads.keys() == model.params.keys()


class TestCoco:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """``cs231n/datasets`` of the current folder, as in the notebooks."""
        monkeypatch.chdir(tmp_path)
        return write_coco(tmp_path / "cs231n" / "datasets")

    def test_the_dictionary(self, folder: Path) -> None:
        data = load_coco_data(pca_features=True)
        shapes = {name: value.shape for name, value in data.items() if isinstance(value, np.ndarray)}
        assert shapes == {
            "train_captions": (40, 7), "train_image_idxs": (40,), "train_features": (20, 16), "train_urls": (20,),
            "val_captions": (40, 7), "val_image_idxs": (40,), "val_features": (20, 16), "val_urls": (20,),
        }  # fmt: skip
        assert data["idx_to_word"] == WORDS
        assert data["word_to_idx"]["cat"] == 5
        assert data["train_features"].dtype == np.float32
        assert load_coco_data(str(folder), pca_features=False)["val_features"].shape == (20, 32)
        small = load_coco_data(max_train=3)
        assert small["train_captions"].shape == (3, 7)
        assert small["train_features"].shape == (20, 16)
        assert small["val_captions"].shape == (40, 7)

    def test_a_minibatch_keeps_caption_feature_and_address_together(self, folder: Path) -> None:
        data = load_coco_data()
        captions, features, urls = sample_coco_minibatch(data, batch_size=50, split="val")
        sentences = decode_captions(captions, data["idx_to_word"])
        for sentence, feature, url in zip(sentences, features, urls, strict=True):
            kind = int(feature.argmax())
            assert sentence == f"<START> {SENTENCES[kind]} <END>"
            assert int(url.rpartition("val")[2].removesuffix(".jpg")) % 4 == kind

    def test_one_caption_is_one_sentence(self) -> None:
        assert decode_captions(np.array([1, 4, 5, 2, 0, 0]), WORDS) == "<START> a cat <END>"
        assert decode_captions(np.array([[4, 5, 0], [4, 6, 8]]), dict(enumerate(WORDS))) == ["a cat", "a dog runs"]

    @pytest.mark.parametrize("cell", ["rnn", "lstm"])
    def test_a_few_captions_are_learned_by_heart(self, folder: Path, cell: str, capsys: Any) -> None:
        np.random.seed(0)
        data = load_coco_data(max_train=20)
        model = CaptioningRNN(
            cell_type=cell, word_to_idx=data["word_to_idx"], input_dim=data["train_features"].shape[1],
            hidden_dim=32, wordvec_dim=16,
        )  # fmt: skip
        solver = CaptioningSolver(
            model, data, update_rule="adam", num_epochs=40, batch_size=10, optim_config={"learning_rate": 2e-2},
            lr_decay=0.95, verbose=True, print_every=10,
        )  # fmt: skip
        solver.train()
        assert capsys.readouterr().out.startswith("(Iteration 1 / 80) loss: ")
        assert len(solver.loss_history) == 80
        assert solver.loss_history[-1] < 0.1 * solver.loss_history[0]
        captions, features, _ = sample_coco_minibatch(data, split="val", batch_size=20)
        said = decode_captions(model.sample(features), data["idx_to_word"])
        right = decode_captions(captions, data["idx_to_word"])
        assert [f"<START> {sentence}" for sentence in said] == right

    def test_what_is_missing_or_damaged_is_named(self, folder: Path, tmp_path: Path) -> None:
        (folder / "train2014_vgg16_fc7_pca.h5").write_bytes(b"no HDF5")
        with pytest.raises(DataError, match="train2014_vgg16_fc7_pca"):
            load_coco_data()
        (folder / "coco2014_vocab.json").unlink()
        with pytest.raises(DataNotFoundError, match="vocab"):
            load_coco_data(pca_features=False)

    def test_without_the_folder_it_says_where_to_get_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DataNotFoundError, match="coco_captioning"):
            load_coco_data()


class TestImages:
    def test_preprocessing_and_back(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        ready = preprocess_image(image)
        np.testing.assert_allclose(ready[2, 3, 1], (image[2, 3, 1] / 255 - 0.456) / 0.224, rtol=1e-5)
        assert np.abs(deprocess_image(ready).astype(int) - image).max() <= 1  # cut, not rounded
        stretched = deprocess_image(preprocess_image(np.array([[[50, 100, 150]]])), rescale=True)
        assert stretched.tolist() == [[[0, 127, 255]]]

    def test_blur_keeps_the_sum_of_its_weights(self) -> None:
        X = np.zeros((1, 3, 5, 5))
        X[0, :, 2, 2] = 200
        blurred = blur_image(X)
        np.testing.assert_allclose(blurred[0, 1, 1:4, 1:4], [[1, 2, 1], [2, 188, 2], [1, 2, 1]])

    def test_a_photo_by_its_shorter_side(self, tmp_path: Path) -> None:
        Image.new("RGB", (40, 20), (10, 20, 30)).save(tmp_path / "photo.png")
        assert load_image(str(tmp_path / "photo.png")).shape == (20, 40, 3)
        assert load_image(tmp_path / "photo.png", size=10).shape == (10, 20, 3)

    def test_a_photo_from_an_address(self, server: FileServer, tmp_path: Path, capsys: Any) -> None:
        Image.new("RGB", (4, 2), (10, 20, 30)).save(server.folder / "photo.png")
        (server.folder / "page.png").write_text("gone")
        assert image_from_url(f"{server.url}/photo.png")[0, 0].tolist() == [10, 20, 30]
        for address in ("page.png", "nowhere.png"):
            assert image_from_url(f"{server.url}/{address}").shape == (128, 128, 3)
            assert f"No photo from {server.url}/{address}" in capsys.readouterr().out
