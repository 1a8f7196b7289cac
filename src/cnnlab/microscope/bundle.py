"""The page of the microscope as one ES module, one style sheet and one HTML file, put together from ``page/``.

The modules of the page import each other by ``import { a, b } from "./x.js";`` lines at their top and export functions,
classes and constants where they define them. So their texts can stand one after the other in one module, without the
imports, as long as no two of them define the same name. There is no build step: this happens when a page is opened.
"""

from __future__ import annotations

import graphlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from cnnlab.errors import CnnlabError

PAGE = Path(__file__).with_name("page")
STYLES = ("style.css", "tools.css")

# A line break before what begins a line is found several times as fast as ^ in the mode of many lines.
_IMPORT = re.compile(r'\nimport\s*\{([^}]*)\}\s*from\s*"(\./[\w/.-]+\.js|\.\./[\w/.-]+\.js)";[ \t]*(?=\n)')
_EXPORT = re.compile(r"\nexport\s+(?=(?:async\s+)?(?:function|const|let|class)\b)")
_TOP_LEVEL = re.compile(
    r"\n(?:export\s+)?(?:async\s+)?(?:function\*?|const|let|var|class)\s+(?:(\w+)|[{\[]([^}\]=]*)[}\]])"
)
_EXPORTED = re.compile(r"\nexport .*")
_LEFT_OVER = re.compile(r"\n((?:import|export)\b.*)")


class PageError(CnnlabError):
    """A module of the page does not keep the rules by which modules are put together."""


def script(host: str, folder: Path = PAGE) -> str:
    """Return the page for a host as one ES module.

    Args:
        host: ``server``, ``saved`` or ``notebook``; its start is ``page/host_HOST.js``.
        folder: folder of the modules.

    Raises:
        PageError: a module is missing, or does not keep the rules.
    """
    texts: dict[str, str] = {}
    imports: dict[str, set[str]] = {}
    _read(f"host_{host}.js", folder, texts, imports)
    try:
        order = list(graphlib.TopologicalSorter(imports).static_order())
    except graphlib.CycleError:
        order = list(texts)  # functions may be used before the line of their definition
    plain = {name: _plain(name, texts[name]) for name in order}
    _check_names(texts)
    return "".join(f"// {name}\n{text}\n" for name, text in plain.items())


def style(folder: Path = PAGE) -> str:
    """Return the style sheets of the page as one."""
    return "\n".join(path.read_text(encoding="utf-8") for name in STYLES if (path := folder / name).is_file())


def page(head: str, body: str, folder: Path = PAGE) -> str:
    """Return the HTML of the page.

    Args:
        head: markup that is added to the head.
        body: markup that is added at the end of the body.
        folder: folder of ``index.html``.
    """
    text = (folder / "index.html").read_text(encoding="utf-8")
    return text.replace("<!-- head -->", head, 1).replace("<!-- body -->", body, 1)


def inline_script(text: str) -> str:
    """Return a script as it may stand inside a page: nothing in it ends the element or begins a comment."""
    return re.sub(r"<(?=/script|!--|script)", r"\\x3c", text, flags=re.I)


def _read(name: str, folder: Path, texts: dict[str, str], imports: dict[str, set[str]]) -> None:
    """Read a module and those that it imports, in the order in which they run."""
    if name in imports:
        return
    path = folder / name
    if not path.is_file():
        raise PageError(f"The page has no module {name}; expected {path}.")
    text = f"\n{path.read_text(encoding='utf-8')}\n"
    names = [_home(name, source) for _, source in _IMPORT.findall(text)]
    imports[name] = set(names)
    for one in names:
        _read(one, folder, texts, imports)
    texts[name] = text


def _home(module: str, source: str) -> str:
    """Return the name of the module that a module imports from ``./x.js`` or ``../x.js``."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(module), source))


def _plain(name: str, text: str) -> str:
    """Return the text of a module without its imports, and without the word export.

    Raises:
        PageError: an import or export has another form.
    """
    text = _EXPORT.sub("\n", _IMPORT.sub("", text))
    if left_over := _LEFT_OVER.search(text):
        raise PageError(
            f'{name}: "{left_over[1][:80]}" cannot be put into one module; expected import {{ a, b }} from "./x.js"; '
            "and export before function, const or class."
        )
    return text.strip("\n")


def _check_names(texts: dict[str, str]) -> None:
    """Check that no two modules define the same name, and that every imported name is exported.

    Raises:
        PageError: two do, or a name is missing.
    """
    homes: dict[str, str] = {}
    exported: dict[str, set[str]] = {}
    for module, text in texts.items():
        for name in _top_level_names(text):
            if homes.setdefault(name, module) != module:
                raise PageError(f"{module} and {homes[name]} both define {name}; call one of them otherwise.")
        exported[module] = {name for line in _EXPORTED.findall(text) for name in _top_level_names(line)}
    for module, text in texts.items():
        for names, source in _IMPORT.findall(text):
            home = _home(module, source)
            missing = {name.strip() for name in names.split(",") if name.strip()} - exported.get(home, set())
            if missing:
                raise PageError(f"{module} imports {', '.join(sorted(missing))} from {home}, which does not export it.")


def _top_level_names(text: str) -> Iterator[str]:
    for name, several in _TOP_LEVEL.findall(text):
        yield from [name] if name else re.findall(r"\w+", re.sub(r"\w+\s*:", "", several))
