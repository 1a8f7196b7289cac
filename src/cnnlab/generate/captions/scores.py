"""Scores of captions: BLEU against references, and the share of right concepts in captions of drawn scenes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnlab.errors import UsageError
from cnnlab.generate.captions.scenes import COLOURS, COUNTS, SHAPES, Scene


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]], max_order: int = 4) -> float:
    """Return the BLEU of captions, 0..1: the geometric mean of the precisions of 1-grams to ``max_order``-grams.

    Counts are summed over all captions before precisions are computed, and captions that are shorter than the nearest
    reference are penalised (Papineni, Roukos, Ward, Zhu: BLEU, ACL 2002, sections 2.1 to 2.3; computed by sacrebleu
    without smoothing). Upper and lower case count as equal; words are divided at blanks.

    Args:
        captions: N sentences.
        references: reference captions of each of the N images, one or more.
        max_order: largest length of the n-grams in words; 4 for BLEU-4.

    Raises:
        UsageError: sacrebleu is not installed, numbers disagree, or an image has no reference.
    """
    BLEU = require_sacrebleu()
    if len(captions) != len(references) or not captions:
        raise UsageError(f"{len(captions)} captions have references for {len(references)} images; give both for each.")
    if empty := [n for n, sentences in enumerate(references) if not sentences]:
        raise UsageError(f"Image {empty[0]} has no reference to compare its caption with. Leave it out.")
    most = max(map(len, references))
    # sacrebleu takes a list of all first references, one of all second ones, and so on.
    columns: Any = [[sentences[n] if n < len(sentences) else None for sentences in references] for n in range(most)]
    metric = BLEU(lowercase=True, tokenize="none", smooth_method="none", max_ngram_order=max_order, force=True)
    return metric.corpus_score(list(captions), columns).score / 100


def require_sacrebleu() -> Any:
    """Return sacrebleu's class ``BLEU``.

    Raises:
        UsageError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise UsageError('BLEU needs sacrebleu, which is not installed: pip install "cnnlab[captions]".') from None
    return BLEU


@dataclass(frozen=True)
class Mention:
    """A group of things that a caption mentions; ``None`` stands for a property that the caption does not state.

    Args:
        count: number of things.
        colour: name of their colour.
        shape: name of their shape.
        place: their place in the scene, as :class:`cnnlab.generate.captions.scenes.Group` names it.
    """

    count: int | None
    colour: str | None
    shape: str
    place: str | None


_SINGULAR = {name: shape for shape, plural in SHAPES.items() for name in (shape, plural)}
_GROUP = re.compile(rf"\b(?:({'|'.join(COUNTS)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(_SINGULAR)})\b")
_RELATION = re.compile(r"\b(above|below|to the left of|to the right of)\b")
_SIDES = {
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
    "to the left of": ("left", "right"),
    "to the right of": ("right", "left"),
}
_PLACE = re.compile(r"\b(?:at|on) the (top|bottom|left|right)\b")


def mentions(caption: str) -> list[Mention]:
    """Return the groups of things that a caption about a drawn scene mentions, from its beginning to its end.

    A group is what stands before the name of a shape: a number word and a colour. Its place comes from the one relation
    of the caption (``above``, ``below``, ``to the left of``, ``to the right of``), where two groups on the same side
    are named from left to right; or, without a relation, from ``at the top``, ``on the left`` and so on. A caption that
    has several relations, or more than two groups on a side, gives no places.
    """
    matches = list(_GROUP.finditer(caption))
    places: list[str | None] = [None] * len(matches)
    relations = list(_RELATION.finditer(caption))
    if len(relations) == 1:
        for before, side in zip((True, False), _SIDES[relations[0][1]], strict=True):
            members = [n for n, match in enumerate(matches) if (match.end() <= relations[0].start()) == before]
            names = {1: [side], 2: [f"{side} left", f"{side} right"]}.get(len(members), [None] * len(members))
            for n, name in zip(members, names, strict=True):
                places[n] = name
    elif not relations and (place := _PLACE.search(caption)):
        places = [place[1]] * len(matches)
    return [
        Mention(COUNTS.index(count) + 1 if count else None, colour, _SINGULAR[shape], place)
        for (count, colour, shape), place in zip((match.groups() for match in matches), places, strict=True)
    ]


@dataclass(frozen=True)
class ConceptScores:
    """Shares of right concepts, 0..1, in captions of drawn scenes; see :func:`concept_scores`.

    Args:
        colour: share of groups with the right colour.
        shape: share of groups with the right shape.
        pair: share of groups with the right colour and the right shape.
        count: share of groups with the right number.
        position: share of groups at the right place.
        scene: share of captions in which all four are right of every group.
    """

    colour: float
    shape: float
    pair: float
    count: float
    position: float
    scene: float


def concept_scores(captions: Sequence[str], scenes: Sequence[Scene]) -> ConceptScores:
    """Score captions of drawn scenes, concept by concept, however the groups are joined in the sentence.

    The groups that a caption mentions are matched with those of its scene so that as many of their properties as
    possible agree. A group that is missing, and one too many, counts as wrong in every concept. Shares are means over
    the scenes.

    Args:
        captions: N sentences.
        scenes: contents of the N pictures.

    Raises:
        UsageError: numbers disagree.
    """
    if len(captions) != len(scenes) or not captions:
        raise UsageError(f"{len(captions)} captions are about {len(scenes)} scenes; give a scene for each.")
    shares = [_agreement(mentions(caption), scene) for caption, scene in zip(captions, scenes, strict=True)]
    colour, shape, pair, count, position = (sum(column) / len(shares) for column in zip(*shares, strict=True))
    return ConceptScores(colour, shape, pair, count, position, sum(min(row) == 1 for row in shares) / len(shares))


def _agreement(mentioned: list[Mention], scene: Scene) -> tuple[float, ...]:
    """Return the shares of right colours, shapes, pairs of both, counts and places in one caption."""
    groups = [(group.colour, group.shape, group.count, group.place) for group in scene.groups]
    candidates: list[tuple[object, ...] | None] = [(one.colour, one.shape, one.count, one.place) for one in mentioned]
    most = max(len(groups), len(candidates))
    candidates = candidates[:6]  # a caption that repeats itself would take long to match
    candidates += [None] * (len(groups) - len(candidates))
    best = max(
        (
            [[a == b for a, b in zip(group, one, strict=True)] if one else [False] * 4 for group, one in pairs]
            for pairs in (
                list(zip(groups, order, strict=False)) for order in itertools.permutations(candidates, len(groups))
            )
        ),
        key=lambda agreement: sum(map(sum, agreement)),
    )
    rows = [(colour, shape, colour and shape, count, place) for colour, shape, count, place in best]
    return tuple(sum(column) / most for column in zip(*rows, strict=True))
