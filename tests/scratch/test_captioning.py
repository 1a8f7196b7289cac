"""The captioning network against the same one in torch, its sentences against a loop of steps, and what it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cnnlab.errors import LabelError, ShapeError, UnknownNameError, UsageError
from cnnlab.scratch.layers.lstm import lstm_step_forward
from cnnlab.scratch.layers.rnn import rnn_step_forward
from cnnlab.scratch.nets.captioning import CaptioningRNN, decode_captions
from cnnlab.scratch.optim import adam
from tests.scratch.helpers_recurrent import torch_lstm_from_zero, torch_rnn

Array = npt.NDArray[Any]
WORDS = ["<NULL>", "<START>", "<END>", "a", "cat", "dog", "sees", "the"]
WORD_TO_IDX = {word: position for position, word in enumerate(WORDS)}
cells = pytest.mark.parametrize("cell", ["rnn", "lstm"])


def network(cell: str, dtype: type = np.float64, seed: int = 0) -> CaptioningRNN:
    np.random.seed(seed)
    return CaptioningRNN(WORD_TO_IDX, input_dim=6, wordvec_dim=5, hidden_dim=7, cell_type=cell, dtype=dtype)


def captions(N: int, T: int, seed: int = 0) -> tuple[Array, Array]:
    """Features, and random captions of different lengths, the shortest without a word."""
    rng = np.random.default_rng(seed)
    words = rng.integers(3, len(WORDS), (N, T))
    words[:, 0] = WORD_TO_IDX["<START>"]
    for row, length in enumerate(rng.integers(1, T, N)):
        words[row, length] = WORD_TO_IDX["<END>"]
        words[row, length + 1 :] = WORD_TO_IDX["<NULL>"]
    return rng.standard_normal((N, 6)), words


def torch_loss(cell: str, params: dict[str, Tensor], features: Tensor, words: Tensor) -> Tensor:
    """The same network from torch's layers."""
    layer = torch_rnn if cell == "rnn" else torch_lstm_from_zero
    h0 = F.linear(features, params["W_proj"].T, params["b_proj"])
    vectors = F.embedding(words[:, :-1], params["W_embed"])
    h = layer(vectors, h0, params["Wx"], params["Wh"], params["b"])
    scores = F.linear(h, params["W_vocab"].T, params["b_vocab"])
    loss = F.cross_entropy(scores.transpose(1, 2), words[:, 1:], ignore_index=WORD_TO_IDX["<NULL>"], reduction="sum")
    return loss / len(features)


class TestLoss:
    @cells
    @settings(max_examples=20, deadline=None)
    @given(N=st.integers(1, 4), T=st.integers(2, 8), seed=st.integers(0, 99))
    def test_equals_torch(self, cell: str, N: int, T: int, seed: int) -> None:
        model = network(cell, seed=seed)
        features, words = captions(N, T, seed)
        params = {name: torch.tensor(value, requires_grad=True) for name, value in model.params.items()}
        expected = torch_loss(cell, params, torch.from_numpy(features), torch.from_numpy(words))
        expected.backward()
        loss, grads = model.loss(features, words)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-10)
        assert grads.keys() == model.params.keys()
        for name, gradient in grads.items():
            right = params[name].grad
            assert right is not None
            np.testing.assert_allclose(gradient, right.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
            assert gradient.dtype == np.float64

    @cells
    def test_gradient_is_the_slope_of_the_loss(self, cell: str) -> None:
        """Central differences of the whole network, of a few values of each parameter."""
        model, (features, words) = network(cell), captions(3, 6)
        _, grads = model.loss(features, words)
        for name, value in model.params.items():
            flat, gradient = value.reshape(-1), grads[name].reshape(-1)
            for place in np.random.default_rng(0).integers(flat.size, size=5):
                middle, nudge = flat[place], 1e-5
                flat[place] = middle + nudge
                above, _ = model.loss(features, words)
                flat[place] = middle - nudge
                below, _ = model.loss(features, words)
                flat[place] = middle
                np.testing.assert_allclose(gradient[place], (above - below) / (2 * nudge), atol=1e-8, err_msg=name)

    @cells
    def test_types_are_kept_and_inputs_unmodified(self, cell: str) -> None:
        model, (features, words) = network(cell, np.float32), captions(3, 6)
        kept = [features.copy(), words.copy(), *(value.copy() for value in model.params.values())]
        loss, grads = model.loss(features, words)  # float64 features too
        model.sample(features)
        assert loss.dtype == np.float32
        assert {array.dtype for array in (*model.params.values(), *grads.values())} == {np.dtype(np.float32)}
        for before, after in zip(kept, (features, words, *model.params.values()), strict=True):
            np.testing.assert_array_equal(before, after)
        exact, _ = network(cell).loss(features, words)
        np.testing.assert_allclose(loss, exact, rtol=1e-5)

    @cells
    def test_filling_does_not_count(self, cell: str) -> None:
        model, (features, words) = network(cell), captions(3, 6)
        longer = np.pad(words, ((0, 0), (0, 4)))
        loss, grads = model.loss(features, words)
        same_loss, same_grads = model.loss(features, longer)
        np.testing.assert_allclose(same_loss, loss, rtol=1e-14)
        for name in grads:
            np.testing.assert_allclose(same_grads[name], grads[name], rtol=1e-10, atol=1e-14)

    @cells
    def test_knowing_nothing_every_word_is_as_likely(self, cell: str) -> None:
        model, (features, words) = network(cell), captions(3, 6)
        model.params["W_vocab"][:] = 0
        loss, _ = model.loss(features, words)
        np.testing.assert_allclose(loss, np.count_nonzero(words[:, 1:]) / 3 * np.log(len(WORDS)), rtol=1e-14)


class TestParameters:
    @cells
    def test_are_drawn_in_order_from_the_global_stream(self, cell: str) -> None:
        params, gates = network(cell).params, {"rnn": 1, "lstm": 4}[cell]
        np.random.seed(0)
        expected = {
            "W_embed": np.random.randn(8, 5) / 100,
            "W_proj": np.random.randn(6, 7) / 6**0.5,
            "b_proj": np.zeros(7),
            "Wx": np.random.randn(5, gates * 7) / 5**0.5,
            "Wh": np.random.randn(7, gates * 7) / 7**0.5,
            "b": np.zeros(gates * 7),
            "W_vocab": np.random.randn(7, 8) / 7**0.5,
            "b_vocab": np.zeros(8),
        }
        assert list(params) == list(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(params[name], value, rtol=1e-15, err_msg=name)

    def test_default_sizes(self) -> None:
        shapes = {name: value.shape for name, value in CaptioningRNN(WORD_TO_IDX).params.items()}
        assert shapes["W_proj"] == (512, 128)
        assert shapes["Wx"] == (128, 128)
        assert shapes["W_vocab"] == (128, 8)


class TestSample:
    @cells
    @pytest.mark.parametrize("seed", range(8))
    def test_equals_a_loop_of_steps(self, cell: str, seed: int) -> None:
        """One image at a time, with a sentence as a list that stops at <END>."""
        model, (features, _) = network(cell, seed=seed), captions(6, 3, seed)
        p = model.params
        p["W_embed"] *= 100  # so that what is heard decides what is said next
        sentences = []
        for feature in features:
            h, c = feature[None] @ p["W_proj"] + p["b_proj"], np.zeros((1, 7))
            said = [WORD_TO_IDX["<START>"]]
            while said[-1] != WORD_TO_IDX["<END>"] and len(said) <= 9:
                x = p["W_embed"][said[-1]][None]
                if cell == "rnn":
                    h, _ = rnn_step_forward(x, h, p["Wx"], p["Wh"], p["b"])
                else:
                    h, c, _ = lstm_step_forward(x, h, c, p["Wx"], p["Wh"], p["b"])
                said.append(int(np.argmax(h[0] @ p["W_vocab"] + p["b_vocab"])))
            sentences.append(said[1:] + [WORD_TO_IDX["<NULL>"]] * (10 - len(said)))
        sampled = model.sample(features, max_length=9)
        np.testing.assert_array_equal(sampled, sentences)
        assert sampled.dtype.kind == "i"

    @cells
    def test_nothing_follows_the_end(self, cell: str) -> None:
        model, (features, _) = network(cell), captions(4, 3)
        model.params["b_vocab"][WORD_TO_IDX["<END>"]] = 100
        sampled = model.sample(features)
        assert sampled.shape == (4, 30)
        assert (sampled[:, 0] == WORD_TO_IDX["<END>"]).all()
        assert (sampled[:, 1:] == WORD_TO_IDX["<NULL>"]).all()

    @cells
    def test_without_an_end_it_goes_on(self, cell: str) -> None:
        model = CaptioningRNN({"<START>": 0, "<NULL>": 1, "word": 2}, input_dim=6, cell_type=cell)
        model.params["b_vocab"][2] = 100
        np.testing.assert_array_equal(model.sample(np.ones((2, 6)), max_length=5), np.full((2, 5), 2))


class TestDecode:
    @pytest.mark.parametrize("vocabulary", [WORDS, dict(enumerate(WORDS))])
    def test_sentences(self, vocabulary: Any) -> None:
        words = np.array([[1, 3, 4, 6, 7, 5, 2, 0], [3, 5, 2, 5, 5, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0]])
        assert decode_captions(words, vocabulary) == ["a cat sees the dog", "a dog", ""]

    def test_cut_off(self) -> None:
        assert decode_captions(np.array([[3, 4]]), WORDS) == ["a cat"]

    @pytest.mark.parametrize("wrong", [-1, 8])
    def test_a_position_without_a_word(self, wrong: int) -> None:
        with pytest.raises(LabelError, match=rf"captions\[1\] has the word {wrong}, and idx_to_word has 8 words"):
            decode_captions(np.array([[3, 4], [3, wrong]]), WORDS)

    def test_one_caption(self) -> None:
        with pytest.raises(ShapeError, match=r"captions must be \(N, T\), got an array of shape \(2,\)"):
            decode_captions(np.array([3, 4]), WORDS)


class TestErrors:
    def test_cell_type(self) -> None:
        with pytest.raises(UnknownNameError, match=r'no cell type "lsmt"\. Did you mean "lstm"\?'):
            CaptioningRNN(WORD_TO_IDX, cell_type="lsmt")

    def test_vocabulary(self) -> None:
        with pytest.raises(UsageError, match=r"needs <NULL>, and word_to_idx has no such word.*<START>.*<END>"):
            CaptioningRNN({"cat": 0, "dog": 1})
        with pytest.raises(UsageError, match=r"needs <NULL>, and word_to_idx has it at 3, behind the last of 3 words"):
            CaptioningRNN({"cat": 0, "dog": 1, "<NULL>": 3})
        model = CaptioningRNN({"cat": 0, "dog": 1, "<NULL>": 2}, input_dim=6)
        model.loss(np.zeros((1, 6)), np.array([[0, 1, 2]]))  # what is not needed is not asked for
        with pytest.raises(UsageError, match=r"needs <START>, and word_to_idx has no such word"):
            model.sample(np.zeros((1, 6)))

    @cells
    def test_shapes(self, cell: str) -> None:
        model, (features, words) = network(cell), captions(3, 6)
        with pytest.raises(
            ShapeError, match=r"captions must be of shape \(3, 6\) for features .*\(3, 6\), got \(2, 6\)"
        ):
            model.loss(features, words[:2])
        with pytest.raises(ShapeError, match=r"captions must be \(N, T\), got an array of shape \(6,\)"):
            model.loss(features, words[0])
        with pytest.raises(ShapeError, match=r"features must be \(N, input_dim\), got an array of shape \(6,\)"):
            model.loss(features[0], words)
        with pytest.raises(
            ShapeError, match=r"features must be of shape \(3, 6\) for W_proj of shape \(6, 7\), got \(3, 5\)"
        ):
            model.loss(features[:, :5], words)
        with pytest.raises(
            ShapeError, match=r"features must be of shape \(3, 6\) for W_proj of shape \(6, 7\), got \(3, 5\)"
        ):
            model.sample(features[:, :5])
        with pytest.raises(ShapeError, match=r"features must be \(N, input_dim\), got an array of shape \(6,\)"):
            model.sample(features[0])

    def test_words(self) -> None:
        model, (features, words) = network("rnn"), captions(3, 6)
        words[1, 2] = 8
        with pytest.raises(LabelError, match=r"captions\[1, 2\] is 8, but there are 8 words in the vocabulary"):
            model.loss(features, words)
        with pytest.raises(ShapeError, match=r"captions must hold integers"):
            model.loss(features, words.astype(float))


@pytest.mark.parametrize("cell", ["rnn", pytest.param("lstm", marks=pytest.mark.slow)])
def test_overfits_50_captions(cell: str) -> None:
    """Of 50 images with nothing in common it learns what was said: the loss falls below 0.1, and it says the same."""
    rng = np.random.default_rng(0)
    features, words = rng.standard_normal((50, 6)), captions(50, 8)[1]
    np.random.seed(0)
    model = CaptioningRNN(WORD_TO_IDX, input_dim=6, wordvec_dim=32, hidden_dim=64, cell_type=cell)
    configs: dict[str, Any] = {name: {"learning_rate": 1e-2} for name in model.params}
    first, _ = model.loss(features, words)
    for _ in range(150):
        _, grads = model.loss(features, words)
        for name, gradient in grads.items():
            model.params[name], configs[name] = adam(model.params[name], gradient, configs[name])
    loss, _ = model.loss(features, words)
    assert first > 5
    assert loss < 0.1
    np.testing.assert_array_equal(model.sample(features, max_length=7), words[:, 1:])
