"""Judging a captioning network: the loss of a word, and the BLEU of its sentences."""

from __future__ import annotations

import torch

from cnnlab.generate.captions.decode import beam_search
from cnnlab.generate.captions.decoders import word_loss
from cnnlab.generate.captions.loader import CaptionLoader
from cnnlab.generate.captions.scores import bleu
from cnnlab.generate.captions.session import CaptionSession
from cnnlab.tracing.hooks import evaluating

BATCH = 100  # images that are judged at once


def judge_validation(session: CaptionSession) -> tuple[float, float]:
    """Return loss per word and BLEU of greedy sentences on the first images of the validation split.

    All captions of an image count in its loss.
    """
    split, vocabulary = session.data.val, session.data.vocabulary
    count = min(session.recipe.val_limit, len(split))
    fetch = session.fetch("val")
    trimmed = CaptionLoader(split, fetch, BATCH, 1, 0, session.device).trimmed
    sums = torch.zeros(2, dtype=torch.float64)
    sentences: list[str] = []
    for images in torch.arange(count).split(BATCH):
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
    return loss / max(words, 1), bleu(sentences, [split.references(image) for image in range(count)])
