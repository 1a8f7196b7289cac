"""The Solver: histories that repeat, the best parameters with their statistics, checkpoints, and what it says."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.datasets import load_digits

from cnnlab.errors import CheckpointError, DataError, DivergedError, ShapeError, UnknownNameError, UsageError
from cnnlab.scratch import solver_display
from cnnlab.scratch.nets.captioning import CaptioningRNN
from cnnlab.scratch.nets.convnet import ThreeLayerConvNet
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.nets.two_layer import TwoLayerNet
from cnnlab.scratch.optim import sgd, update_rules
from cnnlab.scratch.saving import net_state
from cnnlab.scratch.solver import Solver
from cnnlab.scratch.solver_display import SolverStep


def digits(train: int = 300, val: int = 100) -> dict[str, Any]:
    images, labels = load_digits(return_X_y=True)
    X, y = (images - 8).astype(np.float32), labels.astype(np.int64)
    return {
        "X_train": X[:train],
        "y_train": y[:train],
        "X_val": X[train : train + val],
        "y_val": y[train : train + val],
    }


DATA = digits()


def make_net(**options: Any) -> FullyConnectedNet:
    options = {"weight_scale": 0.1, "normalization": "batchnorm", "keep_prob": 0.8} | options
    return FullyConnectedNet([20], input_dim=64, **options)


def make_solver(net: Any = None, data: Any = None, **options: Any) -> Solver:
    options = {"update_rule": "adam", "batch_size": 50, "num_epochs": 4, "verbose": False} | options
    return Solver(make_net() if net is None else net, DATA if data is None else data, **options)


def everything(solver: Solver) -> dict[str, Any]:
    """All that two equal trainings have in common, bit for bit."""
    memory = {f"{n}/{key}": value for n, config in solver.optim_configs.items() for key, value in config.items()}
    histories = {name: getattr(solver, name) for name in ("loss_history", "train_acc_history", "val_acc_history")}
    return {**net_state(solver.model), **memory, **histories, "best": solver.best_val_acc, "next": np.random.rand()}


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


class TestTraining:
    @pytest.mark.parametrize("rule", list(update_rules))
    def test_same_seed_same_history(self, rule: str) -> None:
        results = []
        for seed in (1, 1, 2):
            np.random.seed(seed)
            solver = make_solver(update_rule=rule, lr_decay=0.9)
            solver.train()
            results.append(everything(solver))
        assert_same(results[0], results[1])
        assert results[0]["loss_history"] != results[2]["loss_history"]

    def test_equals_a_loop_by_hand(self) -> None:
        """Two epochs of sgd, with minibatches and samples drawn in the order that the documentation says."""
        np.random.seed(0)
        net = TwoLayerNet(64, 10, weight_scale=0.1)
        solver = make_solver(
            net,
            update_rule="sgd",
            optim_config={"learning_rate": 0.01},
            lr_decay=0.5,
            num_epochs=2,
            num_train_samples=80,
        )
        solver.train()
        np.random.seed(0)
        by_hand, rate, losses, accuracies = TwoLayerNet(64, 10, weight_scale=0.1), 0.01, [], []
        for iteration in range(1, 13):
            rows = np.random.choice(300, 50)
            loss, grads = by_hand.loss(DATA["X_train"][rows], DATA["y_train"][rows])
            losses.append(loss)
            for name in by_hand.params:
                by_hand.params[name] = by_hand.params[name] - rate * grads[name]
            if iteration % 6 == 0:
                rate *= 0.5
            if iteration in (1, 6, 12):
                rows = np.random.choice(300, 80)
                right = by_hand.loss(DATA["X_train"][rows]).argmax(1) == DATA["y_train"][rows]
                accuracies.append(right.mean())
        assert solver.loss_history == losses
        assert solver.train_acc_history == accuracies
        assert len(solver.val_acc_history) == 3
        assert solver.last_state is not None
        for name, w in by_hand.params.items():
            np.testing.assert_array_equal(w, solver.last_state[name])

    def test_a_small_set_of_images_is_learned_by_heart(self) -> None:
        np.random.seed(0)
        solver = make_solver(
            make_net(keep_prob=1.0), digits(50), num_epochs=30, batch_size=25, optim_config={"learning_rate": 1e-2}
        )
        solver.train()
        assert solver.train_acc_history[-1] == 1.0
        assert solver.loss_history[-1] < 0.1 * solver.loss_history[0]

    def test_a_convnet_learns_by_heart(self) -> None:
        np.random.seed(0)
        data = {name: array.reshape(-1, 1, 8, 8) if name[0] == "X" else array for name, array in digits(50, 20).items()}
        net = ThreeLayerConvNet((1, 8, 8), 8, filter_size=3, hidden_dim=30, weight_scale=0.05)
        solver = make_solver(net, data, num_epochs=40, batch_size=25, optim_config={"learning_rate": 5e-3})
        solver.train()
        assert solver.train_acc_history[-1] == 1.0

    def test_the_rate_falls_after_each_epoch(self) -> None:
        solver = make_solver(lr_decay=0.5, optim_config={"learning_rate": 0.08})
        rates = [next(iter(solver.optim_configs.values()))["learning_rate"] for _ in solver.steps()]
        assert rates == pytest.approx([0.08] * 5 + [0.04] * 6 + [0.02] * 6 + [0.01] * 6 + [0.005])

    def test_every_parameter_has_its_own_config(self) -> None:
        given = {"learning_rate": 0.1}
        solver = make_solver(update_rule="sgd_momentum", optim_config=given, num_epochs=1)
        solver.train()
        assert given == {"learning_rate": 0.1}
        configs = list(solver.optim_configs.values())
        assert len({id(config) for config in configs}) == len(solver.model.params) == len(configs)
        for name, config in solver.optim_configs.items():
            assert config["velocity"].shape == solver.model.params[name].shape

    def test_weight_decay_spares_what_has_one_axis(self) -> None:
        solver = make_solver(update_rule="adamw", optim_config={"weight_decay": 0.3}, num_epochs=1)
        solver.train()
        decay = {name: config["weight_decay"] for name, config in solver.optim_configs.items()}
        assert decay == {"W1": 0.3, "b1": 0, "gamma1": 0, "beta1": 0, "W2": 0.3, "b2": 0}

    def test_a_rule_of_ones_own(self) -> None:
        def half_sgd(w: Any, dw: Any, config: Any = None) -> Any:
            next_w, config = sgd(w, dw, config)
            return (w + next_w) / 2, config

        results = []
        for rule, rate in ((half_sgd, 0.2), (sgd, 0.1)):
            np.random.seed(0)
            solver = make_solver(
                make_net(dtype=np.float64), update_rule=rule, optim_config={"learning_rate": rate}, num_epochs=1
            )
            solver.train()
            results.append(solver.loss_history)
        assert results[0] == pytest.approx(results[1])

    def test_float32_stays(self) -> None:
        solver = make_solver(optim_config={"learning_rate": np.float64(1e-3)}, lr_decay=np.float64(0.9), num_epochs=1)
        solver.train()
        assert {array.dtype for array in net_state(solver.model).values()} == {np.dtype(np.float32)}

    def test_the_data_are_not_modified(self) -> None:
        before = {name: array.copy() for name, array in DATA.items()}
        make_solver().train()
        for name, array in DATA.items():
            np.testing.assert_array_equal(array, before[name])

    def test_captions_are_trained_without_accuracies(self) -> None:
        np.random.seed(0)
        words = {"<NULL>": 0, "<START>": 1, "<END>": 2, "cat": 3, "dog": 4}
        net = CaptioningRNN(words, input_dim=6, wordvec_dim=5, hidden_dim=8)
        features, captions = np.random.randn(20, 6), np.random.randint(3, 5, (20, 4))
        solver = make_solver(
            net, {"X_train": features, "y_train": captions}, num_train_samples=0, batch_size=20, num_epochs=60,
            optim_config={"learning_rate": 0.05},
        )  # fmt: skip
        solver.train()
        assert solver.loss_history[-1] < 0.5 * solver.loss_history[0]
        assert solver.train_acc_history == solver.val_acc_history == []
        assert math.isnan(solver.best_val_acc)
        assert solver.best_state is None


class Switching:
    """A net of one number that is right on validation (label 1) only from iteration 3 to 4, by its parameter alone."""

    def __init__(self) -> None:
        self.params = {"W1": np.zeros(1)}
        self.buffers = {"calls": np.zeros(1)}

    def loss(self, X: Any, y: Any = None) -> Any:
        if y is None:
            right = 3 <= self.params["W1"][0] <= 4
            return np.tile([not right, right], (len(X), 1))
        self.buffers["calls"] = self.buffers["calls"] + 1
        return 1.0, {"W1": -np.ones(1)}


class TestTheBest:
    def make(self, **options: Any) -> Solver:
        data = {
            "X_train": np.zeros((2, 1)),
            "y_train": np.ones(2, int),
            "X_val": np.zeros((2, 1)),
            "y_val": np.ones(2, int),
        }
        return Solver(
            Switching(), data, batch_size=2, num_epochs=7, verbose=False, optim_config={"learning_rate": 1.0}, **options
        )

    def test_is_in_the_net_at_the_end_with_its_buffers(self) -> None:
        solver = self.make()
        solver.train()
        assert solver.val_acc_history == [0, 0, 1, 1, 0, 0, 0]
        assert solver.best_val_acc == 1
        assert solver.model.params["W1"] == 3  # the first of equally good ones
        assert solver.model.buffers["calls"] == 3  # type: ignore[attr-defined]
        assert solver.last_state is not None
        assert solver.last_state["W1"] == solver.last_state["calls"] == 7

    def test_is_the_last_without_validation(self) -> None:
        solver = self.make()
        solver.X_val = solver.y_val = None
        solver.train()
        assert solver.model.params["W1"] == 7

    def test_even_if_every_accuracy_is_zero(self) -> None:
        solver = self.make()
        solver.num_epochs = 2
        solver.train()
        assert solver.best_val_acc == 0
        assert solver.model.params["W1"] == 1

    def test_a_trained_net_scores_what_it_says(self) -> None:
        """The running statistics are those of the best epoch, not of the last: else this number would differ."""
        np.random.seed(0)
        solver = make_solver(num_epochs=8, optim_config={"learning_rate": 0.05}, batch_size=20)
        solver.train()
        assert solver.best_val_acc == max(solver.val_acc_history) != solver.val_acc_history[-1]
        assert solver.check_accuracy(DATA["X_val"], DATA["y_val"]) == solver.best_val_acc

    def test_with_more_epochs_it_goes_on_from_the_last(self) -> None:
        solver = self.make()
        solver.train()
        with pytest.raises(UsageError, match=r"All 7 epochs are over\. Raise num_epochs"):
            solver.train()
        assert solver.model.params["W1"] == 3
        solver.num_epochs = 9
        solver.train()
        assert solver.last_state is not None
        assert solver.last_state["W1"] == 9
        assert solver.model.params["W1"] == 3


class TestInterruption:
    def test_leaves_histories_and_the_best(self, monkeypatch: pytest.MonkeyPatch) -> None:
        np.random.seed(0)
        whole = make_solver()
        whole.train()
        expected = everything(whole)

        np.random.seed(0)
        solver = make_solver()
        measure = solver._measure

        def interrupted() -> Any:
            if len(solver.loss_history) == 12 and not interrupts:
                interrupts.append(1)
                raise KeyboardInterrupt
            return measure()

        interrupts: list[int] = []
        monkeypatch.setattr(solver, "_measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.train()
        assert len(solver.loss_history) == 12
        assert len(solver.val_acc_history) == 2
        accuracy = solver.check_accuracy(DATA["X_val"], DATA["y_val"])
        assert accuracy == solver.best_val_acc == max(solver.val_acc_history)

        solver.train()
        assert len(solver.loss_history) == len(expected["loss_history"])
        assert solver.loss_history[:12] == expected["loss_history"][:12]

    def test_the_stream_can_be_closed_and_gone_on_with(self) -> None:
        np.random.seed(0)
        whole = make_solver()
        seen = list(whole.steps())
        expected = everything(whole)
        np.random.seed(0)
        solver = make_solver()
        stream = solver.steps()
        steps = [next(stream) for _ in range(9)]
        stream.close()
        steps += list(solver.steps())
        assert [repr(step) for step in steps] == [repr(step) for step in seen]
        assert_same(everything(solver), expected)

    def test_a_step_says_what_was_done(self) -> None:
        np.random.seed(0)
        solver = make_solver(num_epochs=2)
        steps = list(solver.steps())
        assert [step.iteration for step in steps] == list(range(1, 13))
        assert [step.epoch for step in steps] == [0] * 5 + [1] * 6 + [2]
        assert [step.iteration for step in steps if step.epoch_done] == [6, 12]
        assert [step.loss for step in steps] == solver.loss_history
        measured = [step for step in steps if not math.isnan(step.val_acc)]
        assert [step.iteration for step in measured] == [1, 6, 12]
        assert [step.val_acc for step in measured] == solver.val_acc_history
        assert [step.train_acc for step in measured] == solver.train_acc_history
        assert isinstance(steps[0], SolverStep)


class TestCheckpoints:
    @pytest.mark.parametrize("rule", ["sgd_momentum", "rmsprop", "adamw"])
    def test_a_restored_training_ends_in_the_same_bits(self, rule: str, tmp_path: Path) -> None:
        options = {"update_rule": rule, "lr_decay": 0.7, "optim_config": {"learning_rate": 0.02}}
        np.random.seed(0)
        whole = make_solver(**options, checkpoint_name=tmp_path / "net")
        whole.train()
        expected = everything(whole)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"net_epoch_{epoch}.npz" for epoch in range(1, 5)]

        np.random.seed(99)
        resumed = make_solver(**options | {"optim_config": None})
        np.random.randn()  # leaves half a pair of normal numbers in the stream
        resumed.restore(tmp_path / "net_epoch_2.npz")
        assert resumed.iteration == 12
        resumed.train()
        assert_same(everything(resumed), expected)
        assert resumed.best_state is not None
        assert whole.best_state is not None
        assert_same(resumed.best_state, whole.best_state)

    def test_within_an_epoch_too(self, tmp_path: Path) -> None:
        np.random.seed(0)
        whole = make_solver()
        for step in whole.steps():
            if step.iteration == 8:
                path = whole.save(tmp_path / "middle")
        expected = everything(whole)
        resumed = make_solver()
        resumed.restore(path)
        list(resumed.steps())
        assert_same(everything(resumed), expected)

    def test_half_a_pair_of_normal_numbers_comes_back(self, tmp_path: Path) -> None:
        np.random.seed(0)
        np.random.randn()
        solver = make_solver()
        path = solver.save(tmp_path / "start")
        expected = np.random.randn(3)
        solver.restore(path)
        np.testing.assert_array_equal(np.random.randn(3), expected)

    def test_of_a_finished_training_goes_on_from_the_last_parameters(self, tmp_path: Path) -> None:
        options = {"batch_size": 20, "optim_config": {"learning_rate": 0.05}}
        np.random.seed(0)
        whole = make_solver(num_epochs=6, **options)
        whole.train()
        expected = everything(whole)
        np.random.seed(0)
        short = make_solver(num_epochs=5, **options)
        short.train()
        assert short.best_val_acc > short.val_acc_history[-1]
        path = short.save(tmp_path / "end")
        longer = make_solver(num_epochs=6, **options)
        longer.restore(path)
        longer.train()
        assert_same(everything(longer), expected)

    def test_holds_no_pickle(self, tmp_path: Path) -> None:
        solver = make_solver(num_epochs=1, checkpoint_name=tmp_path / "net")
        solver.train()
        with np.load(tmp_path / "net_epoch_1.npz", allow_pickle=False) as file:
            assert {file[name].dtype.kind for name in file.files} <= set("fiuU")
            assert {"model/W1", "best/running_mean1", "optim/gamma1/m", "loss_history", "facts"} <= set(file.files)

    def test_another_training_is_refused(self, tmp_path: Path) -> None:
        path = make_solver().save(tmp_path / "net")
        for options, message in (
            ({"update_rule": "sgd"}, "update rule adam, this Solver has sgd"),
            ({"batch_size": 20}, "batch size 50, this Solver has 20"),
            ({"data": digits(200)}, "number of training images 300, this Solver has 200"),
            ({"net": TwoLayerNet(64)}, '"W1".*another net|"beta1"'),
        ):
            with pytest.raises(CheckpointError, match=message):
                make_solver(**options).restore(path)

    def test_a_net_alone_is_no_checkpoint(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "net.npz", **make_net().params)
        with pytest.raises(CheckpointError, match=r"no checkpoint of a Solver.*load_net"):
            make_solver().restore(tmp_path / "net.npz")

    def test_a_newer_format_is_refused(self, tmp_path: Path) -> None:
        path = make_solver().save(tmp_path / "net")
        arrays = dict(np.load(path))
        arrays["facts"] = np.array(str(arrays["facts"]).replace('"format": 1', '"format": 2'))
        np.savez(path, **arrays)
        with pytest.raises(CheckpointError, match=r"has format 2.*up to 1\. Upgrade"):
            make_solver().restore(path)


class TestDivergence:
    def test_names_the_iteration_and_a_lower_rate(self) -> None:
        np.random.seed(0)
        net = make_net(normalization=None, keep_prob=1.0)
        solver = make_solver(net, update_rule="sgd", optim_config={"learning_rate": 1e6})
        with pytest.raises(DivergedError) as caught:
            solver.train()
        match = re.search(
            r"The loss is (nan|inf) at iteration (\d+) of 24\. .*rate 1e\+06 .* try 100000", str(caught.value)
        )
        assert match, str(caught.value)
        assert int(match[2]) == len(solver.loss_history) + 1
        assert np.isfinite(solver.loss_history).all()

    def test_names_images_that_are_no_numbers(self) -> None:
        data = DATA | {"X_train": np.full_like(DATA["X_train"], np.nan)}
        with pytest.raises(DivergedError, match=r"nan at iteration 1 of 24.*not finite: see np.isfinite\(X_train\)"):
            make_solver(data=data).train()

    def test_before_the_first_step_the_rate_is_not_to_blame(self) -> None:
        net = make_net(normalization=None, keep_prob=1.0)
        net.params["b2"][0] = np.inf
        with pytest.raises(DivergedError, match=r"at iteration 1 of 24.*No step was taken.*weights"):
            make_solver(net).train()


class TestWhatIsRefused:
    def test_an_unknown_argument(self) -> None:
        with pytest.raises(UnknownNameError, match=r'argument of Solver "batchsize"\. Did you mean "batch_size"'):
            Solver(make_net(), DATA, batchsize=10)
        with pytest.raises(UnknownNameError, match=r'"optim_confg"\. Did you mean "optim_config"'):
            Solver(make_net(), DATA, optim_confg={})

    def test_an_unknown_rule_or_setting(self) -> None:
        with pytest.raises(UnknownNameError, match=r'update rule "adm"\. Did you mean "adam"'):
            make_solver(update_rule="adm")
        with pytest.raises(UnknownNameError, match=r'setting of adam "learning_rte"\. Did you mean "learning_rate"'):
            make_solver(optim_config={"learning_rte": 1})
        with pytest.raises(UsageError, match=r'config\["learning_rate"\]'):
            make_solver(update_rule=lambda w, dw, config=None: (w, {}))

    @pytest.mark.parametrize("name", ["batch_size", "num_epochs", "print_every"])
    def test_numbers_out_of_range(self, name: str) -> None:
        with pytest.raises(UsageError, match=f"{name} must be at least 1, got 0"):
            make_solver(**{name: 0})

    @pytest.mark.parametrize("name", ["num_train_samples", "num_val_samples"])
    def test_numbers_of_samples(self, name: str) -> None:
        with pytest.raises(UsageError, match=f"{name} must be at least 0, or None"):
            make_solver(**{name: -1})
        solver = make_solver(**{name: None}, num_epochs=1)
        solver.train()
        assert len(solver.train_acc_history) == len(solver.val_acc_history) == 2

    def test_verbose(self) -> None:
        with pytest.raises(UsageError, match="verbose must be True, False or \"lines\", got 'loud'"):
            make_solver(verbose="loud")

    def test_data(self) -> None:
        with pytest.raises(DataError, match='data lacks "y_train"; it has X_train'):
            make_solver(data={"X_train": DATA["X_train"]})
        with pytest.raises(DataError, match='data lacks "y_val"'):
            make_solver(data={name: array for name, array in DATA.items() if name != "y_val"})
        with pytest.raises(DataError, match=r"X_val and y_val must be of one length.*\(100, 64\) and \(99,\)"):
            make_solver(data=DATA | {"y_val": DATA["y_val"][:99]})
        with pytest.raises(DataError, match="at least 1"):
            make_solver(data={"X_train": np.zeros((0, 64)), "y_train": np.zeros(0, int)})
        with pytest.raises(UsageError, match=r"one label per image.*\(20, 4\).*num_train_samples=0"):
            make_solver(data={"X_train": np.zeros((20, 3)), "y_train": np.zeros((20, 4), int)})

    def test_an_empty_validation_set_is_none(self) -> None:
        solver = make_solver(data=DATA | {"X_val": DATA["X_val"][:0], "y_val": DATA["y_val"][:0]}, num_epochs=1)
        solver.train()
        assert solver.val_acc_history == []

    def test_a_missing_gradient(self) -> None:
        net = make_net()
        loss = net.loss

        def forgets(X: Any, y: Any = None) -> Any:
            value, grads = loss(X, y)
            del grads["b2"]
            return value, grads

        net.loss = forgets  # type: ignore[method-assign]
        with pytest.raises(ShapeError, match='no gradient of "b2"'):
            make_solver(net).train()


class TestWhatIsShown:
    def test_the_lines_of_the_course(self, capsys: pytest.CaptureFixture[str]) -> None:
        np.random.seed(0)
        solver = make_solver(num_epochs=2, print_every=5, verbose="lines")
        solver.train()
        loss, train, val = solver.loss_history, solver.train_acc_history, solver.val_acc_history
        assert capsys.readouterr().out.splitlines() == [
            f"(Iteration 1 / 12) loss: {loss[0]:.6f}",
            f"(Epoch 0 / 2) train acc: {train[0]:.6f}; val_acc: {val[0]:.6f}",
            f"(Iteration 6 / 12) loss: {loss[5]:.6f}",
            f"(Epoch 1 / 2) train acc: {train[1]:.6f}; val_acc: {val[1]:.6f}",
            f"(Iteration 11 / 12) loss: {loss[10]:.6f}",
            f"(Epoch 2 / 2) train acc: {train[2]:.6f}; val_acc: {val[2]:.6f}",
        ]

    def test_lines_without_accuracies(self, capsys: pytest.CaptureFixture[str]) -> None:
        data = {name: DATA[name] for name in ("X_train", "y_train")}
        make_solver(data=data, num_train_samples=0, num_epochs=1, verbose="lines").train()
        assert [line.split(")")[0] for line in capsys.readouterr().out.splitlines()] == ["(Iteration 1 / 6"]
        make_solver(data=data, num_epochs=1, verbose="lines").train()
        assert re.fullmatch(r"\(Epoch 1 / 1\) train acc: 0\.\d{6}", capsys.readouterr().out.splitlines()[-1])

    def test_silence(self, capfd: pytest.CaptureFixture[str]) -> None:
        make_solver(verbose=False).train()
        assert capfd.readouterr() == ("", "")

    def test_a_line_for_each_epoch_where_there_is_no_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        solver = make_solver(num_epochs=2, verbose=True)
        solver.train()
        lines = capsys.readouterr().out.splitlines()
        loss, train, val = np.mean(solver.loss_history[6:]), solver.train_acc_history[2], solver.val_acc_history[2]
        assert len(lines) == 2
        line = rf"epoch   2  train loss {loss:.4f}  accuracy {train:7.2%}  val accuracy {val:7.2%}  \d+\.\d s"
        assert re.fullmatch(line, lines[1])

    def test_a_bar_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=110, color_system=None)
        monkeypatch.setattr("rich.console.Console", lambda: console)
        solver = make_solver(num_epochs=2, verbose=True)
        solver.train()
        drawn = screen.getvalue()
        assert "epoch   1  train loss" in drawn
        assert "epoch 2/2" in drawn
        assert "100%" in drawn
        assert f"val {solver.val_acc_history[-1]:.2%}" in drawn
        assert "images/s" in drawn

    @pytest.mark.parametrize(("widgets", "bar"), [(True, True), (False, False)])
    def test_a_notebook_that_cannot_draw_gets_lines(
        self, widgets: bool, bar: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        console = Console(file=io.StringIO(), force_jupyter=True)
        monkeypatch.setattr("rich.console.Console", lambda: console)
        monkeypatch.setattr(solver_display.importlib.util, "find_spec", lambda _: object() if widgets else None)
        steps = solver_display.show(iter([]), solver_display.RunLength(0, 10, 2, 20), True, 10)
        assert (steps.__name__ == "_bar") == bar  # type: ignore[attr-defined]
