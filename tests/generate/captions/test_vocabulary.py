"""The words of captions and their positions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnnlab.errors import DataError, LabelError, ShapeError, UsageError
from cnnlab.generate.captions.vocabulary import SPECIAL, Vocabulary, words_of

WORDS = [*SPECIAL, "a", "cat", "sat"]


def test_sentences_become_rows_of_positions() -> None:
    captions = Vocabulary(WORDS).encode(["A cat.", "a dog sat"])
    assert captions.dtype == torch.int64
    assert captions.tolist() == [[1, 4, 5, 2, 0], [1, 4, 3, 6, 2]]  # the dog is unknown


def test_a_given_length_cuts_or_fills_and_keeps_the_end() -> None:
    vocabulary = Vocabulary(WORDS)
    assert vocabulary.encode(["a cat sat"], 4).tolist() == [[1, 4, 5, 2]]
    assert vocabulary.encode(["a"], 5).tolist() == [[1, 4, 2, 0, 0]]
    assert vocabulary.encode([], 5).shape == (0, 5)
    with pytest.raises(UsageError, match="length 1 has no room"):
        vocabulary.encode(["a"], 1)


def test_rows_become_sentences() -> None:
    captions = [[1, 4, 5, 2, 6], [4, 3, 0, 0, 0], [2, 4, 4, 4, 4]]
    assert Vocabulary(WORDS).decode(captions) == ["a cat", "a <UNK>", ""]
    with pytest.raises(LabelError, match=r"positions 0\.\.7, and the vocabulary has 7 words"):
        Vocabulary(WORDS).decode([[0, 7]])
    with pytest.raises(ShapeError, match=r"\(M, T\), got shape \(2,\)"):
        Vocabulary(WORDS).decode([1, 2])  # type: ignore[list-item]


def test_words_are_counted_and_the_frequent_come_first() -> None:
    vocabulary = Vocabulary.of(["A cat, a dog!", "a dog's cat", "The end"], min_count=2)
    assert vocabulary.words == (*SPECIAL, "a", "cat")
    assert Vocabulary.of(["b a b"]).words == (*SPECIAL, "b", "a")
    assert words_of("The dog's well-known; it <UNK>s") == ["the", "dog's", "well-known", "it", "<UNK>", "s"]
    with pytest.raises(UsageError, match="min_count is 0"):
        Vocabulary.of([], 0)


sentences = st.lists(st.lists(st.sampled_from(["a", "cat", "sat", "<UNK>"]), max_size=6).map(" ".join), max_size=5)


@given(sentences)
def test_decoding_undoes_encoding(texts: list[str]) -> None:
    assert Vocabulary(WORDS).decode(Vocabulary(WORDS).encode(texts)) == texts


@given(st.lists(st.text(max_size=20), max_size=4))
def test_any_text_is_encoded_by_its_own_vocabulary_without_unknown_words(texts: list[str]) -> None:
    vocabulary = Vocabulary.of(texts)
    captions = vocabulary.encode(texts)
    assert [row.tolist().count(vocabulary.unk) for row in captions] == [words_of(text).count("<UNK>") for text in texts]
    assert vocabulary.decode(captions) == [" ".join(words_of(text)) for text in texts]


def test_words_that_would_be_divided_stay_whole_when_the_vocabulary_has_them() -> None:
    vocabulary = Vocabulary([*SPECIAL, "t.v", "on"])
    assert vocabulary.encode(["t.v on"]).tolist() == [[1, 4, 5, 2]]


def test_a_file_in_the_format_of_the_course_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "coco2014_vocab.json"
    path.write_text(json.dumps({"idx_to_word": WORDS, "word_to_idx": {word: n for n, word in enumerate(WORDS)}}))
    vocabulary = Vocabulary.load(path)
    assert vocabulary == Vocabulary(WORDS)
    assert (vocabulary.null, vocabulary.start, vocabulary.end, vocabulary.unk, len(vocabulary)) == (0, 1, 2, 3, 7)
    vocabulary.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"words": []}, 'no list of words under the key "idx_to_word"; it has: words'),
        ([], "it has: list"),
        ({"idx_to_word": WORDS, "word_to_idx": {}}, '"<NULL>" at position 0 of idx_to_word and at None'),
        (
            {"idx_to_word": WORDS, "word_to_idx": {word: n for n, word in enumerate([*WORDS, "more"])}},
            "7 words in idx_to_word and 8 in word_to_idx",
        ),
        ({"idx_to_word": ["a", "a", *SPECIAL]}, '"a" twice'),
        ({"idx_to_word": ["<NULL>", "<START>", "<END>"]}, "lacks <UNK>"),
        ({"idx_to_word": ["a", *SPECIAL]}, "<NULL> is at position 1"),
    ],
)
def test_a_damaged_vocabulary_is_refused(tmp_path: Path, value: object, message: str) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=message):
        Vocabulary.load(path)


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Cannot read the vocabulary"):
        Vocabulary.load(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"idx_to_word": [')
    with pytest.raises(DataError, match="Cannot read the vocabulary"):
        Vocabulary.load(tmp_path / "cut.json")
