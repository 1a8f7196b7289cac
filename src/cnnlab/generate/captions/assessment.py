"""Scores of a captioning network on splits that its training did not use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cnnlab.generate.captions.captioner import Captioner
from cnnlab.generate.captions.data import CaptionData, CaptionSplit
from cnnlab.generate.captions.evaluation import captioned_images, plain_references
from cnnlab.generate.captions.scores import bleu, concept_scores


@dataclass(frozen=True)
class SplitScores:
    """The scores of a captioning network on a split.

    Attributes:
        images: positions of the images that are described, which are those with a caption.
        bleu: corpus BLEU of the sentences against all references, 0..1.
        concepts: the values of :class:`~cnnlab.generate.captions.scores.ConceptScores` by name; empty where the data
            has no scenes.
        sentences: a sentence for each image.
    """

    images: list[int]
    bleu: float
    concepts: dict[str, float]
    sentences: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the number of images and the scores."""
        return {"images": len(self.images), "bleu": self.bleu, "concepts": self.concepts}


def assess_captions(
    captioner: Captioner, data: CaptionData, *, width: int = 3, limit: int | None = None
) -> dict[str, SplitScores]:
    """Describe the images of ``test`` and ``held_out``, or of ``val`` where there is neither, and score the sentences.

    Args:
        captioner: the network to score.
        data: the captioned images.
        width: width of the beam; 1 is greedy.
        limit: largest number of images of each split, the first ones; all when ``None``.

    Returns:
        The scores by the name of the split.

    Raises:
        UsageError: the network needs images and the data has features, or the other way round.
        ShapeError: the features have another length than those of the training.
        DataError: the vocabulary is not that of the training.
    """
    splits = {name: split for name, split in data.splits().items() if name in ("test", "held_out")}
    return {
        name: score_split(captioner, split, width=width, limit=limit)
        for name, split in (splits or {"val": data.val}).items()
    }


def score_split(captioner: Captioner, split: CaptionSplit, *, width: int = 3, limit: int | None = None) -> SplitScores:
    """Describe the images of a split and score the sentences; see :func:`assess_captions`."""
    rows = captioned_images(split)[:limit]
    sentences: list[str] = []
    for _, described in captioner.describe_split(split, rows, width):
        sentences += described.sentences
    positions = rows.tolist()
    references = [plain_references(split, image) for image in positions]
    scenes = None if split.scenes is None else [split.scenes[image] for image in positions]
    concepts = {} if scenes is None else asdict(concept_scores(sentences, scenes))
    return SplitScores(positions, bleu(sentences, references), concepts, sentences)
