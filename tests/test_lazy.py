"""Names that are loaded when they are first used."""

from __future__ import annotations

import math

import pytest

from cnnlab.lazy import attributes_from


def test_a_name_comes_from_its_home_and_another_is_an_attribute_error() -> None:
    lookup = attributes_from("cnnlab.somewhere", {"sqrt": "math", "root": "math:sqrt"})
    assert lookup("sqrt") is lookup("root") is math.sqrt
    with pytest.raises(AttributeError, match=r"module 'cnnlab\.somewhere' has no attribute 'neither'"):
        lookup("neither")
