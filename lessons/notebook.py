"""Write lessons as Jupyter notebooks, beside their scripts.

::

    pip install sphinx-gallery sphinx jupyterlab
    python lessons/notebook.py 14_style_transfer                          # lessons/14_style_transfer.ipynb
    python lessons/notebook.py --options "--quick --data mnist5k"         # all lessons, at small scale
    jupyter lab lessons/14_style_transfer.ipynb

The first cell of a notebook holds the options that the script takes on the command line; they can be changed there.
Notebooks stay in this folder, because a lesson imports ``common.py`` from it.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
from sphinx_gallery.notebook import jupyter_notebook, save_notebook
from sphinx_gallery.py_source_parser import remove_config_comments, split_code_and_text_blocks

FOLDER = Path(__file__).resolve().parent
FIRST_CELL = """\
# Options of the lesson, as on the command line: "--quick" is a small scale that takes seconds.
import os

os.environ["CNNLAB_LESSON_OPTIONS"] = {options!r}"""


def write_notebook(script: Path, folder: Path, options: str = "") -> Path:
    """Write a lesson as a notebook into a folder, and return the notebook's path.

    Args:
        script: path of the lesson.
        folder: folder to write to; to be run there, the notebook needs ``common.py`` beside it.
        options: options of the lesson, as on its command line.
    """
    settings = copy.deepcopy(DEFAULT_GALLERY_CONF)
    settings["first_notebook_cell"] = FIRST_CELL.format(options=options)
    _, blocks = split_code_and_text_blocks(str(script))
    blocks = [block._replace(content=remove_config_comments(block.content)) for block in blocks]
    path = folder / f"{script.stem}.ipynb"
    save_notebook(jupyter_notebook(blocks, settings, str(script.parent)), path)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="names or numbers, such as 14_style_transfer or 14 (default: all)")
    parser.add_argument("--options", default="", help="options of the lessons, in one string")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to (default: that of the lessons)")
    given = parser.parse_args(arguments)
    scripts = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
    for name in given.lessons or [script.stem for script in scripts]:
        named = [script for script in scripts if name in (script.stem, script.stem[:2])]
        if not named:
            parser.error(f"there is no lesson {name}; known: {', '.join(script.stem for script in scripts)}")
        print(write_notebook(named[0], given.out, given.options))


if __name__ == "__main__":
    main()
