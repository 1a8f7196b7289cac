"""Tuning: a search for the settings of a recipe that give the best accuracy on the validation split (``cnnlab tune``).

::

    from cnnlab.experiments.tuning import Tuning, load_space, tune

    recipe = cnnlab.load_recipe("lenet5-mnist5k")
    tuning = Tuning(recipe, load_space("basic", recipe), trials=20, name="lenet5", storage="sqlite:///study.db")
    for event in tune(tuning):
        ...

Trials are proposed by Optuna (Akiba et al. 2019, https://arxiv.org/abs/1907.10902; extra ``tune``) and kept in a
database, so that a tuning goes on after an interruption and several processes or machines can share one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.experiments.tuning.search import Tuning, tune
    from cnnlab.experiments.tuning.space import SearchSpace, list_spaces, load_space
    from cnnlab.experiments.tuning.trials import TrialRow

_MODULE_OF = {
    "SearchSpace": ".space",
    "TrialRow": ".trials",
    "Tuning": ".search",
    "list_spaces": ".space",
    "load_space": ".space",
    "tune": ".search",
}

__all__ = ["SearchSpace", "TrialRow", "Tuning", "list_spaces", "load_space", "tune"]

__getattr__ = attributes_from(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
