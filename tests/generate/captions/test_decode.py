"""Greedy decoding and beam search against a search through all sentences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.generate.captions.decode import Decoded, beam_search, greedy
from cnnlab.generate.captions.decoders import Decoder, create_decoder
from cnnlab.generate.captions.vocabulary import Vocabulary

TINY = Vocabulary(["<NULL>", "<START>", "<END>", "<UNK>", "a", "b"])
NAMES = ("rnn", "lstm", "attention")


def tiny_decoder(name: str, seed: int) -> Decoder:
    """A decoder with large random weights: its sentences are varied, and some of them end early."""
    torch.manual_seed(seed)
    decoder = create_decoder(name, (3, 2, 2), len(TINY), word_size=4, hidden_size=6).double().eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(3)
    return decoder


def all_sentences(length: int) -> list[list[int]]:
    """Every sentence of the words a and b: with END within ``length`` words, or cut off after so many."""
    a, b = 4, 5
    ended = [[*words, TINY.end] for n in range(length) for words in itertools.product((a, b), repeat=n)]
    return [*ended, *(list(words) for words in itertools.product((a, b), repeat=length))]


def log_probability(decoder: Decoder, features: Tensor, sentence: list[int]) -> float:
    """The log-probability of a sentence by teacher forcing; words that are never said take no probability away."""
    with torch.no_grad():
        scores, _ = decoder(features[None], torch.tensor([[TINY.start, *sentence]]))
    return float(scores[0].log_softmax(1).gather(1, torch.tensor(sentence)[:, None]).sum())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_a_beam_as_wide_as_there_are_sentences_finds_the_best(name: str, power: float) -> None:
    length = 4
    for seed in range(4):
        decoder = tiny_decoder(name, seed)
        features = torch.randn(3, 3, 2, 2, dtype=torch.double)
        decoded = beam_search(decoder, features, TINY, width=31, max_length=length, length_power=power)
        for n, image in enumerate(features):
            candidates = {tuple(s): log_probability(decoder, image, s) for s in all_sentences(length)}
            assert len(candidates) == 31
            best = max(candidates, key=lambda s: candidates[s] / len(s) ** power)
            assert decoded.captions[n].tolist() == [*best, *[TINY.null] * (length - len(best))]
            assert float(decoded.log_probability[n]) == pytest.approx(candidates[best], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_beam_of_width_one_takes_the_best_word_at_every_step(name: str) -> None:
    decoder = tiny_decoder(name, 5)
    features = torch.randn(8, 3, 2, 2, dtype=torch.double)
    for power in (0.0, 1.0):
        decoded = beam_search(decoder, features, TINY, width=1, max_length=6, length_power=power)
        for n in range(len(features)):
            sentence: list[int] = []
            while len(sentence) < 6 and TINY.end not in sentence:
                scores, _ = decoder(features[n : n + 1], torch.tensor([[TINY.start, *sentence, TINY.end]]))
                sentence.append(max((TINY.end, 4, 5), key=lambda word: scores[0, -1, word].item()))
            assert decoded.captions[n].tolist() == [*sentence, *[TINY.null] * (6 - len(sentence))]
    assert torch.equal(greedy(decoder, features, TINY, max_length=6).captions, decoded.captions)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_do_not_disturb_each_other(name: str) -> None:
    decoder, features = tiny_decoder(name, 6), torch.randn(5, 3, 2, 2, dtype=torch.double)
    together = beam_search(decoder, features, TINY, width=3, max_length=5)
    for n in range(5):
        alone = beam_search(decoder, features[n : n + 1], TINY, width=3, max_length=5)
        assert torch.equal(alone.captions[0], together.captions[n])
        if together.attention is not None and alone.attention is not None:
            torch.testing.assert_close(alone.attention[0], together.attention[n])


def test_attention_belongs_to_the_words_that_were_chosen() -> None:
    """Teacher forcing with the sentence of the beam looks at the same places."""
    decoder, features = tiny_decoder("attention", 7), torch.randn(4, 3, 2, 2, dtype=torch.double)
    decoded = beam_search(decoder, features, TINY, width=4, max_length=5)
    assert decoded.attention is not None
    start = torch.full((4, 1), TINY.start)
    _, expected = decoder(features, torch.cat([start, decoded.captions], dim=1))
    for n, caption in enumerate(decoded.captions):
        words = int((caption != TINY.null).sum())
        torch.testing.assert_close(decoded.attention[n, :words], expected[n, :words])
        assert decoded.attention.shape == (4, 5, 2, 2)


def test_the_length_power_favours_longer_sentences() -> None:
    """A decoder whose words are all equally probable: alone the shortest is best, per word all are alike."""

    def mean_length(decoded: Decoded) -> float:
        return float((decoded.captions != TINY.null).sum(1).float().mean())

    decoder, features = tiny_decoder("lstm", 8), torch.randn(50, 3, 2, 2, dtype=torch.double)
    short = beam_search(decoder, features, TINY, width=31, max_length=4, length_power=0.0)
    long = beam_search(decoder, features, TINY, width=31, max_length=4, length_power=1.0)
    assert mean_length(short) < mean_length(long)
    assert (short.log_probability >= long.log_probability - 1e-5).all()


def test_decoding_leaves_the_decoder_as_it_is() -> None:
    decoder = create_decoder("lstm", (2,), len(TINY), word_size=3, hidden_size=4, dropout=0.9)
    features = torch.randn(6, 2)
    first, second = (greedy(decoder, features, TINY, max_length=5) for _ in range(2))
    assert torch.equal(first.log_probability, second.log_probability), "no dropout while decoding"
    assert decoder.training
    assert decoder.dropout.training
    assert all(math.isfinite(value) for value in first.log_probability.tolist())


def test_what_is_refused() -> None:
    decoder, features = tiny_decoder("rnn", 0), torch.randn(1, 3, 2, 2, dtype=torch.double)
    with pytest.raises(UsageError, match="The width of the beam is 0"):
        beam_search(decoder, features, TINY, width=0)
    with pytest.raises(UsageError, match="at most 0 words"):
        greedy(decoder, features, TINY, max_length=0)
