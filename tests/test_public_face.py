"""What ``import cnnlab`` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cnnlab

PUBLIC = [
    "Recipe",
    "__version__",
    "compare_runs",
    "create_model",
    "data",
    "errors",
    "experiments",
    "explain",
    "figures",
    "fit",
    "generate",
    "learn",
    "list_data",
    "list_models",
    "list_recipes",
    "list_runs",
    "load_data",
    "load_recipe",
    "look",
    "microscope",
    "open_run",
    "registry",
    "runs",
    "scratch",
    "summary",
    "train",
    "training",
    "zoo",
]
# Each takes a noticeable part of a second, and listing commands needs none of them.
HEAVY = ["torch", "matplotlib", "sklearn", "scipy", "pandas", "PIL"]


def loaded_by(*command: str) -> set[str]:
    """Run Python with the given arguments and return the top-level modules it had loaded at exit."""
    watch = "import atexit, sys; atexit.register(lambda: print('\\nLOADED', *{m.split('.')[0] for m in sys.modules}))\n"
    done = subprocess.run(
        [sys.executable, "-c", watch + "\n".join(command)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_all_is_what_was_promised() -> None:
    assert sorted(cnnlab.__all__) == sorted(PUBLIC)
    assert len(set(cnnlab.__all__)) == len(cnnlab.__all__)
    assert dir(cnnlab) == sorted(cnnlab.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(cnnlab, name)
    assert value is getattr(cnnlab, name)
    assert isinstance(value, str) or value.__doc__


def test_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert cnnlab.__version__ == version("cnnlab")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lenet5'"):
        _ = cnnlab.lenet5


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_by("import cnnlab") & set(HEAVY)


@pytest.mark.slow
def test_the_first_use_loads_torch() -> None:
    assert "torch" in loaded_by("import cnnlab", "cnnlab.create_model")


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "recipes",
        "data",
        *(
            pytest.param(c, marks=pytest.mark.slow)
            for c in ("--version", "recipes --keys", "recipes lenet5-mnist", "train --help")
        ),
    ],
)
def test_commands_that_only_tell_something_load_nothing_heavy(command: str) -> None:
    assert not loaded_by("from cnnlab.cli import main", f"main({command.split()})") & set(HEAVY)


def test_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cnnlab", "--version"], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == f"cnnlab {cnnlab.__version__}"
