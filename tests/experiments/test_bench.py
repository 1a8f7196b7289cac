"""Sharing initial weights between networks, and answers as text."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnnlab.experiments.bench import share_initial_weights, training_scores
from cnnlab.experiments.records import pack_answers, unpack_answers
from cnnlab.training import prepare
from cnnlab.zoo import create_model
from tests.helpers import bars, make_bars, tiny_recipe


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_answers_survive_as_text(answers: list[bool]) -> None:
    assert unpack_answers(pack_answers(np.array(answers))).tolist() == answers


def test_layers_of_equal_shape_share_their_weights_past_normalisation() -> None:
    plain = create_model("convnet", options={"batch_norm": False})
    normed = create_model("convnet", options={"batch_norm": True})
    norms = [p.detach().clone() for m in normed.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    share_initial_weights([plain, normed])
    layers = [
        [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)] for model in (plain, normed)
    ]
    for one, other in zip(*layers, strict=True):
        assert torch.equal(one.weight, other.weight)
    after = [p for m in normed.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(norms, after, strict=True))


def test_layers_of_other_shapes_keep_their_own() -> None:
    small, large = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    before = [parameter.detach().clone() for parameter in large.parameters()]
    share_initial_weights([small, large])
    assert all(torch.equal(one, other) for one, other in zip(before, large.parameters(), strict=True))


def test_scores_on_the_training_images_are_free_of_dropout() -> None:
    options = {"hidden": (8,), "dropout": 0.5}
    session = prepare(tiny_recipe(model="mlp", model_options=options, image_size=8), make_bars())
    session.model.train()
    loss, accuracy = training_scores(session)
    assert session.model.training  # the mode is left as it was
    pixels, labels = bars(48, seed=1)
    mean, std = (torch.tensor(numbers) for numbers in (session.preprocess.mean, session.preprocess.std))
    inputs = ((pixels / 255 - mean) / std).flatten(1)
    weights = {name: value.detach() for name, value in session.model.state_dict().items()}
    hidden = (inputs @ weights["hidden.0.0.weight"].T + weights["hidden.0.0.bias"]).clamp(min=0)
    logits = hidden @ weights["fc.weight"].T + weights["fc.bias"]
    own = logits.log_softmax(1)[torch.arange(len(labels)), labels]
    assert abs(loss + float(own.mean())) < 1e-5
    assert accuracy == float((logits.argmax(1) == labels).float().mean())
