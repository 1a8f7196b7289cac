"""Decoders against the NumPy network of the scratch room and against the equations written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.generate.captions.decode import greedy
from cnnlab.generate.captions.decoders import (
    AttentionDecoder,
    Decoder,
    RecurrentDecoder,
    coverage_penalty,
    create_decoder,
    word_loss,
)
from cnnlab.generate.captions.vocabulary import Vocabulary
from cnnlab.scratch.nets.captioning import CaptioningRNN
from tests.generate.captions.helpers_captions import VOCABULARY, random_captions

Array = npt.NDArray[Any]
cells = pytest.mark.parametrize("cell", ["rnn", "lstm"])


def course_network(cell: str) -> CaptioningRNN:
    np.random.seed(0)  # noqa: NPY002 (the course's interface draws from the global stream)
    positions = {word: position for position, word in enumerate(VOCABULARY.words)}
    model = CaptioningRNN(positions, input_dim=6, wordvec_dim=5, hidden_dim=7, cell_type=cell, dtype=np.float64)
    for name, value in model.params.items():
        if name.startswith("b"):
            value[:] = np.random.randn(*value.shape)  # noqa: NPY002
    # The torch network never says these words.
    for word in (VOCABULARY.null, VOCABULARY.start, VOCABULARY.unk):
        model.params["b_vocab"][word] = -100
    return model


def with_weights_of(model: CaptioningRNN) -> RecurrentDecoder:
    """The decoder with the weights of the NumPy network; torch's gates stand in the order i, f, g, o."""
    decoder = RecurrentDecoder(model.cell_type, (6,), len(VOCABULARY), word_size=5, hidden_size=7).double()

    def ordered(values: Array) -> Tensor:
        tensor = torch.from_numpy(values)
        if model.cell_type == "rnn":
            return tensor
        i, f, o, g = tensor.chunk(4, dim=-1)
        return torch.cat([i, f, g, o], dim=-1)

    p = {name: torch.from_numpy(value) for name, value in model.params.items()}
    bias = ordered(model.params["b"])
    decoder.load_state_dict(
        {
            "project.weight": p["W_proj"].T,
            "project.bias": p["b_proj"],
            "embed.weight": p["W_embed"],
            "recurrent.weight_ih_l0": ordered(model.params["Wx"]).T,
            "recurrent.weight_hh_l0": ordered(model.params["Wh"]).T,
            "recurrent.bias_ih_l0": bias,
            "recurrent.bias_hh_l0": torch.zeros_like(bias),
            "vocab.weight": p["W_vocab"].T,
            "vocab.bias": p["b_vocab"],
        }
    )
    return decoder


@cells
def test_loss_and_gradients_are_those_of_the_numpy_network(cell: str) -> None:
    model = course_network(cell)
    decoder = with_weights_of(model)
    features, captions = np.random.default_rng(1).standard_normal((4, 6)), random_captions(4, 7)
    expected, grads = model.loss(features, captions.numpy())
    scores, attention = decoder(torch.from_numpy(features), captions)
    loss = word_loss(scores, captions, VOCABULARY.null) / 4  # the course divides by the number of images
    loss.backward()
    assert attention is None
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    for parameter, right in (
        (decoder.project.weight, grads["W_proj"].T),
        (decoder.embed.weight, grads["W_embed"]),
        (decoder.vocab.weight, grads["W_vocab"].T),
        (decoder.vocab.bias, grads["b_vocab"]),
    ):
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), right, rtol=1e-9, atol=1e-12)


@cells
def test_greedy_sentences_are_those_of_the_numpy_network(cell: str) -> None:
    model = course_network(cell)
    features = 3 * np.random.default_rng(2).standard_normal((50, 6))
    expected = model.sample(features, max_length=8)
    decoded = greedy(with_weights_of(model), torch.from_numpy(features), VOCABULARY, max_length=8)
    assert decoded.captions.tolist() == expected.tolist()
    assert len({tuple(row) for row in expected.tolist()}) > 2, "the sentences differ"


def numpy_attention(decoder: AttentionDecoder, features: Array, words: Array) -> tuple[Array, Array]:
    """The equations of Xu et al. for one image: features (C, h, w), words (T,) -> scores (T, V), attention (T, L)."""
    w = {name: tensor.detach().numpy() for name, tensor in decoder.state_dict().items()}
    a = features.reshape(len(features), -1).T  # (L, C)
    h = np.tanh(w["first_h.weight"] @ a.mean(0) + w["first_h.bias"])
    c = np.tanh(w["first_c.weight"] @ a.mean(0) + w["first_c.bias"])
    scores, attention = [], []

    def sigmoid(x: Array) -> Array:
        return 1 / (1 + np.exp(-x))

    for word in words:
        vector = w["embed.weight"][word]
        energies = [
            w["energy.weight"][0] @ np.tanh(w["key.weight"] @ place + w["query.weight"] @ h + w["query.bias"])
            for place in a
        ]
        alpha = np.exp(energies) / np.exp(energies).sum()
        z = sigmoid(w["gate.weight"][0] @ h + w["gate.bias"][0]) * sum(
            x * place for x, place in zip(alpha, a, strict=True)
        )
        gates = w["cell.weight_ih"] @ np.concatenate([vector, z]) + w["cell.bias_ih"]
        i, f, g, o = np.split(gates + w["cell.weight_hh"] @ h + w["cell.bias_hh"], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        inner = vector + w["from_h.weight"] @ h + w["from_h.bias"] + w["from_z.weight"] @ z
        scores.append(w["vocab.weight"] @ inner + w["vocab.bias"])
        attention.append(alpha)
    return np.array(scores), np.array(attention)


def attention_decoder() -> AttentionDecoder:
    torch.manual_seed(0)
    return AttentionDecoder((4, 2, 3), len(VOCABULARY), word_size=5, hidden_size=6, attention_size=3).double()


def test_attention_is_that_of_the_equations() -> None:
    decoder, captions = attention_decoder(), random_captions(3, 6)
    features = torch.randn(3, 4, 2, 3, dtype=torch.double)
    scores, attention = decoder(features, captions)
    assert attention is not None
    for n in range(3):
        expected, alpha = numpy_attention(decoder, features[n].numpy(), captions[n, :-1].numpy())
        np.testing.assert_allclose(scores[n].detach().numpy(), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(attention[n].flatten(1).detach().numpy(), alpha, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(3, 5, dtype=torch.double))


def decoders() -> list[Decoder]:
    torch.manual_seed(0)
    sizes = {"word_size": 3, "hidden_size": 4}
    return [create_decoder(name, (2, 2, 2), len(VOCABULARY), **sizes).double() for name in ("rnn", "lstm", "attention")]  # type: ignore[arg-type]


@pytest.mark.parametrize("decoder", decoders(), ids=["rnn", "lstm", "attention"])
def test_gradients_are_the_slope_of_loss_and_penalty(decoder: Decoder) -> None:
    captions = random_captions(2, 4)
    parameters = dict(decoder.named_parameters())

    def loss(features: Tensor, *values: Tensor) -> Tensor:
        weights = dict(zip(parameters, values, strict=True))
        scores, attention = torch.func.functional_call(decoder, weights, (features, captions))
        total = word_loss(scores, captions, VOCABULARY.null)
        return total if attention is None else total + coverage_penalty(attention, captions, VOCABULARY.null)

    features = torch.randn(2, 2, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (features, *parameters.values()))


@pytest.mark.parametrize("decoder", decoders(), ids=["rnn", "lstm", "attention"])
def test_word_by_word_is_the_same_as_all_at_once(decoder: Decoder) -> None:
    captions, features = random_captions(3, 6), torch.randn(3, 2, 2, 2, dtype=torch.double)
    scores, attention = decoder(features, captions)
    state = decoder.start(features)
    for t in range(5):
        step, state, looked = decoder.step(state, captions[:, t])
        torch.testing.assert_close(step, scores[:, t])
        if attention is not None:
            torch.testing.assert_close(looked, attention[:, t])


def test_losses_by_hand() -> None:
    """Two images; the second caption is START END NULL, so that its last step does not count."""
    captions = torch.tensor([[1, 4, 2], [1, 2, 0]])
    scores = torch.zeros(2, 2, len(VOCABULARY))
    scores[0, 0, 4] = np.log(3.0)  # 3 / (V - 1 + 3) for the right word
    size = len(VOCABULARY)
    assert word_loss(scores, captions, 0).item() == pytest.approx(-np.log(3 / (size + 2)) + 2 * np.log(size), rel=1e-6)
    attention = torch.tensor([[[[1.0, 0.0]], [[0.5, 0.5]]], [[[0.25, 0.75]], [[0.0, 1.0]]]])
    # sums over words: (1.5, 0.5) and, without the step that fills up, (0.25, 0.75)
    assert coverage_penalty(attention, captions, 0).item() == pytest.approx(0.25 + 0.25 + 0.5625 + 0.0625)


def test_words_after_the_end_do_not_matter() -> None:
    """NULL after END changes neither loss nor gradient, however long it goes on."""
    for decoder in decoders():
        features = torch.randn(2, 2, 2, 2, dtype=torch.double)
        short = VOCABULARY.encode(["a cat", "a dog sees the cat"])
        gradients = []
        for captions in (short, torch.cat([short, torch.zeros(2, 3, dtype=torch.int64)], 1)):
            decoder.zero_grad()
            scores, attention = decoder(features, captions)
            total = word_loss(scores, captions, 0)
            total = total if attention is None else total + coverage_penalty(attention, captions, 0)
            total.backward()
            gradients.append([total.detach(), *(p.grad for p in decoder.parameters() if p.grad is not None)])
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)


def test_what_a_decoder_refuses() -> None:
    with pytest.raises(UnknownNameError, match=r'no decoder "lsmt". Did you mean "lstm"'):
        create_decoder("lsmt", (3,), 9)
    with pytest.raises(UsageError, match=r"shape \(512,\). Take decoder=lstm"):
        create_decoder("attention", (512,), 9)
    decoder = create_decoder("lstm", (6,), len(VOCABULARY))
    with pytest.raises(ShapeError, match=r"features of shape \(6,\) per image, and got \(5,\)"):
        decoder(torch.zeros(2, 5), random_captions(2, 4))
    assert Vocabulary(VOCABULARY.words) == VOCABULARY


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_the_first_state_of_a_map_has_mean_0_and_variance_1_and_that_of_given_features_is_as_it_is(name: str) -> None:
    torch.manual_seed(0)
    decoder = create_decoder(name, (8, 4, 4), len(VOCABULARY), word_size=4, hidden_size=6)  # type: ignore[arg-type]
    state = decoder.start(50 * torch.rand(40, 8, 4, 4))[0]
    torch.testing.assert_close(state.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(state.var(0, unbiased=False), torch.ones(6), atol=1e-3, rtol=0)
    flat = create_decoder(name, (8,), len(VOCABULARY), word_size=4, hidden_size=6)  # type: ignore[arg-type]
    features = torch.rand(5, 8)
    torch.testing.assert_close(flat.start(features)[0], flat.project(features))  # type: ignore[operator]
