"""The verdict in a notebook."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from cnnlab.learn import check_answer, get_exercise


def relu_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(x, 0), x


def test_a_right_answer_is_green_and_has_no_picture() -> None:
    page = check_answer(relu_forward, get_exercise("relu_forward"))._repr_html_()
    assert '<b style="color: #388e3c">✓ relu_forward</b>: right.' in page
    assert "<svg" not in page


def test_a_wrong_answer_is_red_with_one_picture_and_its_words_are_escaped() -> None:
    def relu_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        print("<script>")
        return -np.maximum(x, 0), x

    verdict = check_answer(relu_forward, get_exercise("relu_forward"))
    page = verdict._repr_html_()
    assert '<b style="color: #d32f2f">✗ relu_forward</b>: not yet right.' in page
    assert "white-space: pre-wrap" in page
    assert page.count("<svg") == 1
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert page == verdict._repr_html_()


@pytest.mark.slow
def test_a_notebook_shows_verdicts_and_the_line_of_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_PROGRESS", str(tmp_path / "learn.json"))
    head = "import numpy as np\nfrom cnnlab import learn\n"
    cells = [
        f"{head}def relu_forward(x):\n    return np.abs(x), x\nlearn.check(relu_forward)",
        "def relu_forward(x):\n    return x[99], x\nlearn.check(relu_forward)",
        "def relu_forward(x):\n    return np.maximum(x, 0), x\nlearn.check(relu_forward)",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    wrong, error, right = (cell.outputs[-1]["data"] for cell in book.cells)
    assert "absolute value" in wrong["text/html"]
    assert "<svg" in wrong["text/html"]
    assert "expected" in wrong["text/plain"]
    assert "line 2:  return x[99], x" in error["text/html"]
    assert "✓ relu_forward</b>: right." in right["text/html"]
