"""The registry, on a package made up for the purpose."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cnnlab.errors import UnknownNameError, UsageError
from cnnlab.registry import Registry

ROOM = "made_up_room"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package whose __init__ holds a registry, and which is forgotten afterwards."""
    folder = tmp_path / ROOM
    folder.mkdir()
    (folder / "__init__.py").write_text(
        f"from cnnlab.registry import Registry\nthings = Registry('thing', '{ROOM}', hint='Look again.')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == ROOM]:
        del sys.modules[name]


def drop(room: Path, file: str, text: str) -> None:
    (room / file).write_text(f"from {ROOM} import things\n{text}")


def things(room: Path) -> Registry[str]:
    return __import__(ROOM).things


def test_a_dropped_file_is_found(room: Path) -> None:
    drop(room, "one.py", "@things.register('facts of one')\ndef one():\n    '''The first.\n\n    More.\n    '''\n")
    drop(room, "two.py", "things.register('facts of two', name='second')(dict)\n")
    registry = things(room)
    assert registry.names() == ["one", "second"]
    assert len(registry) == 2
    assert "one" in registry
    assert "three" not in registry
    assert [entry.facts for entry in registry] == ["facts of one", "facts of two"]
    entry = registry.get("one")
    assert (entry.name, entry.facts, entry.summary) == ("one", "facts of one", "The first.")
    assert registry.get("second").factory(a=1) == {"a": 1}


def test_wildcards(room: Path) -> None:
    drop(room, "many.py", "for n in ('res18', 'res50', 'vgg'):\n    things.register(n, name=n)(dict)\n")
    assert things(room).names("res*") == ["res18", "res50"]
    assert things(room).names("nothing*") == []


def test_private_modules_are_left_alone(room: Path) -> None:
    drop(room, "_private.py", "raise RuntimeError('imported')\n")
    assert things(room).names() == []


def test_nothing_is_imported_before_the_first_question(room: Path) -> None:
    drop(room, "broken.py", "raise RuntimeError('imported')\n")
    registry = things(room)
    with pytest.raises(RuntimeError, match="imported"):
        registry.names()
    # The next question tries again instead of pretending that the room is empty.
    with pytest.raises(RuntimeError, match="imported"):
        registry.names()


def test_a_name_is_given_once(room: Path) -> None:
    registry = things(room)
    registry.register("facts", name="taken")(dict)
    with pytest.raises(UsageError, match='The thing name "taken" is taken by builtins'):
        registry.register("other facts", name="taken")(list)
    assert registry.get("taken").factory is dict


def test_an_unknown_name_is_answered_with_the_nearest_and_the_hint(room: Path) -> None:
    registry = things(room)
    registry.register("facts", name="lenet5")(dict)
    with pytest.raises(UnknownNameError, match=r'no thing "lenet".* Did you mean "lenet5"\?.* Look again\.'):
        registry.get("lenet")
