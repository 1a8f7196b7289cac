"""The modules of the page put together into one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cnnlab.microscope import bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vendor").mkdir()
    write(tmp_path, "host_server.js", 'import { start, other } from "./main.js";\nstart(other);\n')
    write(tmp_path, "main.js", MAIN)
    write(tmp_path, "tools.js", 'import { draw } from "./vendor/draw.js";\nexport const add = (a, b) => draw(a + b);\n')
    write(tmp_path, "vendor/draw.js", "/* licence */\nexport function draw(x) {\n  return x;\n}\n")
    return tmp_path


MAIN = """// The page.
import {
  add,
} from "./tools.js";

export const other = 1, third = 2;
export async function start(x) {
  const inner = add(x, 1);
  return `import { y } from "z"`;
}
"""


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_modules_stand_in_the_order_in_which_they_need_each_other(folder: Path) -> None:
    text = bundle.script("server", folder)
    assert re.findall(r"^// (\S+\.js)$", text, re.M) == ["vendor/draw.js", "tools.js", "main.js", "host_server.js"]
    assert not re.search(r"^(import|export)\b", text, re.M)
    assert "async function start(x) {" in text
    assert "`import { y }" in text  # inside a text it stays
    assert "/* licence */" in text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("tools.js", "export default 3;\n", 'tools.js: "export default 3;" cannot be put into one module'),
        ("tools.js", 'import * as d from "./vendor/draw.js";\nexport const add = 1;\n', "import * as d"),
        ("tools.js", "const add = 3;\n", "main.js imports add from tools.js"),
        ("tools.js", "export function add() {}\nconst other = 3;\n", "both define other"),
        ("tools.js", "export const [add, start] = [1, 2];\n", "both define start"),
        ("tools.js", 'import { x } from "./none.js";\n', "The page has no module none.js"),
    ],
)
def test_modules_that_do_not_keep_the_rules_are_refused(folder: Path, name: str, text: str, words: str) -> None:
    write(folder, name, text)
    with pytest.raises(bundle.PageError, match=re.escape(words)):
        bundle.script("server", folder)


def test_modules_may_use_each_other(folder: Path) -> None:
    write(folder, "tools.js", 'import { other } from "./main.js";\nexport const add = () => other;\n')
    assert bundle.script("server", folder).count("const add") == 1


def test_a_script_inside_a_page_does_not_end_it() -> None:
    text = bundle.inline_script('x = "</script><!--<SCRIPT>"; y = a < b; z = "</scr";')
    assert text == 'x = "\\x3c/script>\\x3c!--\\x3cSCRIPT>"; y = a < b; z = "</scr";'


@pytest.mark.parametrize("host", ["server", "saved", "notebook"])
def test_the_page_itself_keeps_the_rules(host: str) -> None:
    text = bundle.script(host)
    assert "function start(" in text
    assert "<!--" not in bundle.page("", "").partition("<body>")[2]
