"""A small vocabulary, random captions, and data that is learned in a moment."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.generate.captions.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<NULL>", "<START>", "<END>", "<UNK>", "a", "cat", "dog", "sees", "the"])


def random_captions(count: int, length: int, seed: int = 0) -> Tensor:
    """Captions (count, length) of random words and different lengths, the shortest without a word."""
    generator = torch.Generator().manual_seed(seed)
    captions = torch.randint(3, len(VOCABULARY), (count, length), generator=generator)
    captions[:, 0] = VOCABULARY.start
    for row, end in enumerate(torch.randint(1, length, (count,), generator=generator).tolist()):
        captions[row, end] = VOCABULARY.end
        captions[row, end + 1 :] = VOCABULARY.null
    return captions
