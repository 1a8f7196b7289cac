"""Check wrong answers that were written by hand, and write down what the exercises say about them.

::

    python benchmarks/learn.py

``tests/learn/wrong_answers`` holds answers as students write them, a file each, with constants at the top:
``EXERCISE``, its exercise; ``WRONG``, what is wrong, in a sentence; ``NAMED``, the part of the diagnosis that a reader
judged to name this mistake, empty where none does; ``AT_FIRST_SIGHT``, whether it was named when the answer was first
checked; and ``ROUND``: 2 in answers that were written after the diagnoses had been improved with those of the first
round in view, 3 in answers to exercises that were added later, by the one who had written those exercises; 1 where
there is none. The table in ``results/learn.md`` is written from them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnlab.files import write_text
from cnnlab.learn import Verdict, check_file, get_exercise

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "learn" / "wrong_answers"


@dataclass(frozen=True)
class Row:
    """A wrong answer and what was said about it.

    Attributes:
        file: name of the file, without its ending.
        exercise: name of the exercise.
        wrong: what is wrong.
        said: the first thing that the verdict says is wrong.
        named: whether that names the mistake.
        at_first_sight: whether it was named when it was first checked.
        round: 1, 2 or 3; answers of the second were written after the first had improved the diagnoses, those of the
            third belong to exercises that were added later.
        passed: whether the answer was taken for right.
    """

    file: str
    exercise: str
    wrong: str
    said: str
    named: bool
    at_first_sight: bool
    round: int
    passed: bool


def constant(source: str, name: str) -> str:
    """The string constant ``name`` at the top of an answer."""
    match = re.search(rf'^{name} = \(?\s*"(.*)"', source, re.MULTILINE)
    assert match is not None, name
    return match[1]


def said(verdict: Verdict) -> str:
    """What a student reads first: a diagnosis; without one the message, and the property that does not hold."""
    if verdict.diagnoses:
        return verdict.diagnoses[0].sentence
    broken = [f"Does not hold: {each.sentence}" for each in verdict.properties if not each.holds]
    return " ".join([verdict.message.splitlines()[0], *broken[:1]])


def check(path: Path) -> Row:
    """Check the answer in a file."""
    source = path.read_text(encoding="utf-8")
    exercise, named = constant(source, "EXERCISE"), constant(source, "NAMED")
    verdict = check_file(path, get_exercise(exercise))
    text = said(verdict)
    return Row(
        path.stem,
        exercise,
        constant(source, "WRONG"),
        text,
        named=bool(named) and named in text,
        at_first_sight="\nAT_FIRST_SIGHT = True\n" in source,
        round=int(number[1]) if (number := re.search(r"^ROUND = (\d)$", source, re.MULTILINE)) else 1,
        passed=verdict.status == "passed",
    )


def counts(number: int, rows: Sequence[Row]) -> str:
    """A line with the numbers of one round."""
    shares = (sum(flags) for flags in ([row.at_first_sight for row in rows], [row.named for row in rows]))
    return f"| {number} | {len(rows)} | {' | '.join(f'{share} ({share / len(rows):.0%})' for share in shares)} |"


def page(rows: Sequence[Row]) -> str:
    """The page ``results/learn.md``."""
    exercises = len({row.exercise for row in rows})
    lines = [
        "# Wrong answers, and what is said about them",
        "",
        f"{len(rows)} answers to {exercises} exercises, written by hand, in rounds 1 and 2 without a look at the "
        "exercises' own lists of mistakes. Whether the first diagnosis names the mistake is judged by reading. The "
        "answers of round 2 were written after the diagnoses had been improved with those of round 1 in view; those of "
        "round 3 belong to exercises that were added later, and were written by the one who had written the exercises, "
        'who tried to make mistakes that are not in their lists. "Now" is no independent number: '
        "the answers were read when diagnoses were improved, and some became typical mistakes of their exercise. "
        "The share at first sight is what a new wrong answer can expect. Written by `benchmarks/learn.py`.",
        "",
        "| round | answers | named at first sight | named now |",
        "|---:|---:|---:|---:|",
        *(
            counts(number, [row for row in rows if row.round == number])
            for number in sorted({row.round for row in rows})
        ),
        "",
        "| answer | what is wrong | what is said | named |",
        "|---|---|---|---|",
    ]
    for row in rows:
        text = row.said.replace("|", "\\|").replace("\n", " ")
        file = f"[{row.file}](../tests/learn/wrong_answers/{row.file}.py)"
        lines.append(f"| {file} | {row.wrong} | {text} | {'yes' if row.named else 'no'} |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Check all answers, write the table, return its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="where results/ is written")
    options = parser.parse_args(arguments)
    rows = [check(path) for path in sorted(FOLDER.glob("*.py"))]
    (options.root / "results").mkdir(parents=True, exist_ok=True)
    write_text(options.root / "results" / "learn.md", page(rows))
    print(page(rows))
    return rows


if __name__ == "__main__":
    main()
