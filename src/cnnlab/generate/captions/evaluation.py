"""The validation of a captioning network: the loss per word, and the BLEU of its sentences."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.generate.captions.data import CaptionSplit
from cnnlab.generate.captions.decode import beam_search
from cnnlab.generate.captions.decoders import word_loss
from cnnlab.generate.captions.loader import CaptionLoader
from cnnlab.generate.captions.scores import bleu
from cnnlab.generate.captions.session import CaptionSession
from cnnlab.generate.captions.vocabulary import words_of
from cnnlab.tracing.hooks import evaluating

BATCH = 100  # number of images that are computed at once


def judge_validation(session: CaptionSession) -> tuple[float, float]:
    """Return the loss per word and the BLEU, 0..1, of greedy sentences on the validation split.

    The first ``val_limit`` images with captions are used, and all captions of an image count in the loss.

    Args:
        session: the state of the training.
    """
    split, vocabulary = session.data.val, session.data.vocabulary
    chosen = captioned_images(split)[: session.recipe.val_limit]
    fetch = session.fetch("val")
    trimmed = CaptionLoader(split, fetch, BATCH, 1, 0, session.device).trimmed
    sums = torch.zeros(2, dtype=torch.float64)
    sentences: list[str] = []
    for images in chosen.split(BATCH):
        with torch.inference_mode(), evaluating(session.network):
            features = session.encode(fetch(images))
            by_image = [split.captions_of(image) for image in images.tolist()]
            owner = torch.repeat_interleave(torch.arange(len(images)), torch.tensor([len(rows) for rows in by_image]))
            captions = trimmed(torch.cat(by_image))
            with session.precision.autocast(session.device):
                scores, _ = session.network.decoder(features[owner.to(session.device)], captions)
            losses = word_loss(scores.float(), captions, vocabulary.null)
            sums += torch.stack([losses, (captions[:, 1:] != vocabulary.null).sum()]).cpu()
        decoded = beam_search(session.network.decoder, features, vocabulary, 1, session.max_length)
        sentences += vocabulary.decode(decoded.captions.cpu())
    loss, words = sums.tolist()
    return loss / max(words, 1), bleu(sentences, [plain_references(split, image) for image in chosen.tolist()])


def captioned_images(split: CaptionSplit) -> Tensor:
    """Return the positions of the images of a split that have a caption, int64 (n,), in their order."""
    return split.image_of.unique()


def plain_references(split: CaptionSplit, image: int) -> list[str]:
    """Return the captions of an image in the form that a network writes: in lower case, without punctuation."""
    return [" ".join(words_of(sentence)) for sentence in split.references(image)]
