"""A captioning network: an encoder, a decoder, and the vocabulary."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cnnlab.errors import CheckpointError
from cnnlab.generate.captions.decoders import Decoder, create_decoder
from cnnlab.generate.captions.encoder import Encoder, build_encoder
from cnnlab.generate.captions.vocabulary import Vocabulary


class CaptionNetwork(nn.Module):
    """An encoder and a decoder with the vocabulary of the captions.

    Args:
        encoder: module from inputs (N, ...) to features (N, D) or (N, C, h, w).
        decoder: module from features and captions to scores of words.
        vocabulary: words of the captions.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.encoder, self.decoder, self.vocabulary = encoder, decoder, vocabulary

    def forward(self, inputs: Tensor, captions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score every word of captions from the image and the words before it.

        Args:
            inputs: inputs of the encoder, (N, ...).
            captions: words (N k, T), k captions of each input one after the other.

        Returns:
            Scores (N k, T - 1, V), and attention (N k, T - 1, h, w) or None.
        """
        return self.score(self.encoder(inputs), captions)

    def score(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score every word of captions as :meth:`forward` does, from features (N, ...) instead of inputs."""
        each = len(captions) // max(len(features), 1)
        scored: tuple[Tensor, Tensor | None] = self.decoder(features.repeat_interleave(each, dim=0), captions)
        return scored

    @property
    def parameter_counts(self) -> tuple[int, int]:
        """The numbers of parameters of the encoder and of the decoder."""
        encoder, decoder = (
            sum(parameter.numel() for parameter in part.parameters()) for part in (self.encoder, self.decoder)
        )
        return encoder, decoder

    def facts(self, decoder: dict[str, Any]) -> dict[str, Any]:
        """Return plain values from which :func:`build_network` makes the same network, without its weights.

        Args:
            decoder: name and options of the decoder.
        """
        return {"encoder": self.encoder.facts(), "decoder": decoder, "vocabulary": self.vocabulary.to_json()}


def build_network(facts: dict[str, Any]) -> CaptionNetwork:
    """Build a network with random weights from what ``facts()`` of another one returned.

    Raises:
        CheckpointError: a value is missing.
    """
    try:
        vocabulary = Vocabulary.from_json(facts["vocabulary"])
        encoder = build_encoder(facts["encoder"])
        options = {key: value for key, value in facts["decoder"].items() if key != "name"}
        decoder = create_decoder(facts["decoder"]["name"], encoder.feature_shape, len(vocabulary), **options)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"The description of the network lacks or garbles {error}. Copy the run again.") from None
    return CaptionNetwork(encoder, decoder, vocabulary)
