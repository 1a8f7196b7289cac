"""BLEU and the scores of concepts, against numbers by hand, sacrebleu's own interface and NLTK's formula."""

from __future__ import annotations

import math
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab.errors import UsageError
from cnnlab.generate.captions.scenes import Group, Scene, make_scenes
from cnnlab.generate.captions.scores import ConceptScores, Mention, bleu, concept_scores, mentions

SCENE = Scene((Group(2, "red", "circle", "top"), Group(1, "blue", "cross", "bottom")))


def bleu_by_formula(captions: list[str], references: list[list[str]], max_order: int) -> float:
    """BLEU as Papineni et al. 2002 write it, section 2.3."""
    matches, totals, lengths, nearest = [0] * max_order, [0] * max_order, 0, 0
    for caption, sentences in zip(captions, references, strict=True):
        words, others = caption.split(), [sentence.split() for sentence in sentences]
        lengths += len(words)
        nearest += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for n in range(max_order):
            grams = [Counter(tuple(text[i : i + n + 1]) for i in range(len(text) - n)) for text in (words, *others)]
            most = {gram: max(other[gram] for other in grams[1:]) for gram in grams[0]}
            matches[n] += sum(min(count, most[gram]) for gram, count in grams[0].items())
            totals[n] += sum(grams[0].values())
    if not all(matches):
        return 0.0
    penalty = 1.0 if lengths > nearest else math.exp(1 - nearest / lengths)
    return penalty * math.exp(sum(math.log(m / t) for m, t in zip(matches, totals, strict=True)) / max_order)


def test_bleu_of_the_papers_example_by_hand() -> None:
    # Papineni et al., section 2.1: "the" occurs twice in a reference, so 2 of 7 words count.
    assert bleu(["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]], 1) == (
        pytest.approx(2 / 7)
    )
    # 3 of 3 words and 2 of 2 pairs are right, and the caption has 3 words of 4.
    assert bleu(["a red cross"], [["a red cross below"]], 2) == pytest.approx(math.exp(1 - 4 / 3))


sentence = st.lists(st.sampled_from(["a", "cat", "sat", "on"]), min_size=1, max_size=7).map(" ".join)
pairs = st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(1, 4))
def test_bleu_agrees_with_the_formula_for_any_number_of_references(
    captioned: list[tuple[str, list[str]]], order: int
) -> None:
    captions, references = [caption for caption, _ in captioned], [sentences for _, sentences in captioned]
    expected = bleu_by_formula(captions, references, order)
    assert bleu(captions, references, order) == pytest.approx(expected, abs=1e-9)


def test_bleu_agrees_with_sacrebleu_where_all_images_have_as_many_references() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    scenes = make_scenes(30, 32)[1]
    captions = [scene.captions()[n % 4].replace("red", "blue") for n, scene in enumerate(scenes)]
    references = [scene.captions() for scene in scenes]
    expected = sacrebleu.corpus_bleu(captions, [list(column) for column in zip(*references, strict=True)])
    assert bleu(captions, references) == pytest.approx(expected.score / 100)
    assert 0.5 < bleu(captions, references) < 1


def test_bleu_is_one_for_references_and_zero_without_a_common_word() -> None:
    scenes = make_scenes(10, 32)[1]
    references = [scene.captions() for scene in scenes]
    assert bleu([sentences[2] for sentences in references], references) == pytest.approx(1)
    assert bleu(["nothing that is known here"] * 10, references) == 0
    assert bleu([""] * 10, references) == 0


def test_bleu_refuses_what_it_cannot_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="1 captions have references for 0 images"):
        bleu(["a"], [])
    with pytest.raises(UsageError, match="Image 1 has no reference"):
        bleu(["a", "b"], [["a"], []])
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(UsageError, match=r"pip install \"cnnlab\[captions\]\""):
        bleu(["a"], [["a"]])


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("two red circles on the left", [Mention(2, "red", "circle", "left")]),
        ("at the top there is a red cross", [Mention(1, "red", "cross", "top")]),
        ("a red circle below three crosses", [Mention(1, "red", "circle", "bottom"), Mention(3, None, "cross", "top")]),
        (
            "a red circle and blue squares above two crosses",
            [
                Mention(1, "red", "circle", "top left"),
                Mention(None, "blue", "square", "top right"),
                Mention(2, None, "cross", "bottom"),
            ],
        ),
        (
            "a red circle to the right of a cross",
            [Mention(1, "red", "circle", "right"), Mention(1, None, "cross", "left")],
        ),
        (
            "circle above cross below square",
            [Mention(None, None, name, None) for name in ("circle", "cross", "square")],
        ),
        ("above two red", []),
        ("", []),
    ],
)
def test_captions_are_parsed(caption: str, expected: list[Mention]) -> None:
    assert mentions(caption) == expected


def test_all_captions_of_a_scene_get_full_marks() -> None:
    for scene in make_scenes(300, 32, pairs="all")[1]:
        for caption in scene.captions():
            assert concept_scores([caption], [scene]) == ConceptScores(1, 1, 1, 1, 1, 1), caption


@pytest.mark.parametrize(
    ("caption", "scores"),
    [
        ("two blue circles above a blue cross", (0.5, 1, 0.5, 1, 1)),
        ("two red squares above a blue square", (1, 0, 0, 1, 1)),
        ("three red circles above two blue crosses", (1, 1, 1, 0, 1)),
        ("two red circles below a blue cross", (1, 1, 1, 1, 0)),
        ("a blue cross above two red circles", (1, 1, 1, 1, 0)),
        ("two red circles at the top", (0.5, 0.5, 0.5, 0.5, 0.5)),  # the cross is missing
        ("two red circles and a blue cross above a red cross", (2 / 3, 2 / 3, 2 / 3, 2 / 3, 0)),  # one too many
        ("", (0, 0, 0, 0, 0)),
    ],
)
def test_every_concept_is_scored_by_itself(caption: str, scores: tuple[float, ...]) -> None:
    result = concept_scores([caption], [SCENE])
    assert (result.colour, result.shape, result.pair, result.count, result.position) == pytest.approx(scores)
    assert result.scene == 0


def test_scores_are_means_over_scenes() -> None:
    result = concept_scores(["two blue circles above a blue cross", SCENE.captions()[2]], [SCENE, SCENE])
    assert result == ConceptScores(0.75, 1, 0.75, 1, 1, 0.5)
    with pytest.raises(UsageError, match="1 captions are about 2 scenes"):
        concept_scores(["a"], [SCENE, SCENE])


def test_a_caption_that_repeats_itself_gets_few_marks_and_takes_no_time() -> None:
    result = concept_scores([" and ".join(["two red circles"] * 12)], [SCENE])
    assert result.shape == pytest.approx(1 / 12)
