"""A study: claims of textbooks about networks, the variants that they compare, and how a seed of it is measured."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from cnnlab.errors import UnknownNameError
from cnnlab.experiments.statistics import planned_n
from cnnlab.experiments.tables import Measures, Tables, Value
from cnnlab.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench


@dataclass(frozen=True)
class Difference:
    """The effect that most claims are about: a measure of one variant minus that of another, within a seed.

    Attributes:
        first: name of the variant that the claim is about.
        second: name of the variant that it is compared with.
        measure: name of the column of ``results.csv`` that is compared.
        factor: number that the difference is multiplied by: 100 makes percentage points of accuracies, -1 turns
            "lower is better" over.
        diverged: value of the measure that stands for a training that diverged, such as chance for an accuracy;
            ``None`` leaves the seed without an effect, which then counts against the claim.
    """

    first: str
    second: str
    measure: str = "accuracy"
    factor: float = 1.0
    diverged: float | None = None

    def __call__(self, measures: Measures) -> float:
        """Return the effect within one seed; NaN where a training diverged and nothing stands for it."""
        return self.factor * (self._value(measures[self.first]) - self._value(measures[self.second]))

    def _value(self, row: Mapping[str, Value]) -> float:
        # A training that diverged may have ended before the study could measure it.
        value = float(row.get(self.measure, math.nan) if row.get("diverged") else row[self.measure])
        return self.diverged if math.isnan(value) and self.diverged is not None else value


def accuracy_gain(first: str, second: str, chance: float | None = None) -> Difference:
    """Return the effect "test accuracy of ``first`` minus that of ``second``", in percentage points.

    Args:
        first, second: names of the variants.
        chance: accuracy in 0..1 that stands for a training that diverged.
    """
    return Difference(first, second, factor=100, diverged=chance)


@dataclass(frozen=True)
class Claim:
    """A sentence of a textbook or paper, as a number that the sentence says is above ``margin``.

    Attributes:
        text: the claim in one sentence.
        source: paper or book with its section, or the course that says so.
        effect: function from the measures of one seed to the effect.
        worth: smallest effect that would be worth claiming, in ``unit``; results that exclude it speak against the
            claim.
        unit: unit of the effect, as it is written after a number.
        margin: value that the effect has to exceed.
    """

    text: str
    source: str
    effect: Callable[[Measures], float]
    worth: float
    unit: str = "percentage points"
    margin: float = 0.0


class Study(ABC):
    """A study in a file of its own in ``cnnlab/experiments/studies``; its name is that of the file.

    Within a seed all variants share the images, their order, and the initial weights of layers of equal shape; from
    seed to seed initialisation, order and the choice of training images vary together (Bouthillier et al., Accounting
    for Variance in Machine Learning Benchmarks, 2021, section 3). The test images are the same for all seeds, so that
    the interval over seeds and the interval over test images say different things.

    Attributes:
        name: name of the study.
        title: the question that the study answers.
        about: what is compared and how, in a few sentences for a reader who sees the page first.
        claims: the claims, tested together (Holm 1979).
        variants: names of the variants, in the order of tables and colours.
        data: name of the data set, or of a folder of photos; another one can be asked for when the study is run.
        own_data: whether the study makes its data itself; ``data`` is then only their name.
        data_source: sentence that says where such a folder comes from; empty for a data set that cnnlab knows by name.
        pairing: what the variants share within a seed, and what varies from seed to seed, as the page says it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    claims: ClassVar[tuple[Claim, ...]]
    variants: ClassVar[tuple[str, ...]]
    data: ClassVar[str] = "mnist"
    own_data: ClassVar[bool] = False
    data_source: ClassVar[str] = ""
    pairing: ClassVar[str] = (
        "Within a seed all variants share images and their order; initialisation, order and the choice of training "
        "images vary from seed to seed; the test images are the same."
    )

    @abstractmethod
    def measure(self, bench: Bench) -> None:
        """Measure one seed: train with ``bench.train``, and record numbers with ``bench.record`` and ``bench.result``.

        It must do the same whenever it is called with the same seed: a seed that was interrupted is begun again, and
        its trainings go on where they were.
        """

    def draw(self, tables: Tables) -> dict[str, Figure]:
        """Return the figures of the study: name of the file without its ending -> figure."""
        from cnnlab.experiments.drawing import training_curves

        return {"curves": training_curves(tables, self.variants)}

    def animate(self, tables: Tables) -> dict[str, list[Figure]]:
        """Return the animations of the study: name of the GIF file without its ending -> frames of equal size."""
        return {}

    @property
    def planned_seeds(self) -> int:
        """The number of seeds that finds an effect of one standard deviation with a power of at least 0.8."""
        return planned_n(len(self.claims))


AnyStudy = TypeVar("AnyStudy", bound=type[Study])

studies: Registry[None] = Registry("study", "cnnlab.experiments.studies", "`cnnlab experiments` lists them all.")


def register_study(study: AnyStudy) -> AnyStudy:
    """Register the decorated class under the name of its file."""
    study.name = study.__module__.rpartition(".")[2]
    return studies.register(None, name=study.name)(study)


def find_study(name: str) -> Study:
    """Return the study called ``name``.

    Raises:
        UnknownNameError: there is none; the nearest name is offered.
    """
    study: Study = studies.get(name).factory()
    return study


def list_studies(pattern: str = "*") -> list[str]:
    """Return the sorted names of the studies that match a shell-style ``pattern``."""
    return studies.names(pattern)


def check_variants(study: Study, variants: tuple[str, ...]) -> None:
    """Refuse names of variants that the study does not have.

    Raises:
        UnknownNameError: naming the variants that there are.
    """
    for variant in variants:
        if variant not in study.variants:
            raise UnknownNameError(f"variant of {study.name} called", variant, study.variants)
