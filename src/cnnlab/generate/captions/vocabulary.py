"""The vocabulary of captions: it encodes sentences as rows of whole numbers, and decodes rows to sentences.

The file format is that of the assignments of CS231n (``coco2014_vocab.json``): a JSON object with the list
``idx_to_word`` and the dictionary ``word_to_idx``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import DataError, LabelError, ShapeError, UsageError
from cnnlab.files import write_text

NULL, START, END, UNK = "<NULL>", "<START>", "<END>", "<UNK>"
SPECIAL = (NULL, START, END, UNK)

_WORD = re.compile(r"<UNK>|\w+(?:['’-]\w+)*")


def words_of(sentence: str) -> list[str]:
    """Return the words of a sentence in lower case, without punctuation; ``<UNK>`` counts as a word."""
    return [word if word == UNK else word.lower() for word in _WORD.findall(sentence)]


class Vocabulary:
    """A vocabulary: words and their positions.

    Four words are special: ``<NULL>`` at position 0 fills captions up to the same length, ``<START>`` begins a caption,
    ``<END>`` ends it, and ``<UNK>`` stands for every word that the vocabulary lacks.

    Args:
        words: all words in the order of their positions, the special ones among them.

    Attributes:
        words: the words, a tuple.
        null: position of ``<NULL>``, which is 0.
        start: position of ``<START>``.
        end: position of ``<END>``.
        unk: position of ``<UNK>``.

    Raises:
        DataError: a word occurs twice, a special word is missing, or ``<NULL>`` is not the first.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        twice = [word for word, count in Counter(self.words).items() if count > 1]
        if twice:
            raise DataError(f'The vocabulary has "{twice[0]}" twice; every word has one position. Remove one of them.')
        missing = [word for word in SPECIAL if word not in self._positions]
        if missing:
            raise DataError(
                f"The vocabulary lacks {', '.join(missing)}. It needs {', '.join(SPECIAL)} beside the words of the "
                "captions; Vocabulary.of(sentences) adds them."
            )
        self.null, self.start, self.end, self.unk = (self._positions[word] for word in SPECIAL)
        if self.null != 0:
            raise DataError(f"{NULL} is at position {self.null} of the vocabulary; expected 0. Put it first.")

    @classmethod
    def of(cls, sentences: Iterable[str], min_count: int = 1) -> Vocabulary:
        """Return the vocabulary of some sentences: the special words, and then the others by frequency.

        Args:
            sentences: captions in English.
            min_count: smallest number of occurrences of a word that gets a position; rarer words become ``<UNK>``.

        Raises:
            UsageError: ``min_count`` is below 1.
        """
        if min_count < 1:
            raise UsageError(
                f"min_count is {min_count}; a word of the vocabulary occurs at least once. Give 1 or more."
            )
        counts = Counter(word for sentence in sentences for word in words_of(sentence) if word != UNK)
        frequent = [word for word, count in counts.items() if count >= min_count]
        return cls([*SPECIAL, *sorted(frequent, key=lambda word: (-counts[word], word))])

    @classmethod
    def from_json(cls, value: Any, source: str = "The vocabulary") -> Vocabulary:
        """Return the vocabulary of a JSON value, as :meth:`to_json` makes it.

        Args:
            value: dictionary with ``idx_to_word``, a list of words, and perhaps ``word_to_idx``, their positions.
            source: name of the file for messages.

        Raises:
            DataError: a key is missing, or the two keys disagree.
        """
        words = value.get("idx_to_word") if isinstance(value, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            keys = ", ".join(value) if isinstance(value, dict) else type(value).__name__
            raise DataError(
                f'{source} has no list of words under the key "idx_to_word"; it has: {keys or "nothing"}. '
                "Expected the course's coco2014_vocab.json, or a file that Vocabulary.save wrote."
            )
        vocabulary = cls(words)
        positions = value.get("word_to_idx", vocabulary._positions)
        for position, word in enumerate(words):
            if positions.get(word) != position:
                raise DataError(
                    f'{source} has "{word}" at position {position} of idx_to_word and at {positions.get(word)} in '
                    "word_to_idx; they must agree. Take both from the same file."
                )
        if len(positions) != len(words):
            raise DataError(
                f"{source} has {len(words)} words in idx_to_word and {len(positions)} in word_to_idx; they must agree. "
                "Take both from the same file."
            )
        return vocabulary

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Return the vocabulary of a JSON file, such as the course's ``coco2014_vocab.json``.

        Raises:
            DataError: the file cannot be read, or is no vocabulary.
        """
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"Cannot read the vocabulary {path}: {error}. Check the path, or fetch it again."
            ) from error
        return cls.from_json(value, str(path))

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as a JSON value, in the format of the course."""
        return {"idx_to_word": list(self.words), "word_to_idx": dict(self._positions)}

    def save(self, path: str | Path) -> None:
        """Write the vocabulary to a JSON file.

        Raises:
            RunError: the file cannot be written.
        """
        write_text(Path(path), json.dumps(self.to_json(), ensure_ascii=False, indent=1))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._positions

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"

    def position(self, word: str) -> int:
        """Return the position of a word, or that of ``<UNK>`` when the vocabulary lacks it."""
        return self._positions.get(word, self.unk)

    def encode(self, sentences: Sequence[str], length: int | None = None) -> Tensor:
        """Return sentences as rows of positions: ``<START>``, the words, ``<END>``, and ``<NULL>`` up to the length.

        Args:
            sentences: M sentences; :func:`words_of` divides them into words, except at blanks around words of the
                vocabulary.
            length: number T of positions of a row, with ``<START>`` and ``<END>``; longer sentences lose their last
                words. The length that the longest sentence needs when ``None``.

        Returns:
            Positions, int64 (M, T).

        Raises:
            UsageError: the length is below 2.
        """
        if length is not None and length < 2:
            raise UsageError(f"A caption of length {length} has no room for {START} and {END}; give at least 2.")
        rows = [self._encode_words(sentence) for sentence in sentences]
        length = max(map(len, rows), default=0) + 2 if length is None else length
        captions = torch.full((len(rows), length), self.null)
        for caption, row in zip(captions, rows, strict=True):
            row = [self.start, *row[: length - 2], self.end]
            caption[: len(row)] = torch.tensor(row)
        return captions

    def decode(self, captions: Tensor | np.ndarray | Sequence[Sequence[int]]) -> list[str]:
        """Return rows of positions as sentences: the words up to ``<END>``, without ``<START>`` and ``<NULL>``.

        Args:
            captions: positions, (M, T).

        Raises:
            ShapeError: ``captions`` has another number of axes.
            LabelError: a position has no word.
        """
        rows = torch.as_tensor(captions)
        if rows.dim() != 2:
            raise ShapeError(f"Captions are positions (M, T), got shape {tuple(rows.shape)}. Give one row per caption.")
        self.expect_positions(rows)
        sentences = []
        for row in rows.tolist():
            row = row[: row.index(self.end)] if self.end in row else row
            sentences.append(" ".join(self.words[p] for p in row if p not in (self.null, self.start)))
        return sentences

    def expect_positions(self, captions: Tensor, source: str = "The captions") -> None:
        """Raise unless every entry of ``captions`` is the position of a word.

        Args:
            captions: integers of any shape.
            source: name of the captions or their file for messages.

        Raises:
            LabelError: an entry is no position.
        """
        low, high = (int(captions.min()), int(captions.max())) if captions.numel() else (0, 0)
        if low < 0 or high >= len(self):
            raise LabelError(
                f"{source} have positions {low}..{high}, and the vocabulary has {len(self)} words, at "
                f"0..{len(self) - 1}. Use the vocabulary that the captions were made with."
            )

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {word: position for position, word in enumerate(self.words)}

    def _encode_words(self, sentence: str) -> list[int]:
        """Return the positions of the words of a sentence; a vocabulary may hold words that words_of would divide."""
        positions: list[int] = []
        for token in sentence.split():
            if token in self._positions and token not in SPECIAL:
                positions.append(self._positions[token])
            else:
                positions += [self.position(word) for word in words_of(token)]
        return positions
