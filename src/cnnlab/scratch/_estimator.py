"""scikit-learn's convention for estimators, without scikit-learn: parameters by name, checked input, any labels.

The constructor stores its arguments and nothing else; ``fit`` returns the estimator, and the attributes that it sets
end in ``_``. So scikit-learn's ``clone``, ``cross_val_score``, ``GridSearchCV`` and pipelines accept these classes
(https://scikit-learn.org/stable/developers/develop.html).
"""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cnnlab.errors import LabelError, ShapeError, UnknownNameError, UsageError
from cnnlab.scratch._checks import Array, expect_shape


class Estimator:
    """An object whose parameters are read and set by name."""

    n_features_in_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the constructor by name; ``deep``, which scikit-learn passes, makes no difference."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor by name; they take effect at the next ``fit``.

        Raises:
            UnknownNameError: the constructor has no such argument.
        """
        parameters = self.get_params()
        for name in params:
            if name not in parameters:
                raise UnknownNameError(f"parameter of {type(self).__name__}", name, parameters)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"

    def _expect_fitted(self) -> None:
        if not hasattr(self, "n_features_in_"):
            raise UsageError(f"This {type(self).__name__} has learned nothing yet. Call fit first.")

    def _fitted_features(self, X: npt.ArrayLike) -> Array:
        """Return ``X`` in floating point, after checking that it has as many columns as in ``fit``."""
        self._expect_fitted()
        X = features(X)
        if X.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                f"as input: it was fitted on (N, {self.n_features_in_}), and X is {X.shape}."
            )
        return X


class Classifier(Estimator):
    """An estimator that predicts labels."""

    classes_: Array

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        raise NotImplementedError

    def predict(self, X: npt.ArrayLike) -> Array:
        raise NotImplementedError

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Return the accuracy on examples ``X`` (N, D) with labels ``y`` (N,), 0..1."""
        predicted = self.predict(X)
        expect_shape("y", np.asarray(y), predicted.shape, f"X of shape {np.shape(X)}")
        return float(np.mean(predicted == np.asarray(y)))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags  # only scikit-learn calls this, so it is installed

        return Tags("classifier", TargetTags(required=True), classifier_tags=ClassifierTags())


def features(X: npt.ArrayLike) -> Array:
    """Return ``X`` (N, D) in floating point: float32 and float64 as they are, other numbers in a type that holds them.

    Whole numbers of up to 16 bits, such as pixels, become float32, and wider ones float64: differences and squares of
    unsigned bytes would overflow.

    Raises:
        ShapeError: ``X`` has not two axes, is empty or sparse, or holds complex numbers, NaN or infinity.
    """
    if hasattr(X, "tocsr"):
        raise ShapeError(f"X is a sparse matrix of shape {np.shape(X)}; a dense array is needed. Give X.toarray().")
    X = np.asarray(X)
    if X.ndim != 2:
        raise ShapeError(
            f"X must be (N, D), got an array of shape {X.shape}. Reshape your data: X.reshape(len(X), -1) for images "
            "or for a single feature, X.reshape(1, -1) for a single example."
        )
    if not X.size:
        axis = "sample" if not len(X) else "feature"
        raise ShapeError(f"X has 0 {axis}(s) (shape={X.shape}) while a minimum of 1 is required.")
    if X.dtype.kind == "c":
        raise ShapeError("X is complex. Complex data not supported: give X.real, or abs(X).")
    X = X.astype(np.result_type(X.dtype, np.float32) if X.dtype.kind in "biuf" else np.float64, copy=False)
    # A finite sum means that every number is finite; only otherwise each of them is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(X.sum(dtype=np.float64))
    if suspicious and not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ShapeError(f"X[{row}, {column}] is {X[row, column]}: X must not hold NaN or inf. Leave such rows out.")
    return X


def examples(X: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """Return the examples ``X`` (N, D) in floating point, the positions (N,) of their classes, and the classes (C,).

    Raises:
        ShapeError: there are not as many labels as rows, or ``X`` is unfit as in :func:`features`.
        LabelError: labels are neither whole numbers nor names, or have no order.
    """
    X = features(X)
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ShapeError(f"y should be a 1d array, one label for each of {len(X)} rows of X, got shape {labels.shape}.")
    expect_shape("y", labels, X.shape[:1], f"{len(X)} rows of X")
    if labels.dtype.kind == "f":
        wrong = labels[~np.isfinite(labels) | (labels != np.rint(labels))]
        if wrong.size:
            raise LabelError(
                f"Unknown label type: y holds {wrong[0]}. Labels are whole numbers or names, not measures."
            )
    try:
        classes, positions = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise LabelError(
            f"y mixes kinds of labels without an order ({error}). Try [str(label) for label in y]."
        ) from error
    return X, positions, classes
