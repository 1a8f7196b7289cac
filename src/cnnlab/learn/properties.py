"""Properties that several exercises share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function
from cnnlab.learn.runs import Array
from cnnlab.scratch.gradcheck import eval_numerical_gradient_array

GRADIENT_RTOL = 1e-4  # central differences in float64 are right to about 1e-8


def nearly(a: Array, b: Array) -> bool:
    """Return whether a gradient equals a numerical one."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=GRADIENT_RTOL, atol=1e-6)


def add_numerical_gradients(exercise: Exercise, forward: Callable[..., Array]) -> None:
    """Add one property for each output: it equals the numerical gradient of the forward pass.

    The cases need ``inputs``, the arrays whose gradients are the outputs, in that order; the first argument of a case
    is the upstream gradient. A case at a kink of the function has no inputs and is left out.

    Args:
        exercise: an exercise that is a backward pass.
        forward: function of a case and the inputs that returns what the upstream gradient belongs to.
    """
    for position, name in enumerate(exercise.compared):

        def holds(answer: Function, case: Case, position: int = position) -> bool:
            if not case.inputs:
                return True
            gradients = answer(*case.arguments)
            gradient = gradients[position] if len(exercise.compared) > 1 else gradients
            inputs = [np.array(each) for each in case.inputs]
            numeric = eval_numerical_gradient_array(
                lambda _: forward(case, *inputs), inputs[position], np.asarray(case.arguments[0])
            )
            return nearly(gradient, numeric)

        exercise.property(f"{name} equals the numerical gradient of the forward pass.")(holds)


def add_batch_independence(exercise: Exercise, count: int = 1) -> None:
    """Add the property that the result for an input does not depend on the others in the batch.

    Args:
        exercise: an exercise with one output, whose first axis is that of the batch.
        count: number of arguments, the first ones, that have the axis of the batch.
    """

    def holds(answer: Function, case: Case) -> bool:
        whole = answer(*case.arguments)
        alone = [answer(*(each[:1] for each in case.arguments[:count]), *case.arguments[count:])]
        return is_close(whole[:1], alone[0])

    exercise.property("The result for one input is the same alone and in a batch.")(holds)
