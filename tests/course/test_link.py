"""The package ``cs231n`` that is written beside notebooks: what is in it, and what is never lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.course.link import _NOT_COVERED, link_course
from cnnlab.errors import RunError, UsageError
from tests.course.test_interface import INTERFACE


def in_folder(folder: Path, code: str) -> str:
    """Run Python code in a folder, as a notebook there would; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_has_a_file_that_imports_it(tmp_path: Path) -> None:
    link = link_course(tmp_path)
    assert link.package == tmp_path / "cs231n"
    assert link.moved is None
    for module in INTERFACE:
        path = module.replace(".", "/")
        file = f"{path}/__init__.py" if module == "classifiers" else f"{path}.py"
        assert file in link.files
        assert f"\nfrom cnnlab.course.cs231n.{module} import *\n" in (link.package / file).read_text()
    assert len(link.files) == len(INTERFACE) + 1 + len(_NOT_COVERED)


def test_star_imports_bring_the_functions_as_the_notebooks_expect(tmp_path: Path) -> None:
    link_course(tmp_path)
    code = """
import numpy as np
from cs231n.classifiers.fc_net import *
print(affine_forward(np.ones((1, 2)), np.ones((2, 1)), np.ones(1))[0], conv_forward_fast.__name__)
"""
    assert in_folder(tmp_path, code) == "[[3.]] conv_forward\n"


def test_a_module_that_is_not_covered_says_so_and_gives_way_to_the_student_s(tmp_path: Path) -> None:
    package = link_course(tmp_path).package
    code = "try:\n    from cs231n.{} import *\nexcept ImportError as error:\n    print(error)"
    for module in ("transformer_layers", "classifiers.transformer", "simclr.data_utils", "classifiers.squeezenet"):
        assert "is not covered by cnnlab" in in_folder(tmp_path, code.format(module))
    (package / "transformer_layers.py").write_text("mine = 1")
    link_course(tmp_path)
    assert (package / "transformer_layers.py").read_text() == "mine = 1"


def test_a_python_without_cnnlab_says_where_it_is_missing(tmp_path: Path) -> None:
    link_course(tmp_path)
    code = (
        "import sys\nsys.modules.pop('cnnlab', None)\n"
        "class Hide:\n    def find_spec(self, name, *_):\n"
        "        if name == 'cnnlab': raise ModuleNotFoundError('hidden', name='cnnlab')\n"
        "sys.meta_path.insert(0, Hide())\n"
        "try:\n    from cs231n.layers import *\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    assert f"not installed in {sys.executable}. Install cnnlab there" in in_folder(tmp_path, code)


def test_written_again_it_keeps_other_files(tmp_path: Path) -> None:
    link_course(tmp_path)
    (tmp_path / "cs231n" / "layers.py").write_text("broken")
    (tmp_path / "cs231n" / "datasets").mkdir()
    (tmp_path / "cs231n" / "datasets" / "cifar").write_text("data")
    assert link_course(tmp_path).moved is None
    assert "import *" in (tmp_path / "cs231n" / "layers.py").read_text()
    assert (tmp_path / "cs231n" / "datasets" / "cifar").read_text() == "data"


def test_written_again_it_moves_the_student_s_own_modules_aside(tmp_path: Path) -> None:
    package = link_course(tmp_path).package
    assert link_course(tmp_path).moved_files == ()
    own, kept = package / "layers.py", package / "layers.py.before-link"
    own.write_text("mine = 1")
    (package / "classifiers" / "__init__.py").write_text("mine = 2")
    again = link_course(tmp_path)
    assert again.moved is None
    assert set(again.moved_files) == {kept, package / "classifiers" / "__init__.py.before-link"}
    assert kept.read_text() == "mine = 1"
    assert "import *" in own.read_text()
    own.write_text("mine = 3")
    assert link_course(tmp_path).moved_files == (package / "layers.py.before-link-2",)
    assert kept.read_text() == "mine = 1"


def test_a_folder_with_data_sets_alone_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "cs231n" / "datasets").mkdir(parents=True)
    assert link_course(tmp_path).moved is None
    assert (tmp_path / "cs231n" / "datasets").is_dir()


@pytest.mark.parametrize("file", ["__init__.py", "layers.py"])
def test_somebody_s_own_package_is_refused_and_moved_by_force(tmp_path: Path, file: str) -> None:
    own = tmp_path / "cs231n"
    (own / "datasets").mkdir(parents=True)
    (own / "datasets" / "cifar").write_text("data")
    (own / file).write_text("my = 'solution'")
    with pytest.raises(UsageError, match="cs231n-before-link"):
        link_course(tmp_path)
    assert (own / file).read_text() == "my = 'solution'"
    assert sorted(path.name for path in own.iterdir()) == sorted(["datasets", file])
    link = link_course(tmp_path, force=True)
    assert link.moved == tmp_path / "cs231n-before-link"
    assert (link.moved / file).read_text() == "my = 'solution'"
    assert (own / "datasets" / "cifar").read_text() == "data"
    assert link_course(tmp_path, force=True).moved is None  # it is cnnlab's now
    (own / "__init__.py").write_text("again my own")
    again = link_course(tmp_path, force=True)
    assert again.moved == tmp_path / "cs231n-before-link-2"


def test_folders_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        link_course(tmp_path / "assigment1")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        link_course(tmp_path / "file")
    with pytest.raises(UsageError, match="is the package itself"):
        link_course(tmp_path / "cs231n")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cs231n").mkdir()
    (tmp_path / "cs231n" / "classifiers").touch()  # a file where a folder is to be
    with pytest.raises(RunError, match="Choose another folder"):
        link_course(tmp_path)
