"""What is known before torch is imported: it agrees with the registry and with opening itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cnnlab.errors import DataError, UnknownNameError
from cnnlab.microscope.foresight import _names_in, _texts, can_be_opened, check_name, check_photo
from cnnlab.zoo import models


def test_every_network_of_the_zoo_is_known() -> None:
    assert [entry.name for entry in models if not can_be_opened([entry.name], random=True)] == []
    assert [entry.name for entry in models if entry.facts.pretrained and not can_be_opened([entry.name])] == []


def test_the_names_are_those_of_the_registry() -> None:
    names, aliases = (set().union(*names) for names in zip(*map(_names_in, _texts()), strict=True))
    assert names == set(models.names())
    assert aliases == {alias for entry in models for alias in entry.facts.aliases}


def test_a_misspelt_name_is_refused_with_the_nearest(tiny_run: Any) -> None:
    for name in ("resnet18", "efficientnet", str(tiny_run.path)):
        check_name(name)
    with pytest.raises(UnknownNameError, match=r'no run folder or network "resnet99"\. Did you mean "resnet\d'):
        check_name("resnet99")
    with pytest.raises(UnknownNameError, match=tiny_run.path.name):
        check_name(str(tiny_run.path.with_name(f"{tiny_run.path.name}x")))
    assert not can_be_opened(["conv"], random=True)  # a text in a module of the zoo, but no network


@pytest.mark.parametrize("name", ["resnet99", "efficientnet_lite9"])
@pytest.mark.parametrize("options", [(), ("--random",), ("--save", "page.html")])
def test_the_command_refuses_a_misspelt_name_without_torch(name: str, options: tuple[str, ...]) -> None:
    program = f"""if True:
        import sys
        sys.modules["torch"] = None  # an import of it fails
        from cnnlab.cli import main
        main(["look", {name!r}, *{options!r}])
    """
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 2
    assert f'There is no run folder or network "{name}". Did you mean' in result.stderr


@pytest.mark.parametrize("name", ["lenet9", "lenet5", "runs/none", "efficientnet_b9", "", "."])
def test_names_that_are_misspelt_or_without_public_weights_are_not(name: str) -> None:
    assert not can_be_opened([name])
    assert not can_be_opened(["resnet18", name])


def test_a_run_is_known_by_its_files(tiny_run: Any, tmp_path: Path) -> None:
    assert can_be_opened([str(tiny_run.path)])
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    (folder / "env.json").write_text(json.dumps({"kind": "gan"}))
    assert not can_be_opened([str(folder)])
    (folder / "env.json").write_text("broken")
    assert not can_be_opened([str(folder)])
    shutil.copy(tiny_run.path / "env.json", folder)
    (folder / "model.safetensors").unlink()
    assert not can_be_opened([str(folder)])


def test_a_photo_must_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no photo .*: it is a folder, not a photo"):
        check_photo(tmp_path)
    with pytest.raises(DataError, match=r"There is no photo .*none.png: it is not there. Give the path"):
        check_photo(tmp_path / "none.png")


def test_torch_is_not_imported_before_the_page_is_served() -> None:
    program = """if True:
        import sys, cnnlab.cli.look, cnnlab.microscope.foresight, cnnlab.microscope.server
        print({"torch", "sklearn", "matplotlib", "PIL"} & set(sys.modules))
    """
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
