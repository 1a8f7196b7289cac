"""What the documentation tells a reader to type works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from cnnlab.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks in a language, without the page's own indentation."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("no_report")
@pytest.mark.slow
def test_the_python_of_the_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # torch.hub's list and help download from GitHub: let them find this checkout as the downloaded copy.
    monkeypatch.setattr(torch.hub, "_get_cache_or_reload", lambda *arguments, **options: str(ROOT))
    code = "\n".join(blocks(ROOT / "docs" / "quickstart.md", "python")).replace("/path/to/cnnlab", str(ROOT))
    code = code.replace("epochs=2", "epochs=1, train_limit=500")
    assert "cnnlab.train(recipe)" in code
    exec(compile(code, "quickstart.md", "exec"), {})
    assert (tmp_path / "runs" / "lenet5-mnist5k-1" / "model.json").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_a_page_exist_and_take_these_options(page: Path) -> None:
    command = get_command(app)
    for line in re.findall(r"^(?:.*&& )?cnnlab (.*)$", "\n".join(blocks(page, "bash")), flags=re.MULTILINE):
        name, *words = shlex.split(line, comments=True)
        if name.startswith("-"):
            continue
        assert name in command.commands, f"{page.name}: cnnlab {line}"
        named = command.commands[name]
        if hasattr(named, "commands") and not words:  # such as `cnnlab learn`
            assert named.invoke_without_command, f"{page.name}: cnnlab {line}"
        elif hasattr(named, "commands"):  # several commands under one name
            assert words[0] in named.commands, f"{page.name}: cnnlab {line}"
            named = named.commands[words[0]]
        known = {option for parameter in named.params for option in parameter.opts}
        unknown = {word for word in words if word.startswith("-")} - known - {"--help"}
        assert not unknown, f"{page.name}: cnnlab {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:src|tests|scripts|docs|benchmarks|results|lessons)/[\w./-]+|\.ci/run)`", page.read_text("utf-8")
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    linked = re.findall(r"\]\((?!https?://|#)([\w./-]+)(?:#[\w-]*)?\)", page.read_text("utf-8"))
    missing += [name for name in linked if not (page.parent / name).exists()]
    assert not missing
