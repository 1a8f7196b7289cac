"""``cs231n.classifiers.neural_net``: the two-layer net of assignment 1, question 4.

Its penalty is ``reg * sum(W**2)``, without the half that the nets of assignment 2 have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.scratch import nets

__all__ = ["TwoLayerNet"]


class TwoLayerNet:
    """affine - ReLU - affine - softmax, which trains itself.

    Args:
        input_size: number of values of an example.
        hidden_size: number of hidden units.
        output_size: number of classes.
        std: standard deviation of the initial weights, drawn from NumPy's global stream.

    Attributes:
        params: W1 (D, H), b1 (H,), W2 (H, C), b2 (C,).
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int, std: float = 1e-4) -> None:
        self._net = nets.TwoLayerNet(input_size, hidden_size, output_size, weight_scale=std, dtype=np.float64)
        self.params = self._net.params

    def loss(self, X: Array, y: Array | None = None, reg: float = 0.0) -> Any:
        """Return scores (N, C) without ``y``; with labels ``y`` (N,) the loss and the gradients by name.

        Args:
            X: examples (N, D).
            y: labels.
            reg: strength of the penalty ``reg * sum(W**2)``.
        """
        self._net.params, self._net.reg = self.params, 2 * float(reg)
        return self._net.loss(X, y)

    def train(
        self,
        X: Array,
        y: Array,
        X_val: Array,
        y_val: Array,
        learning_rate: float = 1e-3,
        learning_rate_decay: float = 0.95,
        reg: float = 5e-6,
        num_iters: int = 100,
        batch_size: int = 200,
        verbose: bool = False,
    ) -> dict[str, list[float]]:
        """Train by stochastic gradient descent; the signature is the course's.

        A training that diverges goes on with losses that are not finite, as a search for a learning rate expects.

        Args:
            X, y: training examples (N, D) and labels (N,).
            X_val, y_val: validation examples and labels.
            learning_rate: length of a step.
            learning_rate_decay: factor of the learning rate after each epoch.
            reg: strength of the penalty ``reg * sum(W**2)``.
            num_iters: number of iterations.
            batch_size: number of examples in a minibatch, drawn with replacement from NumPy's global stream.
            verbose: whether the loss of every 100th iteration is printed.

        Returns:
            ``loss_history`` with a loss for every iteration; ``train_acc_history`` and ``val_acc_history`` with the
            accuracies of a minibatch and of the validation examples, one for every epoch.
        """
        iterations_per_epoch = max(len(X) // batch_size, 1)
        history: dict[str, list[float]] = {"loss_history": [], "train_acc_history": [], "val_acc_history": []}
        with np.errstate(over="ignore", invalid="ignore"):
            for iteration in range(num_iters):
                rows = np.random.choice(len(X), batch_size)
                loss, gradients = self.loss(X[rows], y[rows], reg)
                for name, gradient in gradients.items():
                    self.params[name] = self.params[name] - learning_rate * gradient
                history["loss_history"].append(float(loss))
                if verbose and iteration % 100 == 0:
                    print(f"iteration {iteration} / {num_iters}: loss {loss:f}")
                if iteration % iterations_per_epoch == 0:
                    history["train_acc_history"].append(float(np.mean(self.predict(X[rows]) == y[rows])))
                    history["val_acc_history"].append(float(np.mean(self.predict(X_val) == y_val)))
                    learning_rate *= learning_rate_decay
        return history

    def predict(self, X: Array) -> Array:
        """Return the labels (M,) with the highest scores for the examples ``X`` (M, D)."""
        return np.argmax(self.loss(X), axis=1)
