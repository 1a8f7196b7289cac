"""Runs of a long benchmark that are kept one by one, so that the same command goes on where it was cut off.

Each run is a JSON object in a file of its own, with the machine that made it and the settings that change its numbers.
Only runs of one machine and of the same settings are compared: any other counts as missing, is made again and replaced.
To keep both, give the other settings a folder of their own.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

import cnnlab
from cnnlab.files import replacing
from cnnlab.hardware import device_name
from cnnlab.zoo import list_models, models

Run = dict[str, Any]


def networks(
    parser: argparse.ArgumentParser, named: Sequence[str], smallest_by: Literal["parameters", "macs"]
) -> Sequence[str]:
    """Return the named networks, or all of the zoo with the smallest first; a wrong name ends the command."""
    if unknown := set(named).difference(list_models()):
        parser.error(f"There is no network {', '.join(sorted(unknown))}. `cnnlab models` lists them all.")
    return named or sorted(list_models(), key=lambda name: getattr(models.get(name).facts, smallest_by))


def in_own_process(
    script: str, arguments: Sequence[str] | None, *run: str, environment: Mapping[str, str] | None = None
) -> None:
    """Start a benchmark once more for a single run, so that what one run leaves in memory does not change the next.

    Args:
        script: file of the benchmark.
        arguments: its arguments; those of the command line when ``None``.
        run: what its option ``--run`` takes: the run to make and to store.
        environment: the environment of the process; that of this one when ``None``.

    Raises:
        subprocess.CalledProcessError: the run failed; it has printed why.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    subprocess.run([sys.executable, script, *given, "--run", *run], check=True, env=environment)


def make_missing(
    script: str, arguments: Sequence[str] | None, files: Mapping[str, Path], device: torch.device, **settings: object
) -> None:
    """Make each run, by its name for ``--run``, whose file has none of this machine with these settings."""
    for name, file in files.items():
        if not stored(file, device, **settings):
            print(f"{name} ...", flush=True)
            in_own_process(script, arguments, name)


def page_name(benchmark: str, image_size: int, usual: int) -> str:
    """Return the name of a benchmark's page for images of this side in pixels; the usual one goes without saying."""
    return benchmark if image_size == usual else f"{benchmark}_{image_size}"


def machine(device: torch.device) -> str:
    """Return the name of the device that computes, and its number of threads."""
    return f"{device_name(device)}, {torch.get_num_threads()} threads"


def origin(device: torch.device) -> Run:
    """Return what every run notes: the machine, the versions and the day."""
    return {
        "machine": machine(device),
        "versions": f"cnnlab {cnnlab.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def command(script: str, parser: argparse.ArgumentParser, options: argparse.Namespace, names: Iterable[str]) -> str:
    """Return the command line of a benchmark, with what differs from the defaults, for the page that it writes.

    Args:
        script: file of the benchmark.
        parser: its options.
        options: their values.
        names: those of them that change what is measured; not, for example, where files lie.
    """
    words = ["python", f"benchmarks/{Path(script).name}"]
    for name in names:
        value = getattr(options, name)
        if value != parser.get_default(name):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def fits(run: Run, device: torch.device, **settings: object) -> bool:
    """Return whether a run is of this machine and has noted these values; what it has not noted counts as None."""
    return run["machine"] == machine(device) and all(run.get(key) == value for key, value in settings.items())


def stored(file: Path, device: torch.device, **settings: object) -> Run | None:
    """Return the run in ``file``; None where there is none of this machine that has noted these settings."""
    if not file.is_file():
        return None
    run: Run = json.loads(file.read_text(encoding="utf-8"))
    return run if fits(run, device, **settings) else None


def store(file: Path, run: Run) -> None:
    """Keep a run."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def all_stored(folder: Path, device: torch.device, **settings: object) -> list[Run]:
    """Return the runs of this machine with these settings in a folder, by the names of their files.

    Raises:
        SystemExit: there is none.
    """
    runs = [run for file in sorted(folder.glob("*.json")) if (run := stored(file, device, **settings))]
    if not runs:
        wanted = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise SystemExit(
            f"{folder} has no run of this machine{f' with {wanted}' if wanted else ''}. The benchmark makes it without "
            "--table."
        )
    return runs


def mean_and_std(runs: Sequence[Run], keys: Sequence[str]) -> Run:
    """Return for each key the mean over the runs, and as ``KEY_std`` the standard deviation; None for one run."""
    row: Run = {"n": len(runs)}
    for key in keys:
        values = [run[key] for run in runs]
        row[key], row[f"{key}_std"] = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None
    return row


def with_spread(row: Run, key: str, digits: int = 2, scale: float = 1.0) -> str:
    """Return the mean ± standard deviation of a row as text; only the mean where there was one run."""
    spread = "" if row[f"{key}_std"] is None else f" ± {scale * row[f'{key}_std']:.{digits}f}"
    return f"{scale * row[key]:.{digits}f}{spread}"


def made_on(runs: Sequence[Run]) -> str:
    """Return the line of a page that says where and when its runs were made."""
    return (
        f"Machine: {runs[0]['machine']}; {runs[0]['versions']}; {max(run['date'] for run in runs)}. Speeds of "
        "different pages may come from different machines of one name."
    )


def write_results(folder: Path, name: str, text: str, rows: Sequence[Run], runs: Sequence[Run]) -> None:
    """Print a page, and write it as ``NAME.md`` with its rows and runs in ``NAME.json``."""
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"rows": rows, "runs": runs}, indent=2) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
