"""What an exercise is: a function of this package, cases to try an answer on, properties, hints, and typical mistakes.

A file in ``cnnlab/learn/exercises/`` makes one or several::

    exercise = add(Exercise("cnnlab.scratch.layers.affine:affine_backward", title="gradients of a dense layer",
                            chapter="Dense layers", order=2, outputs=("dx", "dw", "db"),
                            note="The cache is (x, w).", hints=("...", "...")))

    @exercise.cases
    def cases(random): ...
        yield Case(dout, cache)

    @exercise.property("dx equals the numerical gradient of the forward pass.")
    def numerical(answer, case): ...
        return is_close(answer(*case.arguments)[0], ...)

    @exercise.mistake("The gradient of b is summed over the features; it must be summed over the images: axis 0.")
    def bias_over_features(dout, cache): ...

The solution is the function itself, so that exercises and package cannot differ.
"""

from __future__ import annotations

import importlib
import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnnlab.registry import Registry

#: A function as the student writes it, or a wrong one of the same signature.
Function = Callable[..., Any]


class Case:
    """Arguments on which an answer is tried.

    Args:
        arguments: positional arguments of the answer.
        about: what is special about the case, as in "stride 2"; shown to the student.
        extras: further things that the properties need, such as the inputs of the forward pass; they become
            attributes.
    """

    def __init__(self, *arguments: Any, about: str = "", **extras: Any) -> None:
        self.arguments, self.about = arguments, about
        self.extras = extras

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["extras"][name]
        except KeyError:
            raise AttributeError(f"the case has no {name!r}") from None


@dataclass(frozen=True)
class Property:
    """Something that must hold for a right answer on every case.

    Attributes:
        sentence: what must hold, in words.
        holds: function of the answer (with the cache left out of what it returns) and a case that returns whether the
            property holds.
    """

    sentence: str
    holds: Callable[[Function, Case], bool]


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer.

    Attributes:
        explanation: what is wrong and what is right, in one or two sentences.
        function: the wrong answer.
    """

    explanation: str
    function: Function

    @property
    def name(self) -> str:
        """Name of the mistake: that of its function."""
        return str(self.function.__name__)


@dataclass(eq=False)
class Exercise:
    """One function to write.

    Attributes:
        path: where the solution is, as ``module:function`` or ``module:Class.method``; its name is the exercise's.
        title: what the function is, in at most 40 characters.
        chapter: title of the chapter.
        order: place within the whole list; chapters are ordered by their first exercise.
        outputs: names of what the function returns. ``cache`` is the answer's own affair and is not compared.
        hints: hints from general to particular.
        note: what must be known beside the docstring, such as the content of the cache that is passed in.
        writes: names of the arguments that the function is meant to change.
        call: how the answer is called with the arguments of a case, where that is not simply ``answer(*arguments)``.
        arguments: names of the arguments of a case, where they are not those of the solution.
        uses_torch: whether torch is needed.
    """

    path: str
    title: str
    chapter: str
    order: float
    outputs: tuple[str, ...]
    hints: tuple[str, ...]
    note: str = ""
    writes: tuple[str, ...] = ()
    call: Callable[..., Any] | None = None
    arguments: tuple[str, ...] = ()
    uses_torch: bool = False
    properties: list[Property] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    _make_cases: Callable[[np.random.Generator], Iterator[Case]] | None = None

    @property
    def name(self) -> str:
        """Name of the exercise and of the function to write."""
        return self.path.rpartition(":")[2].rpartition(".")[2]

    @property
    def solution(self) -> Function:
        """The function of the package that solves the exercise, without its decorators."""
        module, _, name = self.path.partition(":")
        function: Function = inspect.unwrap(operator.attrgetter(name)(importlib.import_module(module)))
        return function

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of the outputs that are compared with the right ones."""
        return tuple(name for name in self.outputs if name != "cache")

    def cases(self, maker: Callable[[np.random.Generator], Iterator[Case]]) -> Any:
        """Take the decorated generator of cases, a function of a random generator."""
        self._make_cases = maker
        return maker

    def property(self, sentence: str) -> Callable[[Any], Any]:
        """Add the decorated function of (answer, case) as a property; ``sentence`` says what must hold."""

        def decorate(holds: Any) -> Any:
            self.properties.append(Property(sentence, holds))
            return holds

        return decorate

    def mistake(self, explanation: str) -> Callable[[Any], Any]:
        """Add the decorated function as a typical mistake; ``explanation`` tells the student what is wrong."""

        def decorate(function: Any) -> Any:
            self.mistakes.append(Mistake(explanation, function))
            return function

        return decorate

    def make_cases(self) -> list[Case]:
        """Return the cases: always the same ones."""
        assert self._make_cases is not None, f"{self.name} has no cases"
        return list(self._make_cases(np.random.default_rng(0)))


exercises: Registry[Exercise] = Registry(
    "exercise", "cnnlab.learn.exercises", "`cnnlab learn` lists the exercises with their chapters."
)


def add(exercise: Exercise) -> Exercise:
    """Register an exercise under the name of its function, and return it.

    Raises:
        UsageError: there is an exercise of that name.
    """

    def solution(*arguments: Any) -> Any:
        return exercise.solution(*arguments)

    exercises.register(exercise, name=exercise.name)(solution)
    return exercise


def get_exercise(name: str) -> Exercise:
    """Return the exercise called ``name``.

    Raises:
        UnknownNameError: there is none; the message offers the nearest name.
    """
    return exercises.get(name).facts


def list_exercises() -> Sequence[Exercise]:
    """Return all exercises in the order in which they are meant to be done."""
    return sorted((entry.facts for entry in exercises), key=lambda exercise: (exercise.order, exercise.name))
