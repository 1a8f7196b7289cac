"""A net in a file: what comes back, and which files are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnlab.errors import CheckpointError, RunError
from cnnlab.scratch import saving
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.nets.two_layer import TwoLayerNet
from cnnlab.scratch.saving import load_net, net_state, read_arrays, save_net, set_net_state, write_arrays


def make(**options: Any) -> FullyConnectedNet:
    return FullyConnectedNet([5], input_dim=4, num_classes=3, normalization="batchnorm", **options)


def trained(**options: Any) -> FullyConnectedNet:
    """A net whose running statistics are no longer zero."""
    net = make(**options)
    net.loss(np.random.default_rng(0).normal(size=(6, 4)), np.zeros(6, int))
    return net


X = np.random.default_rng(1).normal(size=(7, 4))


def test_a_net_comes_back_with_its_running_statistics(tmp_path: Path) -> None:
    net, other = trained(), make()
    path = save_net(net, tmp_path / "new" / "net")
    assert path == tmp_path / "new" / "net.npz"
    assert not np.array_equal(other.loss(X), net.loss(X))
    load_net(other, tmp_path / "new" / "net.npz")
    np.testing.assert_array_equal(other.loss(X), net.loss(X))
    assert other.buffers["running_mean1"].any()
    assert os.listdir(path.parent) == ["net.npz"]


def test_params_saved_by_hand_can_be_loaded(tmp_path: Path) -> None:
    net, other = TwoLayerNet(4, 5, 3), TwoLayerNet(4, 5, 3)
    np.savez(tmp_path / "net.npz", **net.params)
    load_net(other, tmp_path / "net")
    np.testing.assert_array_equal(other.loss(X), net.loss(X))


def test_the_net_keeps_its_type(tmp_path: Path) -> None:
    net = make(dtype=np.float32)
    load_net(net, save_net(trained(dtype=np.float64), tmp_path / "net"))
    assert {array.dtype for array in net_state(net).values()} == {np.dtype(np.float32)}


def test_a_state_is_a_copy() -> None:
    net = trained()
    state = net_state(net)
    before = {name: array.copy() for name, array in state.items()}
    set_net_state(net, state)
    for array in (*net.params.values(), *net.buffers.values()):
        array += 1
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])


def test_another_nets_state_is_refused() -> None:
    net = make()
    state = net_state(net)
    with pytest.raises(CheckpointError, match='lacks "running_var1"'):
        set_net_state(net, {name: array for name, array in state.items() if name != "running_var1"})
    with pytest.raises(CheckpointError, match='holds "W9"'):
        set_net_state(net, state | {"W9": np.zeros(2)})
    with pytest.raises(CheckpointError, match=r'"W1" is of shape \(4, 6\), this net\'s of \(4, 5\)'):
        set_net_state(net, state | {"W1": np.zeros((4, 6))})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = save_net(make(), tmp_path / "net")
    with pytest.raises(CheckpointError, match=r"There is no .*nett\.npz\. Beside it: net\.npz"):
        read_arrays(tmp_path / "nett")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        read_arrays(path)
    path.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=r"no \.npz file"):
        read_arrays(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(path)
    with pytest.raises(CheckpointError, match=r"no \.npz file"):
        read_arrays(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", W1=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="allow_pickle"):
        read_arrays(tmp_path / "net")
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_arrays(tmp_path / "other", {"W1": np.array([{}], dtype=object)})


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_arrays(tmp_path / "net", {"a": np.arange(3)})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.np, "savez", full)
    with pytest.raises(RunError, match=r"net\.npz: No space left.*intact"):
        write_arrays(path, {"a": np.arange(5)})
    monkeypatch.undo()
    np.testing.assert_array_equal(read_arrays(path)["a"], np.arange(3))
    assert os.listdir(tmp_path) == ["net.npz"]
