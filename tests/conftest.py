"""Fixtures shared by all tests: one thread per worker, tiny data, a tiny finished run, where real data may be."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from benchmarks import peers
from cnnlab import downloads
from cnnlab.data import ImageData
from cnnlab.runs import Run, train
from tests.file_server import FileServer, serving
from tests.helpers import make_bars, tiny_recipe

# Workers of pytest-xdist share the cores: more threads than that only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data sets beside the project; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CNNLAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set CNNLAB_TEST_DATA)")
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded: a connection to anything but this machine is a failure."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A web server on this machine, which the downloader takes for a secure one, and no proxy in between."""
    monkeypatch.setattr(downloads, "SCHEMES", ("https://", "http://127.0.0.1:"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(tmp_path / "www") as server:
        yield server


@pytest.fixture
def bars_data() -> ImageData:
    return make_bars()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on scikit-learn's digits. Do not change it: copy it first."""
    folder = tmp_path_factory.mktemp("tiny")
    recipe = tiny_recipe(data="digits", epochs=2, batch_size=64, train_limit=500)
    return train(recipe, out=folder / "run")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings write no report, which takes longer than they do and has tests of its own."""
    monkeypatch.setattr(Run, "report", lambda self, data=None: self.path / "report.html")


@pytest.fixture(scope="session")
def torchvision_models() -> ModuleType:
    return peers.library("torchvision.models") or pytest.skip("torchvision is not installed")


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    return peers.library("timm") or pytest.skip("timm or torchvision is not installed")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """In continuous integration, print how long the tests of each file took, the slowest first."""
    if not os.environ.get("CI"):
        return
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("seconds per test file")
    for file, total in seconds.most_common():
        terminalreporter.write_line(f"{total:8.1f}  {file}")
