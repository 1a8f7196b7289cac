"""Decoding of sentences: the most probable word at every step (greedy), or beam search.

The words NULL, START and UNK are never chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.generate.captions.decoders import Decoder
from cnnlab.tracing.hooks import evaluating

if TYPE_CHECKING:
    from cnnlab.generate.captions.vocabulary import Vocabulary


@dataclass(frozen=True)
class Decoded:
    """Sentences for N images, of at most T words each.

    Attributes:
        captions: words (N, T), int64: the sentence without START, END, and NULL up to T. A caption without END was cut
            off after T words.
        log_probability: natural logarithm of the probability that the decoder gives the whole caption with its END,
            (N,).
        attention: attention weights over the feature map for each word, (N, T, h, w); None where the decoder has no
            attention.
    """

    captions: Tensor
    log_probability: Tensor
    attention: Tensor | None


def greedy(decoder: Decoder, features: Tensor, vocabulary: Vocabulary, max_length: int = 30) -> Decoded:
    """Write a sentence for each image: the word with the highest score at a step is the input of the next step.

    Args:
        decoder: the decoder; its mode (training or eval) is restored afterwards.
        features: features of N images, (N, D) or (N, C, h, w).
        vocabulary: the vocabulary of the decoder.
        max_length: largest number of words, END among them.

    Raises:
        UsageError: ``max_length`` is below 1.
        ShapeError: the features have another shape than the decoder was built for.
    """
    return beam_search(decoder, features, vocabulary, width=1, max_length=max_length)


def beam_search(
    decoder: Decoder,
    features: Tensor,
    vocabulary: Vocabulary,
    width: int = 3,
    max_length: int = 30,
    length_power: float = 1.0,
) -> Decoded:
    """Write a sentence for each image by beam search: at every step the ``width`` best beginnings are kept.

    Beginnings and whole sentences are compared by log-probability / length ** length_power. Without this
    normalisation short sentences win, because every word makes a sentence less probable.

    Args:
        decoder: the decoder; its mode (training or eval) is restored afterwards.
        features: features of N images, (N, D) or (N, C, h, w).
        vocabulary: the vocabulary of the decoder.
        width: number of beginnings that are kept; with 1 the result is that of :func:`greedy`.
        max_length: largest number of words, END among them.
        length_power: exponent of the length; 0 compares log-probabilities of sentences, 1 those per word.

    Raises:
        UsageError: ``width`` or ``max_length`` is below 1.
        ShapeError: the features have another shape than the decoder was built for.
    """
    check_width(width)
    if max_length < 1:
        raise UsageError(f"Captions of at most {max_length} words were asked for; at least 1 is needed.")
    with torch.inference_mode(), evaluating(decoder):
        return _search(decoder, features, vocabulary, width, max_length, length_power)


def check_width(width: int) -> None:
    """Refuse a width of the beam below 1.

    Raises:
        UsageError: the width is below 1.
    """
    if width < 1:
        raise UsageError(
            f"The width of the beam is {width}; it must be at least 1, which is greedy decoding. 3 is usual."
        )


def _search(
    decoder: Decoder, features: Tensor, vocabulary: Vocabulary, width: int, max_length: int, length_power: float
) -> Decoded:
    count, device = len(features), features.device
    first = torch.arange(count, device=device)[:, None] * width  # (N, 1): the first row of each image
    state = tuple(tensor.repeat_interleave(width, dim=0) for tensor in decoder.start(features))
    words = torch.full((count * width,), vocabulary.start, device=device)
    captions = torch.full((count, width, max_length), vocabulary.null, device=device)
    attention: list[Tensor] = []
    ended = torch.zeros(count, width, dtype=torch.bool, device=device)
    lengths = torch.zeros(count, width, device=device)
    totals = torch.full((count, width), -torch.inf, device=device)
    totals[:, 0] = 0  # at first all beginnings are equal, and only one counts
    unsaid = [vocabulary.null, vocabulary.start, vocabulary.unk]
    for t in range(max_length):
        scores, state, looked = decoder.step(state, words)
        gains = scores.float().log_softmax(dim=1).unflatten(0, (count, width))  # (N, width, V)
        gains[:, :, unsaid] = -torch.inf
        gains[ended] = -torch.inf  # an ended sentence goes on with NULL, at no cost
        gains[:, :, vocabulary.null] = gains[:, :, vocabulary.null].masked_fill(ended, 0.0)
        candidates = totals[:, :, None] + gains
        new_lengths = lengths + ~ended
        ranks = candidates / new_lengths[:, :, None] ** length_power
        chosen = ranks.flatten(1).topk(width).indices  # (N, width)
        parents, next_words = chosen // scores.shape[1], chosen % scores.shape[1]
        rows = (first + parents).flatten()
        state = tuple(tensor[rows] for tensor in state)
        captions = captions.flatten(0, 1)[rows].unflatten(0, (count, width))
        captions[:, :, t] = next_words
        if looked is not None:
            attention = [earlier[rows] for earlier in [*attention, looked]]
        totals = candidates.flatten(1).gather(1, chosen)
        lengths = new_lengths.gather(1, parents)
        ended = ended.gather(1, parents) | (next_words == vocabulary.end)
        words = next_words.flatten()
        if ended.all():
            break
    best = (totals / lengths**length_power).argmax(dim=1)
    rows = first[:, 0] + best
    places = _padded(torch.stack(attention, dim=1)[rows], max_length) if attention else None
    return Decoded(captions.flatten(0, 1)[rows], totals.flatten()[rows], places)


def _padded(attention: Tensor, length: int) -> Tensor:
    """Return attention (N, t, h, w) filled up with zeros to (N, length, h, w)."""
    shape = (len(attention), length - attention.shape[1], *attention.shape[2:])
    return torch.cat([attention, attention.new_zeros(shape)], dim=1)
