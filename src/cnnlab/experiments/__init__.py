"""Experiments: claims of textbooks about convolutional networks, measured on real data.

::

    from cnnlab.experiments import run_study

    result = run_study("batchnorm", "small")
    for one in result.claims:
        print(one.claim.text, one.verdict.answer)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.results import Result
    from cnnlab.experiments.runner import read_result, run_study
    from cnnlab.experiments.study import Claim, Difference, Study, find_study, list_studies, register_study

_MODULE_OF = {
    "Bench": ".bench",
    "Claim": ".study",
    "Difference": ".study",
    "Result": ".results",
    "Study": ".study",
    "find_study": ".study",
    "list_studies": ".study",
    "read_result": ".runner",
    "register_study": ".study",
    "run_study": ".runner",
}

__all__ = [
    "Bench",
    "Claim",
    "Difference",
    "Result",
    "Study",
    "find_study",
    "list_studies",
    "read_result",
    "register_study",
    "run_study",
]

__getattr__ = attributes_from(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
