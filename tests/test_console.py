"""The bar of every training: what stands on the screen, and the time left."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console

from cnnlab import console as progress
from cnnlab.console import TrainingBar, amount, duration, percent, size, table, worth_a_line


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def screen() -> tuple[io.StringIO, Console]:
    file = io.StringIO()
    return file, Console(file=file, force_terminal=True, width=100, color_system=None)


def test_numbers_and_time_left_are_drawn(clock: Clock) -> None:
    file, console = screen()
    with TrainingBar(console) as bar:
        bar.begin(total=200, done=100)  # a training that goes on in its middle
        clock.now += 30
        bar.show(130, "epoch 2/2", "loss 1.234")
        bar._progress.refresh()
    drawn = file.getvalue()
    assert "epoch 2/2" in drawn
    assert "loss 1.234" in drawn
    assert " 65%" in drawn
    assert "1 min 10 s left" in drawn  # 30 steps in 30 s, 70 to go


def test_nothing_is_said_about_the_time_before_a_step_is_done(clock: Clock) -> None:
    file, console = screen()
    with TrainingBar(console) as bar:
        bar.begin(total=10)
        bar.show(0, "epoch 1/1", "")
        bar._progress.refresh()
    assert "left" not in file.getvalue()


def test_due_when_the_eye_can_see_it(clock: Clock) -> None:
    bar = TrainingBar(screen()[1])
    assert bar.due()
    bar.show(1, "", "")
    assert not bar.due()
    clock.now += 0.2
    assert bar.due()


def test_lines_stay_as_they_are() -> None:
    file, console = screen()
    line = "epoch 1 [not markup] " + "long " * 30
    with TrainingBar(console) as bar:
        bar.say(line)
    assert line in file.getvalue()


def test_lines_of_many_epochs() -> None:
    assert all(worth_a_line(epoch, 20) for epoch in range(1, 21))
    assert [epoch for epoch in range(1, 96) if worth_a_line(epoch, 95)] == [9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 95]


def test_duration() -> None:
    assert [duration(seconds) for seconds in (0.04, 59.94, 61, 3600 * 2 + 300)] == [
        "0.0 s",
        "59.9 s",
        "1 min 1 s",
        "2 h 5 min",
    ]


def test_shares_are_percentages() -> None:
    assert [percent(0.931), percent(0.9306, 2), percent(1, 0), percent(None)] == ["93.1%", "93.06%", "100%", "–"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (0.5, "0.5"), (940, "940"), (999.9, "1.00k"), (61_706, "61.7k"), (1_814_073_344, "1.81G")],
)
def test_counts_have_three_digits(count: float | None, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1536, "1.5 KiB"), (170_498_071, "163 MiB"), (3 * 2**30, "3.00 GiB")],
)
def test_sizes_are_binary(count: int | None, text: str) -> None:
    assert size(count) == text


def test_a_table_sets_numbers_to_the_right_and_takes_no_cell_for_markup() -> None:
    file = io.StringIO()
    Console(file=file, width=40, color_system=None).print(table(("class", ">images"), [("[red]", 5), ("dog", "1,000")]))
    assert [line.rstrip() for line in file.getvalue().splitlines()] == [
        "class  images",
        "[red]       5",
        "dog     1,000",
    ]


@pytest.mark.parametrize(("wrap", "lines"), [(True, ["abcdefghij", "klmno"]), (False, ["abcdefghi…"])])
def test_a_long_cell_goes_on_in_the_next_line_or_is_cut(wrap: bool, lines: list[str]) -> None:
    file = io.StringIO()
    Console(file=file, width=10, color_system=None).print(table(("name",), [("abcdefghijklmno",)], wrap=wrap))
    assert [line.rstrip() for line in file.getvalue().splitlines()[1:]] == lines


def test_rich_is_not_loaded_by_importing_it() -> None:
    code = "import sys, cnnlab.console; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
