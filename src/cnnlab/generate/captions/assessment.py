"""Judge a captioning network on splits that its training did not use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from cnnlab.generate.captions.captioner import Captioner
from cnnlab.generate.captions.data import CaptionData, CaptionSplit
from cnnlab.generate.captions.scores import bleu, concept_scores


@dataclass(frozen=True)
class SplitScores:
    """The scores of a captioning network on a split.

    Attributes:
        images: number of images.
        bleu: corpus BLEU of the sentences against all references, 0..1.
        concepts: the values of :class:`~cnnlab.generate.captions.scores.ConceptScores` by name; empty where the data
            does not say what is in its images.
        sentences: a sentence for each image.
    """

    images: int
    bleu: float
    concepts: dict[str, float]
    sentences: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values without the sentences."""
        return {key: value for key, value in asdict(self).items() if key != "sentences"}


def assess_captions(
    captioner: Captioner, data: CaptionData, *, width: int = 3, limit: int | None = None
) -> dict[str, SplitScores]:
    """Describe the images of ``test`` and ``held_out``, or of ``val`` where there is neither, and score the sentences.

    Args:
        captioner: the network.
        data: captioned images.
        width: width of the beam; 1 is greedy.
        limit: largest number of images of each split, the first ones; all when ``None``.

    Returns:
        The scores by the name of the split.

    Raises:
        UsageError, ShapeError, DataError: the network cannot describe such data.
    """
    splits = {name: split for name, split in data.splits().items() if name in ("test", "held_out")}
    return {
        name: score_split(captioner, split, width=width, limit=limit)
        for name, split in (splits or {"val": data.val}).items()
    }


def score_split(captioner: Captioner, split: CaptionSplit, *, width: int = 3, limit: int | None = None) -> SplitScores:
    """Describe the images of a split and score the sentences; see :func:`assess_captions`."""
    rows = torch.arange(min(limit or len(split), len(split)))
    sentences: list[str] = []
    for _, described in captioner.describe_split(split, rows, width):
        sentences += described.sentences
    references = [split.references(image) for image in rows.tolist()]
    concepts = {} if split.scenes is None else asdict(concept_scores(sentences, split.scenes[: len(rows)]))
    return SplitScores(len(rows), bleu(sentences, references), concepts, sentences)
