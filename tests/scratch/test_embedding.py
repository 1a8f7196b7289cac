"""Word vectors, the dense layer of every step and the loss of sequences, against torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cnnlab.errors import LabelError, ShapeError
from cnnlab.scratch.layers.embedding import word_embedding_backward, word_embedding_forward
from cnnlab.scratch.layers.temporal import (
    temporal_affine_backward,
    temporal_affine_forward,
    temporal_softmax_loss,
)
from tests.scratch.helpers_layers import check_layer

sizes = st.integers(1, 5)


class TestWordEmbedding:
    @settings(max_examples=30, deadline=None)
    @given(sizes, st.integers(0, 6), sizes, sizes, st.integers(0, 99))
    def test_equals_torch(self, N: int, T: int, V: int, D: int, seed: int) -> None:
        """With few words in the vocabulary most occur several times: each occurrence counts."""
        rng = np.random.default_rng(seed)
        words = rng.integers(V, size=(N, T))
        kept = words.copy()
        check_layer(
            lambda W: word_embedding_forward(words, W),
            word_embedding_backward,
            {"W": rng.standard_normal((V, D))},
            lambda W: F.embedding(torch.from_numpy(words), W),
        )
        np.testing.assert_array_equal(words, kept)

    def test_by_hand(self) -> None:
        W = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        out, cache = word_embedding_forward(np.array([[2, 0, 2]], dtype=np.uint8), W)
        np.testing.assert_array_equal(out, [[[4, 5], [0, 1], [4, 5]]])
        dW = word_embedding_backward(np.array([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]]), cache)
        np.testing.assert_array_equal(dW, [[2, 20], [0, 0], [4, 40]])

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
    def test_words_of_every_integer_type(self, dtype: type) -> None:
        """The place of an element in W is a larger number than a uint8 can hold."""
        words = np.array([[0, 99, 255], [255, 1, 99]])
        _, cache = word_embedding_forward(words.astype(dtype), np.zeros((256, 500)))
        dW = word_embedding_backward(np.ones((2, 3, 500)), cache)
        np.testing.assert_array_equal(dW, np.bincount(words.ravel(), minlength=256)[:, None].repeat(500, axis=1))

    def test_output_is_a_copy(self) -> None:
        W = np.zeros((3, 2))
        out, _ = word_embedding_forward(np.array([[0, 1]]), W)
        out += 1
        assert not W.any()

    @pytest.mark.parametrize("wrong", [-1, 5, 99])
    def test_a_word_that_is_not_in_the_vocabulary(self, wrong: int) -> None:
        words = np.array([[0, 1, 2], [3, wrong, wrong]])
        message = (
            rf"x\[1, 1\] is {wrong}, but there are 5 words in the vocabulary, numbered from 0 to 4\. 2 of 6 values"
        )
        with pytest.raises(LabelError, match=message):
            word_embedding_forward(words, np.zeros((5, 2)))

    def test_errors(self) -> None:
        with pytest.raises(ShapeError, match=r"x must be \(N, T\), got an array of shape \(3,\)"):
            word_embedding_forward(np.array([0, 1, 2]), np.zeros((5, 2)))
        with pytest.raises(ShapeError, match=r"W must be \(V, D\), got an array of shape \(5,\)"):
            word_embedding_forward(np.array([[0, 1, 2]]), np.zeros(5))
        with pytest.raises(ShapeError, match=r"x must hold integers.* got float64\. Try x\.astype\(int\)"):
            word_embedding_forward(np.array([[0.0, 1.0]]), np.zeros((5, 2)))
        with pytest.raises(ShapeError, match=r"W must be float32 or float64, got int64"):
            word_embedding_forward(np.array([[0, 1, 2]]), np.zeros((5, 2), int))
        _, cache = word_embedding_forward(np.array([[0, 1, 2]]), np.zeros((5, 2)))
        message = r"dout must be of shape \(1, 3, 2\) for words .*\(1, 3\) and vectors .*\(5, 2\), got \(3, 2\)"
        with pytest.raises(ShapeError, match=message):
            word_embedding_backward(np.zeros((3, 2)), cache)


class TestTemporalAffine:
    @settings(max_examples=30, deadline=None)
    @given(sizes, st.integers(0, 6), sizes, sizes, st.integers(0, 99))
    def test_equals_torch(self, N: int, T: int, D: int, M: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        inputs = {"x": rng.standard_normal((N, T, D)), "w": rng.standard_normal((D, M)), "b": rng.standard_normal(M)}
        check_layer(
            temporal_affine_forward, temporal_affine_backward, inputs, lambda x, w, b: F.linear(x, w.T, b), rtol=1e-10
        )

    def test_errors(self) -> None:
        x, w, b = np.zeros((2, 3, 4)), np.zeros((4, 5)), np.zeros(5)
        with pytest.raises(ShapeError, match=r"x must be \(N, T, D\), got an array of shape \(3, 4\)"):
            temporal_affine_forward(x[0], w, b)
        with pytest.raises(ShapeError, match=r"w must be of shape \(4, 4\) for x of shape \(2, 3, 4\), got \(5, 4\)"):
            temporal_affine_forward(x, w.T, b)
        with pytest.raises(ShapeError, match=r"b must be of shape \(5,\) for w of shape \(4, 5\), got \(5, 1\)"):
            temporal_affine_forward(x, w, b[:, None])
        _, cache = temporal_affine_forward(x, w, b)
        with pytest.raises(ShapeError, match=r"dout must be of shape \(2, 3, 5\) .* got \(2, 3, 4\)"):
            temporal_affine_backward(x, cache)


class TestTemporalSoftmaxLoss:
    @settings(max_examples=30, deadline=None)
    @given(sizes, sizes, st.integers(1, 6), st.floats(0, 1), st.sampled_from([0.1, 1.0, 100.0]), st.integers(0, 99))
    def test_equals_torch(self, N: int, T: int, V: int, share: float, spread: float, seed: int) -> None:
        """Where the mask is False, torch's label to be ignored stands; that one is fixed by F.cross_entropy."""
        rng = np.random.default_rng(seed)
        scores, words = spread * rng.standard_normal((N, T, V)), rng.integers(V, size=(N, T))
        mask = rng.random((N, T)) < share
        targets = torch.from_numpy(np.where(mask, words, -100))

        def reference(x: Tensor) -> Tensor:
            return F.cross_entropy(x.transpose(1, 2), targets, ignore_index=-100, reduction="sum") / N

        x = torch.tensor(scores, requires_grad=True)
        expected = reference(x)
        (gradient,) = torch.autograd.grad(expected, x)
        kept = [scores.copy(), words.copy(), mask.copy()]
        loss, dx = temporal_softmax_loss(scores, words, mask)
        for before, after in zip(kept, (scores, words, mask), strict=True):
            np.testing.assert_array_equal(before, after)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(dx, gradient.numpy(), rtol=1e-11, atol=1e-15)
        assert dx.dtype == np.float64

        loss32, dx32 = temporal_softmax_loss(scores.astype(np.float32), words, mask)
        assert dx32.dtype == np.float32
        assert loss32.dtype == np.float32
        np.testing.assert_allclose(loss32, loss, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(dx32, dx, atol=1e-4)

    def test_by_hand(self) -> None:
        """All words alike: log V for each that counts; of 2 captions 3 words count."""
        mask = np.array([[True, True], [True, False]])
        loss, dx = temporal_softmax_loss(np.zeros((2, 2, 4)), np.array([[0, 1], [2, 3]]), mask)
        np.testing.assert_allclose(loss, 3 * math.log(4) / 2, rtol=1e-14)
        np.testing.assert_allclose(dx[0, 1], np.array([1 / 4, 1 / 4 - 1, 1 / 4, 1 / 4]) / 2, rtol=1e-14)
        np.testing.assert_array_equal(dx[1, 1], 0)

    def test_what_does_not_count_is_not_looked_at(self) -> None:
        rng = np.random.default_rng(0)
        scores, words = rng.standard_normal((2, 3, 4)), rng.integers(4, size=(2, 3))
        mask = np.array([[True, False, True], [False, True, True]])
        loss, dx = temporal_softmax_loss(scores, words, mask)
        scores[~mask], words[~mask] = np.nan, -1
        same_loss, same_dx = temporal_softmax_loss(scores, words, mask)
        assert same_loss == loss
        np.testing.assert_array_equal(same_dx, dx)

    def test_nothing_counts(self) -> None:
        loss, dx = temporal_softmax_loss(np.ones((2, 3, 4)), np.zeros((2, 3), int), np.zeros((2, 3), bool))
        assert loss == 0
        np.testing.assert_array_equal(dx, np.zeros((2, 3, 4)))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_large_scores_do_not_overflow(self, dtype: type) -> None:
        scores = [[[1e4, 0.0], [-1e4, 0.0]]]
        loss, dx = temporal_softmax_loss(np.array(scores, dtype), np.array([[0, 0]]), np.ones((1, 2), bool))
        assert loss == 1e4
        np.testing.assert_array_equal(dx, [[[0, 0], [-1, 1]]])

    def test_errors(self) -> None:
        x, y, mask = np.zeros((2, 3, 4)), np.zeros((2, 3), int), np.ones((2, 3), bool)
        with pytest.raises(ShapeError, match=r"x must be \(N, T, V\), got an array of shape \(6, 4\)"):
            temporal_softmax_loss(x.reshape(6, 4), y, mask)
        with pytest.raises(ShapeError, match=r"y must be of shape \(2, 3\) for x of shape \(2, 3, 4\), got \(3, 2\)"):
            temporal_softmax_loss(x, y.T, mask)
        with pytest.raises(ShapeError, match=r"mask must be of shape \(2, 3\) .* got \(2, 1\)"):
            temporal_softmax_loss(x, y, mask[:, :1])
        with pytest.raises(ShapeError, match=r"mask must be True or False.*float64\. Try mask\.astype\(bool\)"):
            temporal_softmax_loss(x, y, mask.astype(float))
        y[1, 2] = 4
        with pytest.raises(LabelError, match=r"y\[1, 2\] is 4, but there are 4 words"):
            temporal_softmax_loss(x, y, mask)
