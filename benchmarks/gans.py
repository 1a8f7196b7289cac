"""Write down what trained GANs reach: a table, and pictures for the documentation.

::

    cnnlab train lenet5 --data mnist epochs=5 --out runs/judge
    cnnlab gan dcgan --data mnist --judge runs/judge --out runs/dcgan
    cnnlab gan vanilla --data mnist --judge runs/judge --out runs/vanilla
    python benchmarks/gans.py runs/vanilla runs/dcgan

The table in ``results/gans.md`` and ``docs/gans.md``, ``results/gans.json`` and the pictures in ``docs/images/gans``
are written from the runs, whose measures ``cnnlab gan RUN --judge RUN`` makes; nothing is typed in.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cnnlab.console import duration, percent
from cnnlab.generate.gans import GanFolder

ROOT = Path(__file__).parents[1]
MARKS = ("<!-- measured: written by benchmarks/gans.py -->", "<!-- end of measured -->")
FIGURES = ("nearest", "interpolation", "losses", "classes")
GIF_BYTES = 400_000  # larger animations are left out of the documentation


def row_of(run: GanFolder) -> dict[str, Any]:
    """Return what the table says about a finished run.

    Raises:
        SystemExit: the run is not finished, or no classifier has judged it.
    """
    measures = run.measures
    if not run.finished or "effective_classes" not in measures:
        raise SystemExit(f"{run.path} is not trained to its end and judged: cnnlab gan {run.path} --judge RUN")
    recipe, env = run.recipe, run.env
    keys = ("samples", "class_counts", "effective_classes", "copied", "held_out", "median_percentile")
    keys += ("frechet", "frechet_held_out", "kernel", "kernel_held_out")
    threads = f"{env['threads']} thread{'s' * (env['threads'] != 1)}"
    computing = f"{recipe.precision}{' channels_last' if recipe.channels_last else ''}"
    return {
        "name": recipe.name,
        "data": recipe.data,
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        "seconds": run.summary["seconds"],
        **{key: measures.get(key) for key in keys},
        "machine": f"{env['gpu'] or env['processor']}, {threads}, {computing}",
        "versions": f"cnnlab {env['cnnlab']}, torch {env['torch']}, Python {env['python']}",
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| recipe | data | epochs | training time | effective classes | copies | Fréchet distance (held-out) | "
        "kernel distance (held-out) |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{row['name']}` | {row['data']} | {row['epochs']} | {duration(row['seconds'])} | "
        f"{row['effective_classes']:.2f} of {len(row['class_counts'])} | {percent(row['copied'], 2)} | "
        f"{row['frechet']:.3g} ({row['frechet_held_out']:.2g}) | "
        f"{row['kernel']:.3g} ({row['kernel_held_out']:.1g}) |"
        for row in rows
    ]
    machines = "; ".join(
        f"{machine} ({', '.join('`' + row['name'] + '`' for row in rows if row['machine'] == machine)})"
        for machine in dict.fromkeys(row["machine"] for row in rows)
    )
    seeds = ", ".join(dict.fromkeys(str(row["seed"]) for row in rows))
    versions = "; ".join(dict.fromkeys(row["versions"] for row in rows))
    return "\n".join(
        [
            *lines,
            "",
            f"One run each (n = 1, seed {seeds}), the generator of its last epoch, {rows[0]['samples']:,} samples. The "
            f"time is that of the training, with other work beside it: at most that. Machine: {machines}. {versions}.",
        ]
    )


def write_pictures(run: GanFolder, folder: Path, names: Sequence[str]) -> None:
    """Write the samples of a run, and the figures named in few colours, so that the files are small."""
    name = run.recipe.name
    pictures = {"samples": run.sample_files()[-1]} | {figure: run.figures / f"{figure}.png" for figure in names}
    for title, file in pictures.items():
        with Image.open(file) as picture:
            # Samples in colour would lose their shades with the few colours that a chart needs.
            in_colour = title == "samples" and run.recipe.channels == 3
            colours = picture.convert("RGB")
            if not in_colour:
                colours = colours.quantize(64, dither=Image.Dither.NONE)
            colours.save(folder / f"{name}-{title}.png", optimize=True)
    animation = run.figures / "samples.gif"
    if names and animation.stat().st_size <= GIF_BYTES:
        shutil.copy(animation, folder / f"{name}-samples.gif")


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Write tables and pictures about the runs named on the command line; return the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", type=Path, help="folders of runs, in the order of the table; all figures of the last one"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="where results/ and docs/ are written")
    options = parser.parse_args(arguments)
    runs = [GanFolder(path) for path in options.runs]
    rows = [row_of(run) for run in runs]
    text = table(rows)
    results, pictures = options.root / "results", options.root / "docs" / "images" / "gans"
    for folder in (results, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    (results / "gans.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (results / "gans.md").write_text(f"# What the GANs reach\n\n{text}\n", encoding="utf-8")
    page = options.root / "docs" / "gans.md"
    if page.is_file():
        head, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
        page.write_text(f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}", encoding="utf-8")
    for run in runs:
        write_pictures(run, pictures, FIGURES if run is runs[-1] else ())
    print(text)
    return rows


if __name__ == "__main__":
    main()
