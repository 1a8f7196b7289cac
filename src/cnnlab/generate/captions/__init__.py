"""Captions: sentences about images, and the networks that write them.

::

    from cnnlab.generate.captions import load_captions

    data = load_captions("scenes")
    data.train.references(0)  # four sentences about the first picture

What this package offers is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.generate.captions.data import CaptionData, CaptionSplit
    from cnnlab.generate.captions.load import load_captions
    from cnnlab.generate.captions.scenes import Scene, make_scenes
    from cnnlab.generate.captions.scores import ConceptScores, bleu, concept_scores
    from cnnlab.generate.captions.vocabulary import Vocabulary

_MODULE_OF = {
    "CaptionData": ".data",
    "CaptionSplit": ".data",
    "ConceptScores": ".scores",
    "Scene": ".scenes",
    "Vocabulary": ".vocabulary",
    "bleu": ".scores",
    "concept_scores": ".scores",
    "load_captions": ".load",
    "make_scenes": ".scenes",
}

__all__ = [
    "CaptionData",
    "CaptionSplit",
    "ConceptScores",
    "Scene",
    "Vocabulary",
    "bleu",
    "concept_scores",
    "load_captions",
    "make_scenes",
]

__getattr__ = attributes_from(__name__, _MODULE_OF)
