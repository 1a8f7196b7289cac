"""Names that are loaded when they are first used."""

from __future__ import annotations

import math

import pytest

from cnnlab.files import cache_dir
from cnnlab.lazy import attributes_from


def test_a_name_comes_from_its_home_and_another_is_an_attribute_error() -> None:
    lookup = attributes_from("cnnlab.somewhere", {"sqrt": "math", "root": "math:sqrt"})
    assert lookup("sqrt") is lookup("root") is math.sqrt
    with pytest.raises(AttributeError, match=r"module 'cnnlab\.somewhere' has no attribute 'neither'"):
        lookup("neither")


def test_a_home_with_a_dot_lies_in_the_package() -> None:
    assert attributes_from("cnnlab", {"cache_dir": ".files"})("cache_dir") is cache_dir
