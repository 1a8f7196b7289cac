"""Scripts that do, call by call, what the course's notebooks do, in a folder that ``cnnlab course link`` wrote to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.course.link import link_course
from tests.course.helpers_course import write_cifar10, write_coco, write_imagenet_val

NOTEBOOKS = Path(__file__).parent / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of notebooks with small made-up data sets in ``cs231n/datasets``."""
    folder = tmp_path_factory.mktemp("assignments")
    link_course(folder)
    datasets = folder / "cs231n" / "datasets"
    write_cifar10(datasets)
    write_coco(datasets)
    write_imagenet_val(datasets, 2)
    return folder


def run_script(name: str, folder: Path, *arguments: str, **environment: str) -> str:
    """Run one of the scripts in a folder and return what it prints."""
    # The folder comes first on the path, as in a notebook's kernel.
    paths = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(NOTEBOOKS / f"{name}.py"), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "MPLBACKEND": "agg"} | environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_script_runs_from_top_to_bottom(name: str, folder: Path) -> None:
    run_script(name, folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "line"), [("knn", "got 137 / 500 correct"), ("svm", "validation accuracy: 0.3")])
def test_accuracies_on_cifar10_are_those_that_the_course_prints(
    name: str, line: str, tmp_path: Path, real_data: Path
) -> None:
    link_course(tmp_path)
    printed = run_script(name, tmp_path, "--full", CNNLAB_DATA=str(real_data))
    assert line in printed
