"""Decoders: recurrent networks that read features of an image and write a sentence word by word.

===========  ========================================================================================================
rnn, lstm    a linear function of the features is the state before the first word, as in CS231n
attention    with every word the decoder reads a weighted mean over the feature map (soft attention)
===========  ========================================================================================================

Oriol Vinyals, Alexander Toshev, Samy Bengio, Dumitru Erhan: Show and tell: a neural image caption generator. CVPR 2015.
https://arxiv.org/abs/1411.4555

Kelvin Xu, Jimmy Ba, Ryan Kiros, Kyunghyun Cho, Aaron Courville, Ruslan Salakhutdinov, Richard Zemel, Yoshua Bengio:
Show, attend and tell: neural image caption generation with visual attention. ICML 2015.
https://arxiv.org/abs/1502.03044

Deviations: in ``rnn`` and ``lstm`` the features are not the first input but determine the first state, as in the
course; where they are a map, BatchNorm follows. In ``attention`` the networks for the first state are one dense layer
with tanh each.

Every decoder has the same three methods::

    scores, attention = decoder(features, captions)              # all words of given captions
    state = decoder.start(features)                              # the state before the first word
    scores, state, attention = decoder.step(state, words)        # the next word
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cnnlab.errors import ShapeError, UnknownNameError, UsageError

#: The state of a decoder between two words: tensors whose first axis is that of the sentences.
State = tuple[Tensor, ...]


class Decoder(nn.Module, ABC):
    """A recurrent network from features of N images to the scores of every next word.

    Args:
        feature_shape: shape of the features of an image, (D,) or (C, h, w).
        words: number V of words in the vocabulary.

    Attributes:
        feature_shape: the shape of the features.
    """

    def __init__(self, feature_shape: tuple[int, ...], words: int) -> None:
        super().__init__()
        self.feature_shape, self.words = tuple(feature_shape), words

    def forward(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score every word of captions from the words before it (teacher forcing).

        Args:
            features: features of N images, (N, D) or (N, C, h, w).
            captions: words (N, T): START, the sentence, END, and NULL up to T.

        Returns:
            Scores (N, T - 1, V) of the words 1 to T - 1; and the attention (N, T - 1, h, w) with which each was scored,
            None where the decoder has none.

        Raises:
            ShapeError: the features have another shape than the decoder was built for.
        """
        return self._unroll(self.start(features), captions[:, :-1])

    def start(self, features: Tensor) -> State:
        """Return the state before the first word for features of N images.

        Raises:
            ShapeError: the features have another shape than the decoder was built for.
        """
        if tuple(features.shape[1:]) != self.feature_shape:
            raise ShapeError(
                f"The decoder was built for features of shape {self.feature_shape} per image, and got "
                f"{tuple(features.shape[1:])}. Use features of the network that the training used."
            )
        return self._start(features)

    @abstractmethod
    def step(self, state: State, words: Tensor) -> tuple[Tensor, State, Tensor | None]:
        """Read the next word of N sentences.

        Args:
            state: the state before the word.
            words: the words (N,); START at the beginning.

        Returns:
            Scores (N, V) of the next word, the new state, and the attention (N, h, w) or None.
        """

    @abstractmethod
    def _start(self, features: Tensor) -> State:
        """Return the state before the first word; the shape of the features is right."""

    @abstractmethod
    def _unroll(self, state: State, words: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what :meth:`forward` does for words (N, T) that are read one after the other."""


class RecurrentDecoder(Decoder):
    """An RNN or an LSTM whose first state is a linear function of the features.

    ::

        h[0]      = features W + b
        h[t]      = rnn or lstm(vector of word t, h[t-1])
        scores[t] = h[t] W_vocab + b_vocab                  of word t + 1

    Args:
        cell: ``"rnn"`` (with tanh) or ``"lstm"``.
        feature_shape: shape of the features of an image; a map is read as one long vector, and the state that it gives
            is normalised by BatchNorm.
        words: number V of words in the vocabulary.
        word_size: length of a word's vector.
        hidden_size: length H of the state.
        dropout: share of the state that is set to 0 before the scores while training.
    """

    def __init__(
        self,
        cell: str,
        feature_shape: tuple[int, ...],
        words: int,
        word_size: int = 128,
        hidden_size: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(feature_shape, words)
        self.project = nn.Linear(math.prod(feature_shape), hidden_size)
        # A map has thousands of positive numbers: without BatchNorm the first steps make the state large, the cell is
        # saturated, and colours and shapes are not learned for a long time.
        self.normalise = nn.BatchNorm1d(hidden_size) if len(feature_shape) == 3 else nn.Identity()
        self.embed = nn.Embedding(words, word_size)
        self.recurrent: nn.RNN | nn.LSTM = {"rnn": nn.RNN, "lstm": nn.LSTM}[cell](
            word_size, hidden_size, batch_first=True
        )
        self.dropout = nn.Dropout(dropout)
        self.vocab = nn.Linear(hidden_size, words)

    def _start(self, features: Tensor) -> State:
        h = self.normalise(self.project(features.flatten(1)))  # (N, H)
        return (h, torch.zeros_like(h)) if isinstance(self.recurrent, nn.LSTM) else (h,)

    def _unroll(self, state: State, words: Tensor) -> tuple[Tensor, None]:
        outputs, _ = self._run(state, words)  # (N, T, H)
        return self.vocab(self.dropout(outputs)), None

    def step(self, state: State, words: Tensor) -> tuple[Tensor, State, None]:
        outputs, state = self._run(state, words[:, None])
        return self.vocab(self.dropout(outputs[:, 0])), state, None

    def _run(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        """Return the states (N, T, H) after each of the words (N, T), and the last one."""
        layered = tuple(tensor[None].contiguous() for tensor in state)  # torch counts layers first
        if isinstance(self.recurrent, nn.LSTM):
            outputs, (h, c) = self.recurrent(self.embed(words), layered)
            return outputs, (h[0], c[0])
        outputs, h = self.recurrent(self.embed(words), layered[0])
        return outputs, (h[0],)


class AttentionDecoder(Decoder):
    """An LSTM with soft attention over the feature map (Xu et al. 2015, sections 3.1.2 and 4.2).

    ::

        a[i]      = the features at position i of the map
        e[i]      = v tanh(a[i] W_a + h[t-1] W_h + b)
        alpha     = softmax(e)                                       the attention, sums to 1 over the positions
        z         = sigmoid(h[t-1] W_beta + b_beta) * sum of alpha[i] a[i]
        h[t]      = lstm(vector of word t and z, h[t-1])
        scores[t] = (E word t + h[t] L_h + z L_z) L_o                of word t + 1, equation 7

    Args:
        feature_shape: shape (C, h, w) of the map of an image.
        words: number V of words in the vocabulary.
        word_size: length of a word's vector.
        hidden_size: length H of the state.
        attention_size: length of the vectors from which the attention weights are computed.
        dropout: share of the vector before the scores that is set to 0 while training.

    Raises:
        UsageError: the features are not a map.
    """

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        words: int,
        word_size: int = 128,
        hidden_size: int = 256,
        attention_size: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(feature_shape, words)
        if len(feature_shape) != 3:
            raise UsageError(
                f"Attention needs a map (C, h, w) to look at, and the features of an image have the shape "
                f"{tuple(feature_shape)}. Take decoder=lstm, or an encoder that gives a map."
            )
        channels = feature_shape[0]
        self.first_h = nn.Linear(channels, hidden_size)
        self.first_c = nn.Linear(channels, hidden_size)
        self.embed = nn.Embedding(words, word_size)
        self.key = nn.Linear(channels, attention_size, bias=False)
        self.query = nn.Linear(hidden_size, attention_size)
        self.energy = nn.Linear(attention_size, 1, bias=False)
        self.gate = nn.Linear(hidden_size, 1)
        self.cell = nn.LSTMCell(word_size + channels, hidden_size)
        self.from_h = nn.Linear(hidden_size, word_size)
        self.from_z = nn.Linear(channels, word_size, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.vocab = nn.Linear(word_size, words)

    def _start(self, features: Tensor) -> State:
        mean = features.mean((2, 3))  # (N, C)
        positions = features.flatten(2).transpose(1, 2)  # (N, L, C)
        return torch.tanh(self.first_h(mean)), torch.tanh(self.first_c(mean)), positions, self.key(positions)

    def _unroll(self, state: State, words: Tensor) -> tuple[Tensor, Tensor]:
        vectors = self.embed(words)  # (N, T, E)
        steps = []
        for vector in vectors.unbind(1):
            state, z, alpha = self._advance(state, vector)
            steps.append((state[0], z, alpha))
        h, z, alpha = (torch.stack(tensors, dim=1) for tensors in zip(*steps, strict=True))
        return self._scores(vectors, h, z), alpha.unflatten(2, self.feature_shape[1:])

    def step(self, state: State, words: Tensor) -> tuple[Tensor, State, Tensor]:
        vector = self.embed(words)
        state, z, alpha = self._advance(state, vector)
        return self._scores(vector, state[0], z), state, alpha.unflatten(1, self.feature_shape[1:])

    def _advance(self, state: State, vector: Tensor) -> tuple[State, Tensor, Tensor]:
        """Read the vector (N, E) of one word; return the state, the context z (N, C) and the attention (N, L)."""
        h, c, positions, keys = state
        energies = self.energy(torch.tanh(keys + self.query(h)[:, None]))  # (N, L, 1)
        alpha = energies.squeeze(2).softmax(dim=1)  # (N, L)
        z = torch.sigmoid(self.gate(h)) * torch.bmm(alpha[:, None], positions).squeeze(1)  # (N, C)
        h, c = self.cell(torch.cat([vector, z], dim=1), (h, c))
        return (h, c, positions, keys), z, alpha

    def _scores(self, vector: Tensor, h: Tensor, z: Tensor) -> Tensor:
        scores: Tensor = self.vocab(self.dropout(vector + self.from_h(h) + self.from_z(z)))
        return scores


DECODERS: Mapping[str, Callable[..., Decoder]] = {
    "rnn": lambda *args, **options: RecurrentDecoder("rnn", *args, **options),
    "lstm": lambda *args, **options: RecurrentDecoder("lstm", *args, **options),
    "attention": AttentionDecoder,
}


def create_decoder(
    name: str,
    feature_shape: tuple[int, ...],
    words: int,
    *,
    word_size: int = 128,
    hidden_size: int = 256,
    dropout: float = 0.0,
) -> Decoder:
    """Build a decoder with random weights from torch's random numbers.

    Args:
        name: ``"rnn"``, ``"lstm"`` or ``"attention"``.
        feature_shape: shape of the features of an image, (D,) or (C, h, w).
        words: number of words in the vocabulary.
        word_size: length of a word's vector.
        hidden_size: length of the state.
        dropout: share of the numbers before the scores that is set to 0 while training.

    Raises:
        UnknownNameError: there is no such decoder.
        UsageError: the decoder cannot use features of this shape.
    """
    if name not in DECODERS:
        raise UnknownNameError("decoder", name, DECODERS)
    return DECODERS[name](feature_shape, words, word_size=word_size, hidden_size=hidden_size, dropout=dropout)


# Losses --------------------------------------------------------------------------------------------------------------


def word_loss(scores: Tensor, captions: Tensor, null: int) -> Tensor:
    """Return the cross-entropy of every next word, summed over the words that are not NULL.

    Args:
        scores: scores (N, T - 1, V) of the words 1 to T - 1.
        captions: positions of the words (N, T).
        null: position of NULL in the vocabulary, which fills captions up to T.
    """
    return nn.functional.cross_entropy(
        scores.flatten(0, 1), captions[:, 1:].flatten(), ignore_index=null, reduction="sum"
    )


def coverage_penalty(attention: Tensor, captions: Tensor, null: int) -> Tensor:
    """Return how unevenly attention covers the images: the sum over images and i of (1 - sum_t alpha[t, i])².

    Every word's attention sums to 1 over the positions; this "doubly stochastic" penalty asks that every
    position gets a sum of 1 over the words (Xu et al. 2015, section 4.2.1). Steps at NULL are left out.

    Args:
        attention: attention weights (N, T - 1, h, w).
        captions: positions of the words (N, T).
        null: position of NULL in the vocabulary.
    """
    is_word = (captions[:, 1:] != null).to(attention.dtype)
    covered = torch.einsum("nthw,nt->nhw", attention, is_word)
    return (1 - covered).square().sum()
