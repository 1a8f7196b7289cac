"""Exercises cut from this package: write a function, and be told whether it is right and, if not, what is wrong.

::

    from cnnlab import learn

    def affine_forward(x, w, b): ...

    learn.check(affine_forward)

On the command line it is ``cnnlab learn``. A new exercise is a file in ``cnnlab/learn/exercises/``;
:mod:`cnnlab.learn.exercise` shows what is in it.
"""

from __future__ import annotations

from cnnlab.lazy import attributes_from

_HOMES = {
    "check": ".checking",
    "check_answer": ".checking",
    "check_file": ".checking",
    "get_exercise": ".exercise",
    "list_exercises": ".exercise",
    "Exercise": ".exercise",
    "Verdict": ".verdict",
    "starter": ".texts",
    "solution_text": ".texts",
}

__all__ = sorted(_HOMES)

__getattr__ = attributes_from(__name__, _HOMES)
