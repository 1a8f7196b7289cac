"""k nearest neighbours: distances without loops, and the vote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.runs import Array
from cnnlab.scratch.classifiers.k_nearest_neighbor import KNearestNeighbor

_CLASS = "cnnlab.scratch.classifiers.k_nearest_neighbor:KNearestNeighbor"


def _measure(answer: Function, training: Array, X: Array) -> Any:
    return answer(KNearestNeighbor().fit(training, np.zeros(len(training), int)), X)


def _vote(answer: Function, labels: Array, distances: Array, k: int) -> Any:
    return answer(KNearestNeighbor().fit(np.zeros((len(labels), 1)), labels), distances, k)


distance = add(
    Exercise(
        f"{_CLASS}.compute_distances_no_loop",
        title="distances of all pairs, without loops",
        chapter="Nearest neighbours",
        order=0.1,
        outputs=("distances",),
        note="self.X_ holds the training examples (N, D). Write it as a function of self and X.",
        call=_measure,
        arguments=("training", "X"),
        hints=(
            "|a - b|² = |a|² - 2 a·b + |b|², and all products a·b are one matrix product.",
            "np.sum(X**2, axis=1)[:, None] is a column (M, 1); it is broadcast against a row (N,).",
            "Rounding can make a square slightly negative: np.maximum(squares, 0) before the root.",
        ),
    )
)


@distance.cases
def distance_cases(random: np.random.Generator) -> Iterator[Case]:
    for M, N, D in ((2, 4, 3), (5, 3, 2), (1, 2, 6)):
        yield Case(random.normal(size=(N, D)), random.normal(size=(M, D)), about="one image" if M == 1 else "")


@distance.property("The distances equal those computed one by one.")
def one_by_one(answer: Function, case: Case) -> bool:
    training, X = case.arguments
    return is_close(answer(training, X), [[np.linalg.norm(a - b) for b in training] for a in X])


@distance.property("An example is at distance 0 from itself.")
def itself(answer: Function, case: Case) -> bool:
    training = case.arguments[0]
    return bool(np.allclose(np.diagonal(answer(training, training)), 0, atol=1e-5))


def _squares(self: Any, X: Array) -> Array:
    return ((X[:, None] - self.X_) ** 2).sum(axis=2)


@distance.mistake("The root is missing: these are squared distances.")
def root_missing(self: Any, X: Array) -> Any:
    return _squares(self, X)


@distance.mistake("Differences are summed by their absolute values (L1); Euclidean distances sum their squares.")
def absolute(self: Any, X: Array) -> Any:
    return np.abs(X[:, None] - self.X_).sum(axis=2)


@distance.mistake("The distances are (N, M): a row for each image of X, a column for each training example.")
def transposed(self: Any, X: Array) -> Any:
    return np.sqrt(_squares(self, X)).T


@distance.mistake("The product has the wrong sign: |a|² - 2 a·b + |b|².")
def sign(self: Any, X: Array) -> Any:
    return np.sqrt(_squares(self, X) + 4 * X @ self.X_.T)


@distance.mistake("The factor 2 of the product is missing: |a|² - 2 a·b + |b|².")
def factor_missing(self: Any, X: Array) -> Any:
    return np.sqrt(np.maximum(_squares(self, X) + X @ self.X_.T, 0))


@distance.mistake("The squares of the training examples are missing in |a|² - 2 a·b + |b|².")
def squares_missing(self: Any, X: Array) -> Any:
    return np.sqrt(np.maximum(_squares(self, X) - (self.X_**2).sum(axis=1), 0))


@distance.mistake("The mean of the squares is taken; take their sum.")
def mean(self: Any, X: Array) -> Any:
    return np.sqrt(_squares(self, X) / X.shape[1])


vote = add(
    Exercise(
        f"{_CLASS}.predict_labels",
        title="the vote of the k nearest",
        chapter="Nearest neighbours",
        order=0.2,
        outputs=("labels",),
        note=(
            "self.y_ holds the labels of the training examples as positions in self.classes_, the sorted labels. Among "
            "labels with as many votes the smaller one wins. Write it as a function of self, distances and k."
        ),
        call=_vote,
        arguments=("labels", "distances", "k"),
        hints=(
            "np.argsort(distances, axis=1)[:, :k] are the k nearest training examples of each image.",
            "np.bincount counts votes, and argmax takes the first of equal counts.",
            "Return labels, not positions: self.classes_[...].",
        ),
    )
)


@vote.cases
def vote_cases(random: np.random.Generator) -> Iterator[Case]:
    labels = np.array([30, 10, 20, 10, 30, 20, 30])
    for M, k, about in ((6, 1, "one neighbour"), (8, 3, "three neighbours"), (8, 5, "five neighbours")):
        yield Case(labels, random.permuted(np.tile(np.arange(1.0, 8), (M, 1)), axis=1), k, about=about)
    yield Case(
        np.array([5, 4, 5, 4]), np.array([[1.0, 2, 3, 4], [4, 1, 2, 3]]), 2, about="as many votes for two labels"
    )


@vote.property("With k = 1 the nearest example decides.")
def nearest(answer: Function, case: Case) -> bool:
    labels, distances, _ = case.arguments
    return bool((answer(labels, distances, 1) == labels[distances.argmin(axis=1)]).all())


@vote.property("With all examples as neighbours the most frequent label wins, whatever the distances.")
def everyone(answer: Function, case: Case) -> bool:
    labels, distances, _ = case.arguments
    values, counts = np.unique(labels, return_counts=True)
    return bool((answer(labels, distances, len(labels)) == values[counts.argmax()]).all())


def _elect(self: Any, order: Array, k: int, *, largest: bool = False) -> Array:
    classes = len(self.classes_)
    winners = []
    for row in order[:, :k]:
        counts = np.bincount(self.y_[row], minlength=classes)
        winners.append(classes - 1 - counts[::-1].argmax() if largest else counts.argmax())
    return np.array(self.classes_[np.array(winners)])


@vote.mistake("The farthest examples vote; sort the distances upwards.")
def farthest(self: Any, distances: Array, k: int) -> Any:
    return _elect(self, np.argsort(-distances, axis=1), k)


@vote.mistake("Only the nearest example decides; k of them vote.")
def one_neighbour(self: Any, distances: Array, k: int) -> Any:
    return _elect(self, np.argsort(distances, axis=1), 1)


@vote.mistake("Of labels with as many votes the larger one wins; the smaller one must.")
def larger_label(self: Any, distances: Array, k: int) -> Any:
    return _elect(self, np.argsort(distances, axis=1), k, largest=True)


@vote.mistake("One neighbour too many votes: [:k] are the first k.")
def one_too_many(self: Any, distances: Array, k: int) -> Any:
    return _elect(self, np.argsort(distances, axis=1), k + 1)


@vote.mistake("The nearest example is left out, as if it were the image itself: the first k vote.")
def first_left_out(self: Any, distances: Array, k: int) -> Any:
    return _elect(self, np.argsort(distances, axis=1)[:, 1:], k)


@vote.mistake("These are positions of labels, 0, 1, 2, ...: return the labels, self.classes_[...].")
def positions(self: Any, distances: Array, k: int) -> Any:
    return np.searchsorted(self.classes_, _elect(self, np.argsort(distances, axis=1), k))


@vote.mistake("The distances are sorted, but their order is not used: argsort gives the examples, sort the distances.")
def first_examples(self: Any, distances: Array, k: int) -> Any:
    return _elect(self, np.tile(np.arange(distances.shape[1]), (len(distances), 1)), k)
