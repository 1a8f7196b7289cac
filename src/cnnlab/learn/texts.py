"""Texts cut from the package: the starter of an exercise, and its solution as a file that passes the check."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from types import ModuleType
from typing import Any

from cnnlab.learn.exercise import Exercise, Function

_HEAD = """# Exercise {name} ({title}): write the function, save the file, and run
#
#     cnnlab learn check {name}
#
# Errors under "Raises" are not tested."""
_ROLE = re.compile(r":\w+:`~?[\w.]*?(\w+)`")  # as in :func:`~cnnlab.scratch.layers.norm.batchnorm_forward`
_BODY = "raise NotImplementedError"


def starter(exercise: Exercise) -> str:
    """Return the file to start from: signature and docstring of the solution, and a line that says: not written yet."""
    solution = exercise.solution
    tree = ast.parse(textwrap.dedent(inspect.getsource(solution)))
    definition: Any = tree.body[0]
    definition.decorator_list = []
    library = "torch" if exercise.uses_torch else "np"
    imports = ["import torch", "from torch import Tensor, nn"] if exercise.uses_torch else ["import numpy as np"]
    _Annotations(solution, library).visit(definition)
    _empty(definition)
    standard = [
        f"from {module} import {', '.join(sorted(names))}" for module, names in _standard_names(solution, definition)
    ]
    note = "\n".join(f"# {line}" for line in textwrap.wrap(exercise.note, 116))
    head = _HEAD.format(name=exercise.name, title=exercise.title)
    parts = [
        head,
        *([note] if note else []),
        "",
        "from __future__ import annotations",
        "",
        *standard,
        *([""] if standard else []),
        *imports,
    ]
    return "\n".join(parts) + "\n\n\n" + _ROLE.sub(r"``\1``", ast.unparse(definition)) + "\n"


def solution_text(exercise: Exercise) -> str:
    """Return the source of the solution, without decorators, with the imports that it needs."""
    source = textwrap.dedent(inspect.getsource(exercise.solution))
    tree = ast.parse(source)
    definition: Any = tree.body[0]
    source = "".join(source.splitlines(keepends=True)[definition.lineno - 1 :])
    imports = _imports(exercise.solution, ast.parse(source))
    return "\n".join(["from __future__ import annotations", "", *imports]) + "\n\n\n" + source


def _empty(definition: Any) -> None:
    """Replace the bodies of a function, or of the methods of a class, by ``raise NotImplementedError``."""
    if isinstance(definition, ast.ClassDef):
        definition.body = [
            each
            for each in definition.body
            if isinstance(each, ast.FunctionDef) or (isinstance(each, ast.Expr) and each is definition.body[0])
        ]
        for each in definition.body:
            if isinstance(each, ast.FunctionDef):
                _empty(each)
        return
    docstring = definition.body[:1] if ast.get_docstring(definition) is not None else []
    definition.body = [*docstring, *ast.parse(_BODY).body]


class _Annotations(ast.NodeTransformer):
    """Replaces names of this package in annotations: ``Array`` by that of the library, others by ``Any``."""

    def __init__(self, solution: Function, library: str) -> None:
        self.names = vars(sys.modules[solution.__module__])
        self.library = library

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == "Array":
            return ast.parse("np.ndarray", mode="eval").body
        value = self.names.get(node.id)
        if value is None or isinstance(value, ModuleType):
            return node
        home = getattr(value, "__module__", None)
        if not isinstance(home, str) or home.startswith("cnnlab") or not _is_exported(home, node.id, value):
            return ast.Name("Any")
        return node


def _standard_names(solution: Function, definition: ast.AST) -> list[tuple[str, set[str]]]:
    """Return the standard library's modules and names that a signature uses."""
    names = vars(sys.modules[solution.__module__])
    modules: dict[str, set[str]] = {}
    for node in ast.walk(definition):
        if isinstance(node, ast.Name):
            value = names.get(node.id)
            home = "typing" if node.id == "Any" else getattr(value, "__module__", None)
            if home in ("typing", "collections.abc"):
                modules.setdefault(home, set()).add(node.id)
    return sorted(modules.items())


def _imports(solution: Function, tree: ast.AST) -> list[str]:
    """Return import lines for the names of its module that a solution uses."""
    module = sys.modules[solution.__module__]
    lines = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name) or node.id not in vars(module) or node.id == solution.__name__:
            continue
        value = vars(module)[node.id]
        if isinstance(value, ModuleType):
            alias = "" if value.__name__ == node.id else f" as {node.id}"
            lines.add(f"import {value.__name__}{alias}")
        else:
            home = getattr(value, "__module__", None)
            exported = isinstance(home, str) and _is_exported(home, node.id, value)
            lines.add(f"from {home if exported else module.__name__} import {node.id}")
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def _is_exported(module: str, name: str, value: Any) -> bool:
    return getattr(sys.modules.get(module), name, None) is value
