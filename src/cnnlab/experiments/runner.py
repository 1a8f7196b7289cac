"""Running a study: every seed once, into a folder, from where an interrupted study goes on."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

import cnnlab
from cnnlab.data import ImageData, data_sets, load_data
from cnnlab.data.named_sets import data_folders
from cnnlab.errors import DataNotFoundError, RunError, UnknownNameError, UsageError
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.results import Result, StudyFolder, checked_seeds
from cnnlab.experiments.study import Study, check_variants, find_study
from cnnlab.experiments.tables import SCALES
from cnnlab.experiments.version import study_version
from cnnlab.files import write_text
from cnnlab.hardware import processor_name
from cnnlab.training import Event

EMBEDDED_DATA = "mnist5k"
TEST_IMAGES = {"tiny": 200, "small": 2000, "full": None}

Display = Callable[[int, str, Event], None]
"""A function that is called with the seed, the name of the variant and each event."""


def run_study(
    study: Study | str,
    scale: str = "small",
    *,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] = (),
    data: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    again: bool = False,
    display: Display | None = None,
) -> Result:
    """Measure a study, seed by seed, and write its folder; seeds that lie there already are not measured again.

    Args:
        study: the study or its name.
        scale: ``tiny`` takes seconds, ``small`` minutes, ``full`` hours.
        seeds: the seeds; as many from 0 as the study plans for when ``None``.
        variants: names of the variants to measure; all when empty.
        data: name of a data set to use instead of the study's.
        data_dir: folder to look for data sets in.
        out: folder of the results; ``results/NAME`` when ``None``.
        again: whether all results in that folder are removed first, also those of other settings.
        display: function that sees every event while the study runs.

    Returns:
        The result; it lies in the folder too, with figures and pages.

    Raises:
        UnknownNameError: no study or variant has that name.
        UsageError: fewer than two seeds, an unknown scale, or other data for a study that makes its own.
        DataNotFoundError: the data is not on this machine; the embedded one is offered.
        RunError: the folder holds other results, or cannot be written.
    """
    study = find_study(study) if isinstance(study, str) else study
    _check_choices(study, scale, variants, data)
    chosen = tuple(variant for variant in study.variants if not variants or variant in variants)
    wanted = checked_seeds(range(study.planned_seeds) if seeds is None else seeds)
    folder = StudyFolder(Path(out or Path("results") / study.name))
    name = data or study.data
    version = study_version(study)
    settings = {"study": study.name, "scale": scale, "data": name, "variants": list(chosen), "version": version}
    stale = _holds_other_results(folder, settings, again)
    if not stale:
        folder.restore_seeds()
    missing = [seed for seed in wanted if stale or not folder.seed_file(seed).is_file()]
    # Before anything in the folder is touched.
    images = _load(study, name, data_dir, scale) if missing and not study.own_data else None
    _begin_folder(folder, settings, clear=stale)
    for seed in missing:
        checkpoints = folder.path / "checkpoints" if seed == wanted[0] else None
        watch = None if display is None else partial(display, seed)
        bench = Bench(seed, scale, chosen, images, folder.unfinished(seed), checkpoints=checkpoints, watch=watch)
        _measure_seed(study, bench, folder)
    shutil.rmtree(folder.path / "unfinished", ignore_errors=True)
    return write_results(folder, study, wanted, measured=missing)


def _check_choices(study: Study, scale: str, variants: Sequence[str], data: str | None) -> None:
    """Refuse what the study does not have; see :func:`run_study`."""
    if scale not in SCALES:
        raise UsageError(f'There is no scale "{scale}". Choose from {", ".join(SCALES)}.')
    if study.own_data and data not in (None, study.data):
        raise UsageError(
            f'The study {study.name} makes its own data, "{study.data}", and takes no other. Leave out data.'
        )
    check_variants(study, tuple(variants))


def _measure_seed(study: Study, bench: Bench, folder: StudyFolder) -> None:
    """Measure a seed, and keep what was recorded in the folder."""
    study.measure(bench)
    bench.record("timings", variant="", seconds=bench.seconds)
    folder.keep_seed(bench.seed, bench.records)


def write_results(folder: StudyFolder, study: Study, seeds: Sequence[int], *, measured: Sequence[int]) -> Result:
    """Write tables, figures and pages of seeds that lie in the folder, and return the result.

    Args:
        folder: the folder of the study.
        study: the study.
        seeds: the seeds.
        measured: those of them that were measured here and now.
    """
    from cnnlab import figures
    from cnnlab.experiments.pages import markdown, page

    tables = folder.tables(study, seeds)
    folder.write_tables(tables)
    seconds = sum(float(row["seconds"]) for row in tables["timings"] if row["variant"] == "")
    facts = _read_facts(folder) | {"seeds": list(seeds), "seconds": round(seconds, 1)}
    if measured or "machine" not in facts:  # drawing anew what was measured elsewhere changes nothing about it
        facts |= {
            "machine": processor_name(),
            "threads": torch.get_num_threads(),
            "versions": f"cnnlab {cnnlab.__version__}, torch {torch.__version__}, python {platform.python_version()}",
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
        }
    write_text(folder.path / "study.json", json.dumps(facts, indent=1))
    result = read_result(folder.path, study)
    drawn = study.draw(result.tables)
    for name, figure in drawn.items():
        figures.save(figure, folder.path / f"{name}.png")
    animated = study.animate(result.tables)
    for name, frames in animated.items():
        figures.save_animation(frames, folder.path / f"{name}.gif")
    pictures = [*(f"{name}.gif" for name in animated), *(f"{name}.png" for name in drawn)]
    write_text(folder.path / "README.md", markdown(result, pictures))
    write_text(folder.path / "index.html", page(result, drawn, [folder.path / f"{name}.gif" for name in animated]))
    return replace(result, measured=tuple(measured))


def read_result(path: str | os.PathLike[str], study: Study | None = None) -> Result:
    """Read the result of a study from its folder; the verdicts are computed from ``results.csv``.

    Args:
        path: the folder.
        study: the study, when it is known.

    Raises:
        RunError: the folder holds no results of a study.
        UnknownNameError: the results are those of a study that there is not.
    """
    folder = StudyFolder(Path(path))
    tables = folder.read_tables()
    facts = _read_facts(folder)
    return Result(study or find_study(facts["study"]), facts, tables)


def _read_facts(folder: StudyFolder) -> dict[str, Any]:
    file = folder.path / "study.json"
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return facts
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}). Run the study again, with --again.") from None


def _holds_other_results(folder: StudyFolder, settings: dict[str, Any], again: bool) -> bool:
    """Return whether the folder holds results that are to be replaced.

    Raises:
        RunError: it holds results of other settings, and ``again`` is not set.
    """
    measured = (folder.path / "seeds").is_dir() or (folder.path / "results.csv").is_file()
    if again or not measured:
        return again
    facts = _read_facts(folder)
    other = [key for key, value in settings.items() if facts.get(key) != value]
    if other:
        what = ", ".join("the study has changed" if key == "version" else f"{key} {facts.get(key)}" for key in other)
        raise RunError(
            f"{folder.path} holds results of other settings ({what}). Add --again to replace them, "
            "or --out to write elsewhere."
        )
    return False


def _begin_folder(folder: StudyFolder, settings: dict[str, Any], *, clear: bool) -> None:
    """Make the folder and write down its settings; results of other settings are removed if asked for.

    Raises:
        RunError: it cannot be made.
    """
    if clear:
        folder.clear()
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder.path} cannot be made: {error.strerror}. Choose another folder with --out.") from None
    before = _read_facts(folder) if (folder.path / "study.json").is_file() else {}
    if any(before.get(key) != value for key, value in settings.items()):
        # Nothing was measured, but trainings of other settings may have been begun.
        shutil.rmtree(folder.path / "unfinished", ignore_errors=True)
    write_text(folder.path / "study.json", json.dumps(before | settings, indent=1))


def _load(study: Study, name: str, data_dir: str | os.PathLike[str] | None, scale: str) -> ImageData:
    """Load the images for a study, with the test images of the scale.

    Args:
        study: the study.
        name: name of a data set, or of a folder of photos, which is looked for in ``data_dir`` and in the folders of
            ``$CNNLAB_DATA`` too.
        data_dir: folder to look for data in.
        scale: scale of the study.

    Raises:
        DataNotFoundError: the data is not there; the message says how to get it.
        DataError: the data cannot be used.
        UnknownNameError: neither a data set nor a folder has that name.
    """
    source = study.data_source if name == study.data else ""
    paths = [] if name in data_sets else [Path(folder, name).expanduser() for folder in data_folders(data_dir)]
    try:
        images = load_data(next((path for path in paths if path.is_dir()), name), data_dir=data_dir)
    except (DataNotFoundError, UnknownNameError) as error:
        if isinstance(error, UnknownNameError) and not source:
            raise
        here = f'There is no folder "{name}" in --data-dir, in CNNLAB_DATA, or here. {source}' if source else error
        raise DataNotFoundError(
            f"{here} Or use the digits that come with the installation: --data {EMBEDDED_DATA}."
        ) from None
    if images.test is None and images.val is not None:
        # Nothing is chosen by these images: they are what a study reports on.
        images = replace(images, test=images.val, val=None)
    limit = TEST_IMAGES[scale]
    # The same test images for all seeds, so that the spread over seeds is that of the trainings.
    return images.limited(test=limit, seed=0)
