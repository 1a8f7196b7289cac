"""The training loop: draw a minibatch, update the parameters, measure accuracies, keep the best parameters."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cnnlab.errors import CheckpointError, DataError, DivergedError, ShapeError, UnknownNameError, UsageError
from cnnlab.scratch._checks import Array
from cnnlab.scratch.optim import Config, Rule, update_rules
from cnnlab.scratch.saving import Net, net_state, read_arrays, set_net_state, write_arrays
from cnnlab.scratch.solver_display import RunLength, SolverStep, show

FORMAT = 1  # of checkpoints; raised when an older cnnlab could not read a newer file

_HISTORIES = ("loss_history", "train_acc_history", "val_acc_history")


class Solver:
    """Trains a net: ``Solver(net, data, update_rule="adam", optim_config={"learning_rate": 1e-3}).train()``.

    The net has ``params``, a dictionary of arrays, and ``loss(X, y)``, which gives the loss and a dictionary of
    gradients with the same names; ``loss(X)`` gives scores (N, C). Arrays that belong to it but have no gradient, such
    as running means, are in ``buffers`` (see :mod:`cnnlab.scratch.saving`). The interface is that of the Solver in
    CS231n's assignments.

    Minibatches are drawn with replacement from the global NumPy stream: the same ``np.random.seed`` gives the same
    history. After the first iteration and after every epoch the accuracy is measured on training and validation images.
    When :meth:`train` ends, also by Ctrl-C or an error, the net has the parameters that were best on validation.

    Args:
        model: net to train; the arrays in its ``params`` are replaced as it learns.
        data: dictionary with training images ``X_train`` (N, ...) and labels ``y_train`` (N, ...); to measure on
            held-out images ``X_val`` and ``y_val`` too.
        update_rule: name in :data:`cnnlab.scratch.optim.update_rules`, or a function of the same kind.
        optim_config: settings of the rule; every parameter gets its own copy. The weight decay of adamw spares
            parameters with one axis: biases, gamma and beta.
        lr_decay: factor by which the learning rate is multiplied after each epoch.
        batch_size: number of images in a minibatch.
        num_epochs: number of epochs; in each, as many images are drawn as there are.
        print_every: number of iterations from one printed loss to the next with ``verbose="lines"``.
        verbose: ``True`` for a bar on a terminal and in a notebook that can draw it, a line per epoch elsewhere;
            ``"lines"`` for the lines that the course prints; ``False`` for silence.
        num_train_samples: number of training images to measure the accuracy on, drawn anew each time; ``None`` for
            all, 0 not to measure it.
        num_val_samples: number of validation images to measure the accuracy on, likewise.
        checkpoint_name: beginning of the path ``<checkpoint_name>_epoch_<epoch>.npz`` that is written after each epoch
            for :meth:`restore`; ``None`` writes nothing.

    Raises:
        UnknownNameError: an argument, the update rule or a key of ``optim_config`` does not exist.
        UsageError: a value is out of range.
        DataError: ``data`` lacks an array, or arrays differ in length.

    Attributes:
        loss_history: loss of every iteration.
        train_acc_history, val_acc_history: accuracies after the first iteration and each epoch, 0..1; empty when not
            measured.
        best_val_acc: largest of ``val_acc_history``; NaN before the first.
        best_state: parameters and buffers at ``best_val_acc``; ``None`` before the first.
        last_state: parameters and buffers after the last step, while the net has the best ones; else ``None``.
        iteration: number of iterations done.
        optim_configs: settings and state of the update rule for each parameter.
    """

    def __init__(
        self,
        model: Net,
        data: Mapping[str, Array],
        *,
        update_rule: str | Rule = "sgd",
        optim_config: Config | None = None,
        lr_decay: float = 1.0,
        batch_size: int = 100,
        num_epochs: int = 10,
        print_every: int = 10,
        verbose: bool | Literal["lines"] = True,
        num_train_samples: int | None = 1000,
        num_val_samples: int | None = None,
        checkpoint_name: str | Path | None = None,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            arguments = inspect.signature(Solver).parameters.values()
            raise UnknownNameError("argument of Solver", name, [p.name for p in arguments if p.kind is p.KEYWORD_ONLY])
        _expect_at_least(1, "", batch_size=batch_size, num_epochs=num_epochs, print_every=print_every)
        counts = {"num_train_samples": num_train_samples, "num_val_samples": num_val_samples}
        _expect_at_least(0, ", or None for all images", **counts)
        if verbose not in (True, False, "lines"):
            raise UsageError(f'verbose must be True, False or "lines", got {verbose!r}.')
        self.model = model
        self.X_train, self.y_train = _pair(data, "train")
        self.X_val: Array | None = None
        self.y_val: Array | None = None
        if any(len(data[name]) for name in ("X_val", "y_val") if name in data):
            self.X_val, self.y_val = _pair(data, "val")
        if self.y_train.ndim != 1 and (num_train_samples != 0 or self.X_val is not None):
            raise UsageError(
                f"Accuracy is measured against one label per image, but y_train is of shape {self.y_train.shape}. "
                "Set num_train_samples=0 and leave X_val and y_val out."
            )
        self.batch_size, self.num_epochs, self.lr_decay = batch_size, num_epochs, lr_decay
        self.num_train_samples, self.num_val_samples = num_train_samples, num_val_samples
        self.verbose, self.print_every, self.checkpoint_name = verbose, print_every, checkpoint_name
        if not callable(update_rule) and update_rule not in update_rules:
            raise UnknownNameError("update rule", update_rule, update_rules)
        self.update_rule = update_rule if callable(update_rule) else update_rules[update_rule]
        self.optim_configs = {
            name: _own_config(self.update_rule, optim_config, w) for name, w in self.model.params.items()
        }
        self.iteration = 0
        self.loss_history: list[float] = []
        self.train_acc_history: list[float] = []
        self.val_acc_history: list[float] = []
        self.best_val_acc = math.nan
        self.best_state: dict[str, Array] | None = None
        self.last_state: dict[str, Array] | None = None

    @property
    def best_params(self) -> dict[str, Array]:
        """The parameters of ``best_state``, without buffers; empty before the first."""
        return {name: array for name, array in (self.best_state or {}).items() if name in self.model.params}

    @property
    def iterations_per_epoch(self) -> int:
        """Number of minibatches that together hold as many images as there are."""
        return max(len(self.X_train) // self.batch_size, 1)

    @property
    def num_iterations(self) -> int:
        """Number of iterations of all epochs."""
        return self.num_epochs * self.iterations_per_epoch

    def train(self) -> None:
        """Train to the end of the last epoch, show the progress, and leave the best parameters in the net.

        Called again, it continues after an interruption, and after the end if ``num_epochs`` was raised.

        Raises:
            DivergedError: the loss is NaN or infinite; the message names the iteration.
            UsageError: all epochs are over.
        """
        length = RunLength(self.iteration, self.num_iterations, self.num_epochs, self.batch_size)
        try:
            for _ in show(self.steps(), length, self.verbose, self.print_every):
                pass
        finally:
            if self.best_state is not None and self.last_state is None:
                self.last_state = net_state(self.model)
                set_net_state(self.model, self.best_state)

    def steps(self) -> Iterator[SolverStep]:
        """Train step by step: yield a :class:`SolverStep` after each iteration; between two, the net may be used.

        The net is left with its last parameters; the best are in ``best_state``. Errors are those of :meth:`train`.
        """
        if self.iteration >= self.num_iterations:
            raise UsageError(
                f"All {self.num_epochs} epochs are over. Raise num_epochs to go on, or make a new net and Solver."
            )
        if self.last_state is not None:
            set_net_state(self.model, self.last_state)
            self.last_state = None
        while self.iteration < self.num_iterations:
            loss = self._step()
            epoch, within = divmod(self.iteration, self.iterations_per_epoch)
            epoch_done = within == 0
            if epoch_done:
                for config in self.optim_configs.values():
                    config["learning_rate"] *= self.lr_decay
            accuracies = self._measure() if epoch_done or self.iteration == 1 else ()
            if epoch_done and self.checkpoint_name is not None:
                self.save(f"{self.checkpoint_name}_epoch_{epoch}")
            losses = self.loss_history[-self.iterations_per_epoch :]
            epoch_loss = sum(losses) / len(losses) if epoch_done else math.nan
            yield SolverStep(self.iteration, epoch, loss, epoch_done, epoch_loss, *accuracies)

    def _step(self) -> float:
        rows = np.random.choice(len(self.X_train), self.batch_size)
        X, y = self.X_train[rows], self.y_train[rows]
        # Overflow shows in the loss, which is looked at; a heap of warnings would say less.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss, gradients = self.model.loss(X, y)
            if not math.isfinite(loss):
                raise self._diverged(float(loss), X)
            if missing := self.model.params.keys() - gradients.keys():
                raise ShapeError(f'loss(X, y) returned no gradient of "{min(missing)}", which is one of params.')
            for name, w in self.model.params.items():
                config = self.optim_configs[name]
                self.model.params[name], self.optim_configs[name] = self.update_rule(w, gradients[name], config)
        self.iteration += 1
        self.loss_history.append(float(loss))
        return self.loss_history[-1]

    def _measure(self) -> tuple[float, float]:
        train_acc = val_acc = math.nan
        if self.num_train_samples != 0:
            train_acc = self.check_accuracy(self.X_train, self.y_train, self.num_train_samples)
            self.train_acc_history.append(train_acc)
        if self.X_val is not None and self.y_val is not None and self.num_val_samples != 0:
            val_acc = self.check_accuracy(self.X_val, self.y_val, self.num_val_samples)
            self.val_acc_history.append(val_acc)
            if math.isnan(self.best_val_acc) or val_acc > self.best_val_acc:
                self.best_val_acc, self.best_state = val_acc, net_state(self.model)
        return train_acc, val_acc

    def check_accuracy(self, X: Array, y: Array, num_samples: int | None = None, batch_size: int = 100) -> float:
        """Return the accuracy of the net, 0..1.

        Args:
            X: images (N, ...).
            y: labels (N,).
            num_samples: number of images to measure on, drawn with replacement if there are more; ``None`` for all.
            batch_size: number of images that go through the net at a time.
        """
        if num_samples is not None and num_samples < len(X):
            rows = np.random.choice(len(X), num_samples)
            X, y = X[rows], y[rows]
        starts = range(0, len(X), batch_size)
        predicted = [np.argmax(self.model.loss(X[start : start + batch_size]), axis=1) for start in starts]
        return float(np.mean(np.concatenate(predicted) == y))

    def state_dict(self) -> dict[str, Array]:
        """Return everything that is needed to continue the training with the same bits, as arrays by name.

        ``model/...`` are parameters and buffers, ``best/...`` those that were best on validation,
        ``optim/<parameter>/...`` settings and state of the update rule, ``*_history`` the histories, ``random`` the key
        of the global NumPy stream, and ``facts`` the rest as JSON.
        """
        random: dict[str, Any] = dict(np.random.get_state(legacy=False))
        stream = random.pop("state")
        facts = {
            "format": FORMAT,
            "iteration": self.iteration,
            "best_val_acc": self.best_val_acc,
            "random": random | {"pos": stream["pos"]},
            "made with": self._made_with(),
        }
        state = {"facts": np.array(json.dumps(facts)), "random": stream["key"]}
        state |= {name: np.array(getattr(self, name), dtype=float) for name in _HISTORIES}
        state |= _prefixed("model", self.last_state or net_state(self.model))
        state |= _prefixed("best", self.best_state or {})
        for name, config in self.optim_configs.items():
            state |= _prefixed(f"optim/{name}", config)
        return state

    def load_state_dict(self, state: Mapping[str, Array], source: str = "The state") -> None:
        """Set the Solver, its net and the global NumPy stream to a state that :meth:`state_dict` returned.

        Args:
            state: arrays by name.
            source: name of the file that they come from, for messages.

        Raises:
            CheckpointError: the state is of another net, rule, batch size or number of images, or of a newer version.
        """
        if "facts" not in state:
            raise CheckpointError(f"{source} is no checkpoint of a Solver. A net alone is read by load_net.")
        facts = json.loads(str(state["facts"]))
        if facts["format"] > FORMAT:
            raise CheckpointError(
                f"{source} has format {facts['format']}, this cnnlab reads up to {FORMAT}. Upgrade cnnlab."
            )
        for name, value in self._made_with().items():
            if facts["made with"][name] != value:
                raise CheckpointError(
                    f"{source} was made with {name} {facts['made with'][name]}, this Solver has {value}. "
                    "Make it with the same arguments as before."
                )
        set_net_state(self.model, _without_prefix("model", state))
        self.best_state, self.last_state = _without_prefix("best", state) or None, None
        for name in self.model.params:
            config = _without_prefix(f"optim/{name}", state)
            self.optim_configs[name] = {key: value if value.ndim else value.item() for key, value in config.items()}
        for name in _HISTORIES:
            setattr(self, name, state[name].tolist())
        self.iteration, self.best_val_acc = facts["iteration"], facts["best_val_acc"]
        random = facts["random"]
        np.random.set_state({**random, "state": {"key": state["random"], "pos": random.pop("pos")}})

    def _made_with(self) -> dict[str, Any]:
        return {
            "update rule": getattr(self.update_rule, "__name__", "without a name"),
            "batch size": self.batch_size,
            "number of training images": len(self.X_train),
        }

    def save(self, path: str | Path) -> Path:
        """Write the :meth:`state_dict` into an ``.npz`` file without pickle; return its path.

        Raises:
            RunError: the file cannot be written; a file that was there before is untouched.
        """
        return write_arrays(path, self.state_dict())

    def restore(self, path: str | Path) -> None:
        """Set net, update rule, histories and the global NumPy stream to those of a checkpoint.

        Make net and Solver with the same arguments as before (``num_epochs`` may be larger), restore, then
        :meth:`train`. The learning rate is the one in the file.

        Raises:
            CheckpointError: the file is missing, damaged, or of another net, rule, batch size or number of images.
        """
        self.load_state_dict(read_arrays(path), source=str(path))

    def _diverged(self, loss: float, X: Array) -> DivergedError:
        fact = f"The loss is {loss} at iteration {self.iteration + 1} of {self.num_iterations}."
        if not np.isfinite(X).all():
            return DivergedError(f"{fact} The minibatch holds values that are not finite: see np.isfinite(X_train).")
        if self.iteration == 0:
            return DivergedError(f"{fact} No step was taken yet: look at the net's weights and the range of X_train.")
        rate = next(iter(self.optim_configs.values()))["learning_rate"]
        return DivergedError(f"{fact} The learning rate {rate:g} is probably too high: try {rate / 10:g}.")


def _prefixed(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Array]:
    return {f"{prefix}/{name}": np.asarray(array) for name, array in arrays.items()}


def _without_prefix(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays whose names begin with the prefix, under the rest of their names."""
    return {name.removeprefix(f"{prefix}/"): array for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def _expect_at_least(least: int, otherwise: str, **numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}{otherwise}, got {value}.")


def _pair(data: Mapping[str, Array], split: str) -> tuple[Array, Array]:
    names = f"X_{split}", f"y_{split}"
    for name in names:
        if name not in data:
            raise DataError(f'data lacks "{name}"; it has {", ".join(sorted(data)) or "nothing"}.')
    X, y = (np.asarray(data[name]) for name in names)
    if len(X) != len(y) or not len(X):
        raise DataError(
            f"{names[0]} and {names[1]} must be of one length, at least 1; their shapes are {X.shape} and {y.shape}."
        )
    return X, y


def _own_config(rule: Rule, config: Config | None, w: Array) -> Config:
    """Return a copy of ``config`` for one parameter, after one call of the rule, which refuses unknown keys."""
    own = dict(config or {})
    _, completed = rule(w, np.zeros_like(w), dict(own))
    if "learning_rate" not in completed:
        raise UsageError(
            'An update rule must keep its learning rate in config["learning_rate"], even if given no config.'
        )
    if w.ndim == 1 and "weight_decay" in completed:
        own["weight_decay"] = 0.0
    return own
