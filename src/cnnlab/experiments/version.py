"""The version of a study: a checksum of the code that its numbers come from."""

from __future__ import annotations

import ast
import inspect
import sys
import zlib
from typing import Any

from cnnlab.experiments.study import Study

# Parts of a study's class that change no number: prose, and methods that draw from tables alone.
_SENTENCES = ("title", "about", "pairing")
_DRAWING = ("draw", "animate")
_DRAWING_MODULES = ("cnnlab.experiments.drawing", "cnnlab.figures")


def study_version(study: Study) -> str:
    """Return a checksum of the file of a study, and of those of the studies that it inherits from.

    Results of one version are not mixed with those of another. Mending a sentence or a figure does not make a new
    version: comments, docstrings, imports of what draws, ``title``, ``about``, ``pairing``, ``draw``, ``animate``, and
    text, source and unit of the claims do not count. Effect, worth and margin of a claim do: they are decided before
    anything is measured.
    """
    modules = [
        sys.modules[one.__module__] for one in type(study).__mro__ if issubclass(one, Study) and one is not Study
    ]
    return source_version([inspect.getsource(module) for module in modules])


def source_version(sources: list[str]) -> str:
    """Return the checksum of the texts of some files, as :func:`study_version` does."""
    return f"{zlib.crc32(repr([_code(ast.parse(source)) for source in sources]).encode()):08x}"


def _code(node: Any) -> Any:
    """Return a syntax tree as nested lists, without prose and drawing.

    Empty fields are left out, because newer versions of Python have more of them.
    """
    if isinstance(node, list):
        return [_code(one) for one in node if not _is_docstring(one) and not _is_import_for_drawing(one)]
    if not isinstance(node, ast.AST):
        return node
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.ClassDef):
        fields["body"] = [one for one in node.body if not _changes_no_number(one)]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Claim":
        fields["args"] = node.args[2:]  # after text and source
        fields["keywords"] = [one for one in node.keywords if one.arg not in ("text", "source", "unit")]
    return [type(node).__name__, [[name, _code(value)] for name, value in fields.items()]]


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_import_for_drawing(node: Any) -> bool:
    """Whether a statement imports what draws, or what only type checkers need."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.ImportFrom) and node.module in _DRAWING_MODULES


def _changes_no_number(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef):
        return statement.name in _DRAWING
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return all(isinstance(target, ast.Name) and target.id in _SENTENCES for target in targets)
