"""What makes a new version of a study, and what does not."""

from __future__ import annotations

import inspect

import pytest

from cnnlab.experiments.study import find_study
from cnnlab.experiments.version import source_version, study_version

SOURCE = '''
"""A study."""

RATE = 0.1  # usual


@register_study
class Rates(Study):
    """Two rates."""

    title = "Which rate?"
    about = "Two rates are compared."
    claims = (
        Claim("More is better.", "A paper, section 2", gain("more", "less"), worth=1.0, unit="points"),
    )
    variants = ("more", "less")

    def measure(self, bench):
        """Train."""
        bench.train({variant: bench.recipe("mlp", lr=RATE) for variant in self.variants})

    def draw(self, tables):
        return {"curves": training_curves(tables, self.variants)}
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""A study."""', '"""A study of two rates."""'),
        ("# usual", "# as in the paper"),
        ("Which rate?", "Is more better?"),
        ("Two rates are compared.", "Two rates are compared, side by side."),
        ("A paper, section 2", "A paper, section 3"),
        ("More is better.", "The larger rate is better."),
        ('unit="points"', 'unit="percentage points"'),
        ('"""Train."""', '"""Train both."""'),
        ("training_curves(tables", "seed_bands(tables"),
        ("RATE = 0.1", "from cnnlab.figures import bands\n\nRATE = 0.1"),
        ("RATE = 0.1", "if TYPE_CHECKING:\n    from matplotlib.figure import Figure\n\nRATE = 0.1"),
        ('    variants = ("more", "less")', '    pairing = "All is equal."\n    variants = ("more", "less")'),
        ("{variant: bench", "{\n            variant: bench"),
    ],
)
def test_a_mended_sentence_or_figure_makes_no_new_version(before: str, after: str) -> None:
    assert before in SOURCE
    assert source_version([SOURCE.replace(before, after)]) == source_version([SOURCE])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("RATE = 0.1", "RATE = 0.2"),
        ("RATE = 0.1", "from cnnlab.zoo import RATE\n\nRATE = 0.1"),
        ('gain("more", "less")', 'gain("less", "more")'),
        ("worth=1.0", "worth=0.5"),
        ("worth=1.0", "worth=1.0, margin=0.5"),
        ('variants = ("more", "less")', 'variants = ("more", "less", "none")'),
        ('"mlp"', '"lenet5"'),
        ("lr=RATE", "lr=RATE, epochs=2"),
    ],
)
def test_a_changed_setting_or_claim_makes_a_new_version(before: str, after: str) -> None:
    assert before in SOURCE
    assert source_version([SOURCE.replace(before, after)]) != source_version([SOURCE])


def test_all_versions_of_python_agree() -> None:
    assert source_version([SOURCE]) == "b5f447e7"  # otherwise results count as those of an older study


def test_a_study_that_inherits_from_another_changes_with_it() -> None:
    own, parent = (
        inspect.getsource(inspect.getmodule(type(find_study(name)))) for name in ("batchnorm_relu", "batchnorm")
    )
    assert study_version(find_study("batchnorm_relu")) == source_version([own, parent])
