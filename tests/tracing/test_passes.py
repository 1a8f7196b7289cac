"""Passes of a network with its values, observed and changed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError
from cnnlab.tracing import Observer, Passes, summarise, trace
from cnnlab.zoo import create_model


class Collector(Observer):
    """Keeps the outputs by position, and doubles one of them."""

    def __init__(self, doubled: int | None = None) -> None:
        self.outputs: dict[int, Tensor] = {}
        self.arguments: dict[int, list[Tensor]] = {}
        self.doubled = doubled

    def before(self, position, arguments, keywords):
        self.arguments[position] = [leaf.clone() for leaf in arguments if isinstance(leaf, Tensor)]

    def after(self, position, output):
        tensor = output if isinstance(output, Tensor) else output[0]
        if position == self.doubled:
            tensor.mul_(2)
        self.outputs[position] = tensor.clone()


def test_the_observer_gets_every_operation_with_its_values() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3)).eval()
    image = torch.randn(1, 1, 4, 4)
    seen = Collector()
    record = Passes(model).run(image, seen)
    assert [op.name for op in record.ops] == [op.name for op in trace(model, (1, 1, 4, 4)).ops]
    assert sorted(seen.outputs) == list(range(len(record.ops)))
    with torch.no_grad():
        torch.testing.assert_close(seen.outputs[0], model[0](image))
        torch.testing.assert_close(seen.outputs[len(record.ops) - 1], model(image))
    relu = next(position for position, op in enumerate(record.ops) if op.name.startswith("relu"))
    torch.testing.assert_close(seen.arguments[relu][0], seen.outputs[0])  # as it was before the change in place
    assert (seen.outputs[relu] >= 0).all()


def test_what_the_observer_writes_is_what_the_network_goes_on_with() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    image = torch.randn(1, 4)
    passes, seen = Passes(model), Collector()
    names = [op.name for op in passes.run(image, seen).ops]
    seen = Collector(doubled=names.index("addmm"))
    passes.run(image, seen)
    with torch.no_grad():
        torch.testing.assert_close(seen.outputs[len(names) - 1], model[1](2 * model[0](image)))


def test_a_network_that_writes_into_its_image_leaves_the_image_alone() -> None:
    image = torch.randn(1, 1, 4, 4)
    before = image.clone()
    Passes(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 2))).run(image, Observer())
    assert torch.equal(image, before)


def test_the_observer_sees_what_is_written_into_before_it_is() -> None:
    written = []

    class Watcher(Observer):
        def writing(self, tensor: Tensor) -> None:
            written.append(tensor.clone())

    model, image = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).eval(), torch.randn(1, 4)
    Passes(model).run(image, Watcher())
    with torch.no_grad():
        torch.testing.assert_close(written, [model[0](image)])


def test_the_network_stays_as_it_is() -> None:
    model = create_model("resnet20", image_size=28).train()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    passes = Passes(model)
    passes.run(torch.randn(1, 3, 28, 28), Collector(doubled=3))
    assert model.training
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in passes.model.modules())


def test_an_image_that_does_not_fit_is_named() -> None:
    with pytest.raises(ModelError, match=r"LeNet5 cannot run on an image of shape \(1, 3, 5, 5\)"):
        Passes(create_model("lenet5", image_size=28)).run(torch.zeros(1, 3, 5, 5), Observer())


def test_a_pass_with_values_does_not_load_the_compiler() -> None:
    code = (
        "import sys, torch; from cnnlab.zoo import create_model; from cnnlab.tracing import Observer, Passes; "
        "Passes(create_model('lenet5', image_size=28)).run(torch.zeros(1, 1, 28, 28), Observer()); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # from the import of torch._dynamo
def test_a_compiled_network_is_recorded_as_it_was_written() -> None:
    model = create_model("lenet5", image_size=28)
    compiled = summarise(torch.compile(model), (1, 1, 28, 28))
    assert compiled.parameters == summarise(model, (1, 1, 28, 28)).parameters
    assert [op.name for op in compiled.trace.ops] == [op.name for op in trace(model, (1, 1, 28, 28)).ops]
