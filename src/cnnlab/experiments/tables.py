"""The tables of a study and the names of their parts."""

from __future__ import annotations

from collections.abc import Mapping

SCALES = ("tiny", "small", "full")
Value = float | int | str
Row = dict[str, Value]
Tables = Mapping[str, list[Row]]
"""Name of a table -> its rows; every row has ``seed``, and most have ``variant``."""
Measures = Mapping[str, Mapping[str, Value]]
"""Name of a variant -> its row of the table ``results``, all of one seed."""
