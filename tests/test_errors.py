"""The exception tree, and what its messages say."""

from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnlab import errors
from cnnlab.errors import CnnlabError, UnknownNameError, UsageError, did_you_mean

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", TREE)
def test_every_exception_is_in_the_tree_and_in_its_drawing(kind: type[Exception]) -> None:
    assert issubclass(kind, CnnlabError)
    assert kind.__doc__
    drawn = re.findall(r"^(.*?)(\w+Error)\b", errors.__doc__ or "", flags=re.MULTILINE)
    depth = {name: len(indent) // 4 - 1 for indent, name in drawn}
    # What an exception is besides (ValueError) is no level of the tree.
    ours = [parent for parent in kind.__mro__ if issubclass(parent, CnnlabError)]
    assert depth[kind.__name__] == len(ours) - 1


@pytest.mark.parametrize("kind", TREE)
def test_exit_code_is_2_for_wrong_use_and_1_otherwise(kind: type[CnnlabError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)


def test_unknown_name_says_the_nearest_the_known_and_the_next_step() -> None:
    error = UnknownNameError("model", "lenet6", ["resnet18", "lenet5"], "`cnnlab models` lists them.")
    assert str(error) == (
        'There is no model "lenet6". Did you mean "lenet5"? Known: lenet5, resnet18. `cnnlab models` lists them.'
    )
    assert (error.kind, error.name, error.names) == ("model", "lenet6", ["lenet5", "resnet18"])


def test_long_lists_are_not_printed() -> None:
    assert "Known" in str(UnknownNameError("model", "x", [f"name{i}" for i in range(12)]))
    assert "Known" not in str(UnknownNameError("model", "x", [f"name{i}" for i in range(13)]))


def test_nothing_near_gives_no_suggestion() -> None:
    assert did_you_mean("zzz", ["lenet5", "resnet18"]) == ""
    assert did_you_mean("anything", []) == ""


@given(st.lists(st.text("abcdefgh_0123", min_size=3), min_size=1, unique_by=str.lower), st.data())
def test_a_name_in_other_case_is_recognised(names: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names))
    assert did_you_mean(name.upper(), names) == f'Did you mean "{name}"?'
