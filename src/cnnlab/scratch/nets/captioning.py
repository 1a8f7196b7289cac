"""A network that describes images: features of the image start a recurrent layer, which gives a word at every step.

Oriol Vinyals, Alexander Toshev, Samy Bengio, Dumitru Erhan: Show and tell: a neural image caption generator. CVPR 2015.
https://arxiv.org/abs/1411.4555

::

    h[0]      = features W_proj + b_proj
    h[t]      = rnn or lstm(W_embed[word t], h[t-1])
    scores[t] = h[t] W_vocab + b_vocab              of word t + 1

Deviation from the paper, as in the assignments of CS231n: the features give the state before the first word instead of
the first input; and the best word is taken at every step instead of a beam of sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import LabelError, UnknownNameError, UsageError
from cnnlab.scratch._checks import Array, expect_ndim, expect_positions, expect_shape
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.embedding import word_embedding_backward, word_embedding_forward
from cnnlab.scratch.layers.lstm import lstm_backward, lstm_forward, lstm_step_forward
from cnnlab.scratch.layers.rnn import rnn_backward, rnn_forward, rnn_step_forward
from cnnlab.scratch.layers.temporal import (
    temporal_affine_backward,
    temporal_affine_forward,
    temporal_softmax_loss,
)

CELLS = {"rnn": (rnn_forward, rnn_backward), "lstm": (lstm_forward, lstm_backward)}


class CaptioningRNN:
    """A recurrent network that gives captions (N, T) to features of images (N, input_dim).

    Args:
        word_to_idx: the vocabulary, V words with their positions. ``<NULL>`` fills captions up to the same length;
            ``<START>`` begins a caption and ``<END>`` ends it.
        input_dim: number of features of an image.
        wordvec_dim: length of a word's vector.
        hidden_dim: length H of the state.
        cell_type: ``"rnn"`` or ``"lstm"``.
        dtype: type of parameters, loss and gradients.

    Attributes:
        params: W_embed (V, wordvec_dim); W_proj (input_dim, H), b_proj; Wx, Wh, b of the recurrent layer; W_vocab
            (H, V), b_vocab. Weights are drawn in this order from NumPy's global stream.

    Raises:
        UnknownNameError: there is no such cell type.
        UsageError: the vocabulary has no ``<NULL>``.
    """

    def __init__(
        self,
        word_to_idx: Mapping[str, int],
        input_dim: int = 512,
        wordvec_dim: int = 128,
        hidden_dim: int = 128,
        cell_type: str = "rnn",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        if cell_type not in CELLS:
            raise UnknownNameError("cell type", cell_type, CELLS)
        self.cell_type = cell_type
        self.dtype = np.dtype(dtype)
        self.word_to_idx = dict(word_to_idx)
        self._null = self._position("<NULL>")

        V, D, H = len(word_to_idx), wordvec_dim, hidden_dim
        gates = 4 if cell_type == "lstm" else 1
        params = {
            "W_embed": np.random.randn(V, D) / 100,
            "W_proj": np.random.randn(input_dim, H) / np.sqrt(input_dim),
            "b_proj": np.zeros(H),
            "Wx": np.random.randn(D, gates * H) / np.sqrt(D),
            "Wh": np.random.randn(H, gates * H) / np.sqrt(H),
            "b": np.zeros(gates * H),
            "W_vocab": np.random.randn(H, V) / np.sqrt(H),
            "b_vocab": np.zeros(V),
        }
        self.params: dict[str, Array] = {name: value.astype(self.dtype) for name, value in params.items()}

    def loss(self, features: Array, captions: Array) -> tuple[Any, dict[str, Array]]:
        """Return the loss of predicting every word of ``captions`` from the words before it, and its gradients.

        Args:
            features: features of N images, (N, input_dim).
            captions: words (N, T): ``<START>``, the sentence, ``<END>``, and ``<NULL>`` up to T.

        Returns:
            The cross-entropy, summed over the words and divided by N, and the gradient of every parameter by name.

        Raises:
            ShapeError: the shapes do not fit each other.
            LabelError: a word is not in the vocabulary.
        """
        features, captions = np.asarray(features), np.asarray(captions)
        h0, features_cache = self._first_state(features)  # (N, H)
        expect_ndim("captions", captions, 2, "(N, T)")
        expect_shape("captions", captions, (len(features), captions.shape[1]), f"features of shape {features.shape}")
        expect_positions("captions", captions, len(self.word_to_idx), "words in the vocabulary")
        p, grads = self.params, {}
        forward, backward = CELLS[self.cell_type]
        words, next_words = captions[:, :-1], captions[:, 1:]

        vectors, embedding_cache = word_embedding_forward(words, p["W_embed"])  # (N, T - 1, D)
        h, states_cache = forward(vectors, h0, p["Wx"], p["Wh"], p["b"])  # (N, T - 1, H)
        scores, scores_cache = temporal_affine_forward(h, p["W_vocab"], p["b_vocab"])  # (N, T - 1, V)
        loss, dscores = temporal_softmax_loss(scores, next_words, next_words != self._null)

        dh, grads["W_vocab"], grads["b_vocab"] = temporal_affine_backward(dscores, scores_cache)
        dvectors, dh0, grads["Wx"], grads["Wh"], grads["b"] = backward(dh, states_cache)
        grads["W_embed"] = word_embedding_backward(dvectors, embedding_cache)
        _, grads["W_proj"], grads["b_proj"] = affine_backward(dh0, features_cache)
        return loss, grads

    def sample(self, features: Array, max_length: int = 30) -> Array:
        """Describe images: the word with the highest score at a step is the input of the next.

        Args:
            features: features of N images, (N, input_dim).
            max_length: largest number of words.

        Returns:
            Captions (N, max_length), integers. ``<START>`` is not in them; after ``<END>`` there is only ``<NULL>``. A
            caption without ``<END>`` was cut off, or the vocabulary has none.

        Raises:
            ShapeError: the features do not fit.
            UsageError: the vocabulary has no ``<START>``.
        """
        p, (N, T) = self.params, (len(features), max_length)
        word, end = np.full(N, self._position("<START>")), self.word_to_idx.get("<END>", -1)
        captions, ended = np.full((N, T), self._null), np.zeros(N, dtype=bool)
        h, _ = self._first_state(np.asarray(features))  # (N, H)
        c = np.zeros_like(h)
        for t in range(T):
            if self.cell_type == "rnn":
                h, _ = rnn_step_forward(p["W_embed"][word], h, p["Wx"], p["Wh"], p["b"])
            else:
                h, c, _ = lstm_step_forward(p["W_embed"][word], h, c, p["Wx"], p["Wh"], p["b"])
            word = (h @ p["W_vocab"] + p["b_vocab"]).argmax(axis=1)
            captions[:, t] = np.where(ended, self._null, word)
            ended |= word == end
            if ended.all():
                break
        return captions

    def _first_state(self, features: Array) -> tuple[Array, Any]:
        expect_ndim("features", features, 2, "(N, input_dim)")
        W, b = self.params["W_proj"], self.params["b_proj"]
        expect_shape("features", features, (len(features), len(W)), f"W_proj of shape {W.shape}")
        return affine_forward(features.astype(self.dtype, copy=False), W, b)

    def _position(self, token: str) -> int:
        """Return the position of a special word, or raise an error that says what a vocabulary must have."""
        position, V = self.word_to_idx.get(token), len(self.word_to_idx)
        if position is None or not 0 <= position < V:
            problem = "no such word" if position is None else f"it at {position}, behind the last of {V} words"
            raise UsageError(
                f"The vocabulary needs {token}, and word_to_idx has {problem}. It maps every word to its position, and "
                "beside the words it has <NULL>, which fills captions, <START>, which begins one, and <END>."
            )
        return position


def decode_captions(captions: Array, idx_to_word: Sequence[str] | Mapping[int, str]) -> list[str]:
    """Return captions as sentences: the words up to ``<END>``, without ``<NULL>`` and ``<START>``.

    Args:
        captions: words (N, T), as positions in the vocabulary.
        idx_to_word: word at every position.

    Raises:
        ShapeError: ``captions`` has another number of axes.
        LabelError: a position has no word.
    """
    expect_ndim("captions", captions, 2, "(N, T)")
    words = idx_to_word if isinstance(idx_to_word, Mapping) else dict(enumerate(idx_to_word))
    sentences = []
    for n, caption in enumerate(np.asarray(captions).tolist()):
        if unknown := [position for position in caption if position not in words]:
            raise LabelError(
                f"captions[{n}] has the word {unknown[0]}, and idx_to_word has {len(words)} words, without that one. "
                "Decode with the vocabulary that the network was trained with."
            )
        said = [words[position] for position in caption]
        if "<END>" in said:
            said = said[: said.index("<END>")]
        sentences.append(" ".join(word for word in said if word not in ("<NULL>", "<START>")))
    return sentences
