"""Names that have changed."""

from __future__ import annotations

import math

import pytest

from cnnlab.deprecation import renamed


def test_an_old_name_works_and_the_warning_names_the_new_one() -> None:
    lookup = renamed("cnnlab.somewhere", {"root": "math:sqrt"})
    with pytest.warns(DeprecationWarning, match=r"cnnlab\.somewhere\.root is now math\.sqrt"):
        assert lookup("root") is math.sqrt


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'cnnlab\.somewhere' has no attribute 'neither'"):
        renamed("cnnlab.somewhere", {"root": "math:sqrt"})("neither")
