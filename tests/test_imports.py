"""No file of the package imports itself in a circle, however long and whatever the kind of import."""

from __future__ import annotations

import graphlib

import grimp


def test_no_circle_of_imports() -> None:
    """Imports inside functions and under TYPE_CHECKING count too.

    Only ``cnnlab`` itself is left out: it loads its rooms when they are first used, and they ask it for its version.
    """
    graph = grimp.build_graph("cnnlab", include_external_packages=False, cache_dir=None)
    imports = {
        module: graph.find_modules_directly_imported_by(module) - {"cnnlab"} for module in graph.modules - {"cnnlab"}
    }
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        circle = " imports ".join(reversed(error.args[1]))
        raise AssertionError(f"a circle: {circle}") from None
