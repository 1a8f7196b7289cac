"""Run the lessons at full scale and write down what came out.

::

    python benchmarks/lessons.py 01_nearest_neighbours 02_linear_classifiers --seeds 3
    python benchmarks/lessons.py                     # all lessons, one seed each
    python benchmarks/lessons.py 21_few_photos --options "--photos hymenoptera"    # options of the lesson itself
    python benchmarks/lessons.py --table             # only rewrite tables and pictures from the runs that are there

Each lesson runs in a process of its own with seeds 0 .. n-1. The table in ``results/lessons.md``,
``results/lessons.json`` and the pictures in ``docs/images/lessons`` (of the first seed) are written from the runs;
nothing is typed in. Finished runs are kept in ``--out``: the same command goes on where it was cut off. Lessons
of which ``--out`` has no run keep their rows and pictures. ``--without`` leaves out pictures of photos that may not be
published.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from cnnlab.hardware import processor_name

ROOT = Path(__file__).parents[1]


def lesson_names(folder: Path) -> list[str]:
    """The lessons, by number: files that begin with two digits."""
    return sorted(path.stem for path in folder.glob("[0-9][0-9]_*.py"))


def title_of(lesson: Path) -> str:
    """The title of a lesson: the first line of its docstring."""
    match = re.match(r'r?"""\s*(.+)', lesson.read_text(encoding="utf-8"))
    return match[1].strip().rstrip('".') if match else lesson.stem


def run_lesson(lesson: Path, seed: int, out: Path, options: Sequence[str]) -> dict[str, Any]:
    """Run a lesson into ``out/<name>-seed<seed>``, or return what is there of a finished run of the same scale."""
    folder = out / f"{lesson.stem}-seed{seed}"
    done = folder / "run.json"
    if done.is_file():
        record: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        if record["quick"] == ("--quick" in options):
            return record
    folder.mkdir(parents=True, exist_ok=True)
    print(f"== {lesson.stem}, seed {seed}", flush=True)
    start = time.perf_counter()
    command = [sys.executable, str(lesson), "--seed", str(seed), "--out", str(folder), *options]
    with (
        (folder / "log.txt").open("w", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            log.write(line)
    if process.returncode != 0:
        raise SystemExit(f"{lesson} ended with exit code {process.returncode}; its output is in {folder / 'log.txt'}.")
    record = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    record |= {"title": title_of(lesson), "seconds": time.perf_counter() - start, "machine": machine()}
    record["date"] = datetime.now(UTC).date().isoformat()
    done.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def machine() -> str:
    """Processor, threads of NumPy's linear algebra, and versions."""
    threads = max((pool["num_threads"] for pool in threadpool_info()), default=os.cpu_count() or 1)
    return (
        f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}, "
        f"NumPy {version('numpy')}, Python {platform.python_version()}"
    )


def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One lesson with all its seeds: mean and standard deviation of every number."""
    first = records[0]
    numbers = []
    for position, number in enumerate(first["numbers"]):
        values = [record["numbers"][position]["value"] for record in records]
        numbers.append(
            {
                "name": number["name"],
                "mean": statistics.mean(values),
                "std": statistics.stdev(values) if len(values) > 1 else None,
                "goal": number["goal"],
                "below": number["below"],
                "reached": None
                if number["goal"] is None
                else all(record["numbers"][position]["reached"] for record in records),
            }
        )
    return {
        "lesson": first["lesson"],
        "title": first["title"],
        "quick": first["quick"],
        "data": first["data"],
        "n": len(records),
        "numbers": numbers,
        "figures": first["figures"],
        "seconds": statistics.mean(record["seconds"] for record in records),
        "machine": first["machine"],
        "date": max(record["date"] for record in records),
    }


def table(lessons: list[dict[str, Any]]) -> str:
    """The table in Markdown: a row for every number that has a goal, all others in results/lessons.json."""
    rows = [
        "| lesson | what is measured | reached | goal | n | time |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for lesson in lessons:
        name = f"[{lesson['title']}](../lessons/{lesson['lesson']}.py)"
        for number in [number for number in lesson["numbers"] if number["goal"] is not None]:
            spread = "" if number["std"] is None else f" ± {number['std']:.2g}"
            missed = "" if number["reached"] else " (not reached)"
            aim = f"{'≤' if number['below'] else '≥'} {number['goal']:.4g}"
            rows.append(
                f"| {name} | {number['name']} | {number['mean']:.4g}{spread}{missed} | {aim} "
                f"| {lesson['n']} | {lesson['seconds']:.0f} s |"
            )
            name = ""
    machines = "; ".join(sorted({lesson["machine"] for lesson in lessons}))
    return "\n".join(
        [
            "Accuracies are shares of 1; mean ± standard deviation over n seeds where n is more than 1. The time is "
            "that of the whole lesson, with other work beside it: at most that. Written by `benchmarks/lessons.py`.",
            "",
            *rows,
            "",
            f"Machine: {machines}.",
        ]
    )


def write(lessons: list[dict[str, Any]], root: Path, out: Path) -> None:
    """Write tables, JSON, and the pictures of the lessons that have a run in ``out``, below ``root``."""
    results = root / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "lessons.json").write_text(json.dumps(lessons, indent=2) + "\n", encoding="utf-8")
    text = f"# What the lessons reach\n\n{table(lessons)}\n"
    (results / "lessons.md").write_text(text, encoding="utf-8")
    for lesson in lessons:
        if not (out / f"{lesson['lesson']}-seed0").is_dir():
            continue
        pictures = root / "docs" / "images" / "lessons" / lesson["lesson"]
        shutil.rmtree(pictures, ignore_errors=True)
        pictures.mkdir(parents=True)
        for figure in lesson["figures"]:
            shutil.copy(out / f"{lesson['lesson']}-seed0" / figure["file"], pictures)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run lessons, write what came out, return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="names, such as 01_nearest_neighbours (default: all)")
    parser.add_argument("--seeds", type=int, default=1, help="runs per lesson (default 1)")
    parser.add_argument("--out", type=Path, default=Path("lessons_out/full"), help="where the runs are kept")
    parser.add_argument("--data-dir", type=Path, help="folder where CIFAR-10 is looked for first")
    parser.add_argument("--options", default="", help="further options of the lessons, in one string")
    parser.add_argument(
        "--without", default="", metavar="FILES", help="pictures that are not published, such as a.png,b.png"
    )
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--quick", action="store_true", help="small scale, on digits: to try this script")
    parser.add_argument("--root", type=Path, default=ROOT, help="where results/ and docs/ are written")
    given = parser.parse_args(arguments)
    known = lesson_names(ROOT / "lessons")
    if unknown := sorted(set(given.lessons) - set(known)):
        parser.error(f"there is no lesson {', '.join(unknown)}; known: {', '.join(known)}")
    options = ["--quick", "--data", "mnist5k"] if given.quick else []
    options += ["--data-dir", str(given.data_dir)] if given.data_dir else []
    options += shlex.split(given.options)
    if not given.table:
        for name in given.lessons or known:
            for seed in range(given.seeds):
                run_lesson(ROOT / "lessons" / f"{name}.py", seed, given.out, options)
    written = given.root / "results" / "lessons.json"
    before = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else []
    summaries = {lesson["lesson"]: lesson for lesson in before if lesson["quick"] == given.quick}
    for name in known:
        runs = sorted(given.out.glob(f"{name}-seed*/run.json"))
        records = [record for path in runs if (record := json.loads(path.read_text("utf-8")))["quick"] == given.quick]
        if records:
            summaries[name] = summarise(records)
            figures = summaries[name]["figures"]
            summaries[name]["figures"] = [one for one in figures if one["file"] not in given.without.split(",")]
    lessons = [summaries[name] for name in known if name in summaries]
    write(lessons, given.root, given.out)
    print(table(lessons))
    return lessons


if __name__ == "__main__":
    main()
