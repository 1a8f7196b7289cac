"""Hooks see what leaves a layer, whatever runs behind it, and nothing of them or of anything else remains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import cnnlab
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import Probe
from cnnlab.tracing.hooks import evaluating, recording, recording_inputs, replacing_output, untouched
from tests.explain.helpers_explain import OneConv, awkward, hooks_of, linear, random_image, state_of


def test_values_are_those_before_a_relu_in_place() -> None:
    model = OneConv(inplace=True).eval()
    image = torch.tensor([[[[1.0, -2.0], [3.0, -4.0]]]], dtype=torch.float64)
    with recording(model, ["conv", "relu"]) as seen:
        model(image)
    assert seen["conv"][0].tolist() == [[[1, -2], [3, -4]], [[-1, 2], [-3, 4]]]
    assert seen["relu"][0].tolist() == [[[1, 0], [3, 0]], [[0, 2], [0, 4]]]
    assert dict(seen).keys() == {"conv", "relu"}


def test_a_function_in_place_behind_a_layer_changes_nothing() -> None:
    model = awkward().eval()
    image = random_image()[None]
    with recording(model, ["last"]) as seen:
        logits = model(image)
    assert (seen["last"] < 0).any()
    assert torch.equal(logits, model(image)), "recording changes no answer"
    by_hand = model.fc(seen["last"].relu().mean((2, 3)))
    torch.testing.assert_close(by_hand, logits)


def test_gradients_belong_to_the_values_before_a_relu_in_place() -> None:
    model = OneConv(inplace=True).eval()
    image = torch.tensor([[[[1.0, -2.0], [3.0, -4.0]]]], dtype=torch.float64, requires_grad=True)
    with recording(model, ["conv"]) as seen:
        score = model(image)[0, 0]
    (gradient,) = torch.autograd.grad(score, [seen["conv"]])
    # mean over four positions, +1 for the first map and -1 for the second, only where the ReLU is open
    assert gradient[0].tolist() == [[[0.25, 0], [0.25, 0]], [[0, -0.25], [0, -0.25]]]


def test_every_call_of_a_reused_module_is_kept_and_the_last_is_the_answer() -> None:
    model = awkward().eval()
    with recording(model, ["twice", "relu"]) as seen:
        model(random_image()[None])
    assert len(seen.calls["twice"]) == 2
    assert len(seen.calls["relu"]) == 3
    assert seen["twice"] is seen.calls["twice"][-1]
    torch.testing.assert_close(seen.calls["relu"][1], seen.calls["twice"][0].relu())
    torch.testing.assert_close(model.twice(seen.calls["relu"][1]), seen["twice"])


def test_the_order_of_the_calls() -> None:
    with recording(awkward().eval(), ["relu", "fc", "twice", "first"]) as outputs:
        pass
    assert outputs.order == []
    model = awkward().eval()
    with recording(model, ["relu", "fc", "twice", "first"]) as outputs:
        model(random_image()[None])
    assert outputs.order == ["first", "relu", "twice", "relu", "twice", "relu", "fc"]


def test_a_name_given_twice_is_recorded_once() -> None:
    model = OneConv().eval()
    with recording(model, ["conv", "conv"]) as outputs:
        model(torch.ones(1, 1, 2, 2, dtype=torch.float64))
    assert len(outputs.calls["conv"]) == 1


def test_an_output_is_replaced() -> None:
    model = OneConv().eval()
    image = torch.tensor([[[[1.0, -2.0], [3.0, -4.0]]]], dtype=torch.float64)
    with replacing_output(model, "relu", lambda inputs, output: inputs[0] + output):
        logits = model(image)
    # both maps are x + max(x, 0) and -x + max(-x, 0), whose means are 0.5 and 2: scores 0.5 - 2 and 2 * 2
    assert logits[0].tolist() == [-1.5, 4]
    assert hooks_of(model) == 0
    with pytest.raises(RuntimeError, match="on purpose"), replacing_output(model, "fc", lambda *_: 1 / 0):
        raise RuntimeError("on purpose")
    assert hooks_of(model) == 0
    with pytest.raises(UnknownNameError), replacing_output(model, "cf", lambda *_: None):
        pass


def test_a_layer_that_returns_several_tensors() -> None:
    model = nn.LSTM(3, 5, batch_first=True)
    holder = nn.ModuleDict({"lstm": model})
    with recording(holder, ["lstm"]) as seen:
        output, (hidden, cell) = holder["lstm"](torch.randn(2, 4, 3))
    assert torch.equal(seen["lstm"], output)
    assert hidden.shape == cell.shape == (1, 2, 5)


def test_inputs_are_kept_as_they_came() -> None:
    model = OneConv(inplace=True).eval()
    image = torch.tensor([[[[1.0, -2.0], [3.0, -4.0]]]], dtype=torch.float64)
    with recording_inputs(model, ["relu"]) as seen:
        model(image)
    assert seen["relu"][0, 0].tolist() == [[1, -2], [3, -4]]
    assert hooks_of(model) == 0


def test_a_layer_that_does_not_run_is_said() -> None:
    model = awkward().eval()
    with recording(model, ["asleep"]) as seen:
        model(random_image()[None])
    assert seen.calls["asleep"] == []
    with pytest.raises(ModelError, match='"asleep" did not run'):
        _ = seen["asleep"]


def test_unknown_layer_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r'Did you mean "last"\?') as caught, recording(awkward(), ["lost"]):
        pass
    assert "list_layers(model, image)" in str(caught.value)


@pytest.mark.parametrize("record", [recording, recording_inputs])
def test_no_hook_remains_after_an_error(record: Callable[..., object]) -> None:
    model = awkward()
    model.broken = True
    with pytest.raises(RuntimeError, match="on purpose"), record(model, ["first", "norm", "twice"]):  # type: ignore[attr-defined]
        model(random_image()[None])
    assert hooks_of(model) == 0
    with pytest.raises(UnknownNameError), record(model, ["first", "norm", "no such layer"]):  # type: ignore[attr-defined]
        pass
    assert hooks_of(model) == 0


def test_no_other_room_has_hooks_of_its_own() -> None:
    """But for the training doctor, which watches calls, modes and optimizers in steps that are somebody else's code."""
    package = Path(cnnlab.__file__).parent
    rooms = {path.parent.name for path in package.rglob("*.py") if ".register_forward_" in path.read_text("utf-8")}
    assert rooms == {"tracing", "why"}, "record with cnnlab.tracing.recording, change with replacing_output"


def used(model: nn.Module) -> None:
    """Give every second parameter a gradient, as in the middle of training."""
    for position, parameter in enumerate(model.parameters()):
        if position % 2 and parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 0.5)


def test_evaluating_gives_every_module_its_own_mode_back() -> None:
    model = awkward()
    modes = [module.training for module in model.modules()]
    assert set(modes) == {True, False}
    with evaluating(model) as same:
        assert same is model
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes
    model.broken = True
    with pytest.raises(RuntimeError, match="on purpose"), evaluating(model):
        model.train()(random_image()[None])
    assert [module.training for module in model.modules()] == modes


def test_untouched_can_keep_the_modes() -> None:
    model = awkward()
    before = state_of(model)
    with untouched(model, evaluate=False):
        assert [module.training for module in model.modules()] == before["modes"]
        model(random_image()[None])  # moves statistics
        model.eval()
    assert state_of(model) == before


def test_untouched_gives_everything_back() -> None:
    model = awkward()
    used(model)
    before, rng = state_of(model), torch.get_rng_state()
    assert set(before["modes"]) == {True, False}  # type: ignore[call-overload]
    with untouched(model) as same:
        assert same is model
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert all(parameter.grad is None for parameter in model.parameters())
        # What a careless method might do:
        model.train()
        model.requires_grad_(True)
        model(random_image()[None]).sum().backward()  # moves statistics, draws dropout, fills gradients
        model.norm.running_var = torch.zeros(6)
        torch.rand(5)
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), rng)


def test_untouched_gives_everything_back_after_an_error() -> None:
    model = awkward()
    used(model)
    before = state_of(model)
    model.broken = True
    with pytest.raises(RuntimeError, match="on purpose"), untouched(model):
        model.train()(random_image()[None])
    assert state_of(model) == before


def test_gradients_inside_for_callers_that_have_none() -> None:
    model, image = awkward(), random_image()
    wanted = Probe(model, image, 1).input_gradient
    for caller in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with caller:
            made_there = image * 1
            probe = Probe(model, made_there, 1)
            assert torch.equal(probe.input_gradient, wanted)


def test_untouched_refuses_what_is_no_module() -> None:
    with pytest.raises(UsageError, match=r"must be a torch\.nn\.Module, not function"), untouched(lambda x: x):  # type: ignore[arg-type]
        pass


def test_integer_and_shared_parameters() -> None:
    model = linear([[1.0, 2, 3, 4]])
    model.register_buffer("count", torch.tensor(3))
    model.again = model[1]
    with untouched(model):
        model.count += 1
    assert model.count == 3
    assert model[1].weight.requires_grad
