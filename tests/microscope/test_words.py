"""The words of the page: complete, short, and their lessons exist."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from cnnlab.microscope.words import KINDS, LESSONS, VIEWS, all_words

LESSON_FILES = Path(__file__).parents[2] / "lessons"
WORDS = VIEWS | KINDS


def test_every_view_and_every_kind_of_node_has_words() -> None:
    assert set(VIEWS) == {
        "overview", "stage", "layer", "vector", "channel", "number", "unit", "playground", "explanation", "time",
        "compare", "touch",
    }  # fmt: skip
    assert set(KINDS) == {
        "input", "conv", "depthwise", "grouped", "transposed", "dense", "product", "norm", "activation", "softmax",
        "maxpool", "avgpool", "add", "multiply", "concat", "resize", "move", "opaque",
    }  # fmt: skip
    assert set(all_words()) == set(WORDS)
    assert len(json.dumps(all_words(), ensure_ascii=False).encode()) < 25_000  # the page loads them at once


@pytest.mark.parametrize("name", WORDS)
def test_one_sentence_and_an_idea_of_two_to_five(name: str) -> None:
    words = WORDS[name]
    assert len(sentences(words.sentence)) == 1
    assert len(words.sentence) <= 150
    assert 2 <= len(sentences(words.idea)) <= 5
    assert all(len(sentence.split()) <= 32 for sentence in sentences(words.idea))
    assert not re.search(r"\s\s|\s$|^\s", words.sentence + words.idea)


def sentences(text: str) -> list[str]:
    assert text.endswith(".")
    return re.split(r"(?<=[.?!]) (?=[A-Z“])", text)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_there_under_its_title(name: str) -> None:
    if not LESSON_FILES.is_dir():
        pytest.skip("the lessons are not part of the installed package")
    text = ast.get_docstring(ast.parse((LESSON_FILES / f"{name}.py").read_text(encoding="utf-8")))
    assert text is not None
    assert text.splitlines()[0] == LESSONS[name]


def test_every_lesson_in_the_list_is_used() -> None:
    assert {words.lesson for words in WORDS.values()} == set(LESSONS)
    lesson = all_words()["conv"]["lesson"]
    assert lesson["file"] == "lessons/08_convolution.py"
    assert lesson["page"] == "lessons/08_convolution.html"
