"""YAML as recipes are written in it: floats as everyone writes them, and any text read back as it was written."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from cnnlab.errors import RecipeError


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the one in C is ten times faster
    """YAML whose floats may be written ``1e-3``: plain YAML 1.1 reads that as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML; a syntax error becomes a :class:`RecipeError` that names ``source`` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{source}{line}: not valid YAML ({getattr(error, 'problem', error)}).") from None


def write_yaml(values: dict[str, Any]) -> str:
    """Return nested plain values as YAML text, in their order."""
    # PyYAML writes these line separators as they are and reads them back as spaces: escape them.
    plain = not re.search("[\x85\u2028\u2029]", json.dumps(values, ensure_ascii=False))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=plain, width=100)
