"""A class's submissions graded: which files there are, a confined check of each, and a row for each.

Layouts of the folder: a folder for each student with files in it, or files ``student-exercise.py``. A file whose name
is no exercise counts for every exercise whose function it defines, unless the student has a file named for it.
"""

from __future__ import annotations

import ast
import multiprocessing
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cnnlab.errors import UsageError
from cnnlab.learn.checking import check_answer
from cnnlab.learn.exercise import exercises, get_exercise
from cnnlab.learn.runs import solved, typical_runs
from cnnlab.learn.sandbox import AnswerStopped, Sandbox
from cnnlab.learn.verdict import Verdict
from cnnlab.scripts import describe

_LARGEST_FILE = 2**20  # bytes


@dataclass(frozen=True)
class Submission:
    """A student's answer to an exercise.

    Attributes:
        student: name of the student, from the folder or the file.
        exercise: name of the exercise.
        path: the file; ``None`` when the student has none.
    """

    student: str
    exercise: str
    path: Path | None


@dataclass(frozen=True)
class Unread:
    """A file that is graded for no exercise.

    Attributes:
        path: the file.
        reason: why it is not graded.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Limits:
    """What an answer may use.

    Attributes:
        seconds: time in seconds for all calls of an answer together.
        memory: bytes beyond the libraries.
    """

    seconds: float = 10.0
    memory: int = 2**30


@dataclass(frozen=True)
class Grade:
    """The row of a submission.

    Attributes:
        student: name of the student.
        exercise: name of the exercise.
        file: path of the file within the class's folder.
        passed: whether the answer is right.
        status: ``"passed"``, ``"wrong"``, ``"error"`` (it raises, or ends its process), ``"unwritten"``,
            ``"unreadable"`` (no Python, or without the function), ``"timeout"``, ``"memory"``, ``"forbidden"`` (it is
            not right, and tried what an answer must not do) or ``"missing"`` (no file).
        share: share of the properties that hold.
        mistake: name of the typical mistake, or kind of the general one, that was recognised.
        message: what is wrong, in words.
        note: what a teacher should look at: attempts at forbidden things, equal answers.
        seconds: duration of the check.
        active: protections that were in force.
    """

    student: str
    exercise: str
    file: str
    passed: bool
    status: str
    share: float = 0.0
    mistake: str = ""
    message: str = ""
    note: str = ""
    seconds: float = 0.0
    active: tuple[str, ...] = field(default=(), compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON can hold it, without the protections."""
        return {key: value for key, value in asdict(self).items() if key != "active"}


COLUMNS = tuple(name for name in Grade.__dataclass_fields__ if name != "active")


def read_submissions(folder: Path, exercise: str | None = None) -> tuple[list[Submission], list[Unread]]:
    """Return the submissions in a folder, ordered by student and exercise, and the files that are none.

    Of several files of a student for an exercise one counts: one that is named for it, and the least deep in folders.

    Args:
        folder: the class's folder.
        exercise: name of the only exercise to be graded; students without a file for it get a submission without path.

    Raises:
        UsageError: the folder does not exist, or nothing in it can be graded.
        UnknownNameError: there is no such exercise.
    """
    if exercise is not None:
        get_exercise(exercise)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}. Name the folder with the class's submissions.")
    found: list[tuple[bool, int, Path, str, str]] = []  # those that count first when sorted: named, not deep inside
    unread: list[Unread] = []
    students: set[str] = set()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith((".", "__")) for part in inside.parts):
            continue
        if path.is_dir() and not path.is_symlink():
            students |= {inside.parts[0]}
            continue
        student, named = _student_and_name(inside)
        try:
            names = _exercises_of(path, named)
        except UsageError as error:
            unread.append(Unread(inside, str(error)))
            continue
        students.add(student)
        found += [(name != named, len(inside.parts), path, student, name) for name in names if exercise in (None, name)]
    submissions: dict[tuple[str, str], Submission] = {}
    for _, _, path, student, name in sorted(found):
        if (student, name) in submissions:
            other = submissions[student, name].path
            reason = f"{student} has another file for {name}: {other}. That one counts."
            unread.append(Unread(path.relative_to(folder), reason))
        else:
            submissions[student, name] = Submission(student, name, path)
    if exercise is not None:
        for student in students:
            submissions.setdefault((student, exercise), Submission(student, exercise, None))
    if not submissions:
        reasons = "".join(f" {each.path}: {each.reason}" for each in unread[:3])
        raise UsageError(
            f"Nothing in {folder} can be graded. Expected: STUDENT/EXERCISE.py or STUDENT-EXERCISE.py.{reasons}"
        )
    unread.sort(key=lambda each: each.path)
    return sorted(submissions.values(), key=lambda each: (each.student, each.exercise)), unread


def _student_and_name(inside: Path) -> tuple[str, str]:
    """Return whose file it is, by its path inside the class's folder, and the name that may be that of an exercise."""
    if len(inside.parts) > 1:
        return inside.parts[0], inside.stem
    before, _, after = inside.stem.rpartition("-")
    # A hyphen may also be part of a name: lisa-marie.py is not a file of lisa.
    return (before, after) if before and after in exercises else (inside.stem, inside.stem)


def _exercises_of(path: Path, name: str) -> list[str]:
    """Return the exercises that a file is for.

    Raises:
        UsageError: there are none; the message says why.
    """
    if path.is_symlink():
        raise UsageError("a link, not a file.")
    if path.suffix != ".py":
        raise UsageError("not a Python file.")
    if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
        raise UsageError("no file, or larger than 1 MiB.")
    if name in exercises:
        return [name]
    try:
        nodes = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError("not Python, and not named for an exercise.") from None
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in exercises]
    if not names:
        raise UsageError("neither named for an exercise nor with the function of one.")
    return sorted(set(names))


class Grader:
    """Grades submissions one after the other, with a process for NumPy and one for torch, started when needed.

    Args:
        folder: the class's folder.
        limits: what an answer may use.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self._sandboxes: dict[bool, Sandbox] = {}

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        for sandbox in self._sandboxes.values():
            sandbox.__exit__()

    def grade(self, submission: Submission) -> Grade:
        """Check a submission and return its row.

        Raises:
            RunError: no process can be started.
        """
        if submission.path is None:
            return Grade(submission.student, submission.exercise, "", False, "missing", message="no file.")
        exercise, file = get_exercise(submission.exercise), str(submission.path.relative_to(self.folder))
        row = Grade(submission.student, submission.exercise, file, False, "unreadable")
        try:
            source = submission.path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            return replace(row, message=f"{file} cannot be read: {error}.")
        if exercise.uses_torch not in self._sandboxes:
            sandbox = Sandbox(exercise.uses_torch, self.limits.seconds, self.limits.memory, [self.folder])
            self._sandboxes[exercise.uses_torch] = sandbox.__enter__()
        typical_runs(exercise)  # before the clock of the answer starts
        solved(exercise)
        begin = time.perf_counter()
        with self._sandboxes[exercise.uses_torch].answer(source, file, exercise) as answer:
            try:
                answer.load()
                verdict = check_answer(answer, exercise)
            except AnswerStopped as stop:
                verdict = Verdict(exercise.name, stop.status, stop.message, line=stop.line, code=stop.code)
            except Exception as error:  # results that the check was not prepared for must not stop the class's grading
                verdict = Verdict(exercise.name, "error", f"the results cannot be checked: {describe(error)}")
            if verdict.status in ("error", "unwritten"):  # the check knows the lines of its own process only
                verdict = replace(verdict, line=answer.line, code=answer.code)
            return _row(row, verdict, answer.attempts, tuple(answer.active), time.perf_counter() - begin)


def _row(row: Grade, verdict: Verdict, attempts: Sequence[str], active: tuple[str, ...], seconds: float) -> Grade:
    if "can't start new thread" in verdict.message:  # the kernel refuses it; Python has no audit event for it
        attempts = [*attempts, "a thread"]
    status = "forbidden" if attempts and not verdict.passed else verdict.status
    said = re.sub(r"\.?\n", ". ", verdict.message)
    parts = [each.sentence for each in verdict.diagnoses] or ([] if verdict.passed else [said])
    if verdict.line is not None:
        parts.append(f"Line {verdict.line}: {verdict.code}")
    mistake = next((each.name or each.kind for each in verdict.diagnoses), "")
    note = f"tried: {'; '.join(attempts)}" if attempts else ""
    holds = [each.holds for each in verdict.properties]
    share = sum(holds) / len(holds) if holds else float(verdict.passed)
    message = _plain(" ".join(parts))
    return replace(
        row, passed=verdict.passed, status=status, share=share, mistake=mistake, message=message, note=_plain(note),
        seconds=round(seconds, 3), active=active,
    )  # fmt: skip


def _plain(text: str) -> str:
    """Return a text in one line without control characters: students wrote parts of it, and terminals obey them."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))[:1000]


def grade(
    folder: Path, submissions: Sequence[Submission], limits: Limits | None = None, jobs: int = 1
) -> Iterator[Grade]:
    """Grade submissions and yield their rows in the same order.

    Args:
        folder: the class's folder.
        submissions: the submissions.
        limits: what an answer may use.
        jobs: number of submissions that are checked at the same time.

    Raises:
        RunError: no process can be started.
    """
    limits = limits or Limits()
    same = _equal_answers(submissions)
    for submission, row in zip(submissions, _rows(folder, submissions, limits, jobs), strict=True):
        others = same.get((submission.student, submission.exercise), [])
        if others and row.status != "unwritten":
            note = f"same program as {', '.join(others)}"
            row = replace(row, note=_plain(f"{row.note}; {note}" if row.note else note))
        yield row


def _rows(folder: Path, submissions: Sequence[Submission], limits: Limits, jobs: int) -> Iterable[Grade]:
    if jobs <= 1 or len(submissions) < 3:
        with Grader(folder, limits) as grader:
            yield from map(grader.grade, submissions)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(submissions)), context, _start_grader, (folder, limits)) as pool:
        yield from pool.map(_grade_in_pool, submissions)


_grader: Grader | None = None  # of a process of the pool


def _start_grader(folder: Path, limits: Limits) -> None:
    global _grader
    _grader = Grader(folder, limits)


def _grade_in_pool(submission: Submission) -> Grade:
    assert _grader is not None
    return _grader.grade(submission)


def _equal_answers(submissions: Sequence[Submission]) -> dict[tuple[str, str], list[str]]:
    """Return student and exercise -> the other students whose file has the same syntax tree, comments aside."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    trees: dict[tuple[str, str], tuple[str, str]] = {}
    for each in submissions:
        if each.path is None:
            continue
        try:
            tree = (each.exercise, ast.dump(ast.parse(each.path.read_bytes())))
        except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
            continue
        groups[tree].append(each.student)
        trees[each.student, each.exercise] = tree
    return {
        key: [student for student in groups[tree] if student != key[0]]
        for key, tree in trees.items()
        if len(groups[tree]) > 1
    }
