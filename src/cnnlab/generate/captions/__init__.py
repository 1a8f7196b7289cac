"""Image captioning: captioned images, networks that write captions, their training, and scores of the sentences.

::

    from cnnlab.generate.captions import load_captions

    data = load_captions("scenes")
    data.train.references(0)  # four sentences about the first picture

    for event in fit_captions(load_caption_recipe("attention")):
        if isinstance(event, CaptionEpoch):
            print(event.epoch, event.val_loss, event.val_bleu)

The names of this package are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.generate.captions.assessment import assess_captions
    from cnnlab.generate.captions.captioner import Captioner
    from cnnlab.generate.captions.continuation import resume_captions
    from cnnlab.generate.captions.data import CaptionData, CaptionSplit
    from cnnlab.generate.captions.decode import beam_search, greedy
    from cnnlab.generate.captions.decoders import create_decoder
    from cnnlab.generate.captions.events import CaptionEpoch, CaptionsFinished, CaptionStep
    from cnnlab.generate.captions.folder import CaptionFolder
    from cnnlab.generate.captions.load import load_captions
    from cnnlab.generate.captions.loop import fit_captions
    from cnnlab.generate.captions.recipe import CaptionRecipe, list_caption_recipes, load_caption_recipe
    from cnnlab.generate.captions.recorder import CaptionRecorder
    from cnnlab.generate.captions.scenes import Scene, make_scenes
    from cnnlab.generate.captions.scores import ConceptScores, bleu, concept_scores
    from cnnlab.generate.captions.vocabulary import Vocabulary

_MODULE_OF = {
    "CaptionData": ".data",
    "CaptionEpoch": ".events",
    "CaptionFolder": ".folder",
    "CaptionRecipe": ".recipe",
    "CaptionRecorder": ".recorder",
    "CaptionSplit": ".data",
    "CaptionStep": ".events",
    "Captioner": ".captioner",
    "CaptionsFinished": ".events",
    "ConceptScores": ".scores",
    "Scene": ".scenes",
    "Vocabulary": ".vocabulary",
    "assess_captions": ".assessment",
    "beam_search": ".decode",
    "bleu": ".scores",
    "concept_scores": ".scores",
    "create_decoder": ".decoders",
    "fit_captions": ".loop",
    "greedy": ".decode",
    "list_caption_recipes": ".recipe",
    "load_caption_recipe": ".recipe",
    "load_captions": ".load",
    "make_scenes": ".scenes",
    "resume_captions": ".continuation",
}

__all__ = [
    "CaptionData",
    "CaptionEpoch",
    "CaptionFolder",
    "CaptionRecipe",
    "CaptionRecorder",
    "CaptionSplit",
    "CaptionStep",
    "Captioner",
    "CaptionsFinished",
    "ConceptScores",
    "Scene",
    "Vocabulary",
    "assess_captions",
    "beam_search",
    "bleu",
    "concept_scores",
    "create_decoder",
    "fit_captions",
    "greedy",
    "list_caption_recipes",
    "load_caption_recipe",
    "load_captions",
    "make_scenes",
    "resume_captions",
]

__getattr__ = attributes_from(__name__, _MODULE_OF)
