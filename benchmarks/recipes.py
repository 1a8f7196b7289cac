"""Train shipped recipes with several seeds and write down what came out.

::

    python benchmarks/recipes.py lenet5-mnist5k --seeds 3
    python benchmarks/recipes.py alexnet-mnist --seeds 1 --set train_limit=6000 --set epochs=4    # a part of a long one
    python benchmarks/recipes.py --table            # only rewrite results/recipes.md from the recipes

Each recipe runs with seeds 0 .. n-1 on the machine at hand. What ``--set`` changes is written down beside the number.
The ``measured:`` block of the recipe's YAML file and the tables in ``results/recipes.md`` and the README are rewritten
from the runs; nothing is typed in. Finished runs are kept in ``--out``: after an interruption the same command goes on
with the seed that was cut off.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import stored_runs  # noqa: E402
from cnnlab.hardware import processor_name  # noqa: E402
from cnnlab.runs import Recorder, Run, open_run, resume  # noqa: E402
from cnnlab.training import EpochDone, Measured, fit, list_recipes, load_recipe  # noqa: E402

RECIPES = ROOT / "src" / "cnnlab" / "recipes"
RESULTS = ROOT / "results"
README = ROOT / "README.md"
ON_MACHINE = ("precision=", "channels_last=")  # settings that the column of the machine names
MARKS = ("<!-- recipes: written by benchmarks/recipes.py -->", "<!-- end of recipes -->")


def one_run(
    name: str, seed: int, out: Path, data: str | None, data_dir: str | None, settings: Sequence[str] = ()
) -> Run:
    """Train recipe ``name`` with ``seed`` into its own folder under ``out``, or return the run that is there.

    Args:
        name: name of the recipe.
        seed: seed of the run.
        out: folder of the runs.
        data: data instead of those of the recipe; None for its own.
        data_dir: folder to look for data sets in.
        settings: changes to the recipe, as ``key=value``.
    """
    path = out / "-".join([name, *(re.sub(r"[^\w.=]", "_", setting) for setting in settings), f"seed{seed}"])
    if (path / "env.json").is_file():
        run = open_run(path)
        if run.finished:
            return run
        recorder, events = Recorder(run=run), resume(run)
    else:
        recipe = load_recipe(name).derived(data=data).with_overrides(settings)
        recipe = recipe.model_copy(update={"seed": seed, "data_dir": data_dir})
        recorder, events = Recorder(path), fit(recipe)
    for event in recorder.record(events):
        if isinstance(event, EpochDone):
            reached = f"{event.split} {event.val_accuracy:.2%}, " if event.split else ""
            reached += f"{event.seconds:.1f} s"
            print(f"{name} seed {seed} epoch {event.epoch}: {reached}", flush=True)
    assert recorder.run is not None
    return open_run(recorder.run.path)


def summarise(runs: list[Run], settings: Sequence[str] = ()) -> Measured:
    """Mean and standard deviation over the runs of one recipe with the changes ``settings``.

    Of these, precision and memory format are written down with the machine.
    """
    accuracies = [100 * run.summary["accuracy"] for run in runs]
    env = runs[0].env
    device = env["gpu"] or f"{processor_name()}, {env['threads']} threads"
    origin = stored_runs.origin(torch.device("cpu"))
    return Measured(
        settings=" ".join(setting for setting in settings if not setting.startswith(ON_MACHINE)),
        split=runs[0].summary["split"],
        accuracy=round(statistics.mean(accuracies), 2),
        std=round(statistics.stdev(accuracies), 2) if len(runs) > 1 else None,
        n=len(runs),
        seconds=round(statistics.mean(run.summary["seconds"] for run in runs), 1),
        machine=f"{device}, {runs[0].recipe.precision}{' channels_last' if runs[0].recipe.channels_last else ''}",
        versions=origin["versions"],
        date=origin["date"],
    )


def write_measured(name: str, measured: Measured) -> None:
    """Rewrite the ``measured:`` block at the end of the recipe's file; what a person wrote above it stays.

    Measurements with other settings stay too.
    """
    path = RECIPES / f"{name}.yaml"
    rows = [*(row for row in load_recipe(path).measured if row.settings != measured.settings), measured]
    rows.sort(key=lambda row: row.settings)
    head = path.read_text(encoding="utf-8").split("\nmeasured:")[0].rstrip()
    block = yaml.safe_dump(
        {"measured": [row.model_dump(exclude_defaults=True) for row in rows]}, sort_keys=False, width=100
    )
    path.write_text(f"{head}\n{block}", encoding="utf-8")


def write_table() -> None:
    """Write the table of what the recipes say was measured into ``results/recipes.md`` and the README."""
    table = [
        "| recipe | network | data | epochs | changed for the measurement | accuracy | n | training time | machine |",
        "|---|---|---|---:|---|---:|---:|---:|---|",
    ]
    recipes = [load_recipe(name) for name in list_recipes()]
    for recipe in recipes:
        for m in recipe.measured:
            spread = f" ± {m.std:.2f}" if m.std is not None else ""
            changes = m.settings.split()
            changed = ", ".join(f"`{change}`" for change in changes if not change.startswith("epochs="))
            table.append(
                f"| `{recipe.name}` | {recipe.model} | {recipe.data} ({m.split}) | "
                f"{recipe.with_overrides(changes).epochs} | {changed} | "
                f"{m.accuracy:.2f}{spread} | {m.n} | {m.seconds:.0f} s | {m.machine} |"
            )
    versions = sorted({m.versions for recipe in recipes for m in recipe.measured})
    about = (
        "Accuracy in percent, mean ± standard deviation over n seeds. Where settings were changed for the measurement, "
        "the row says so; the unchanged recipe takes longer. Other programs ran beside some of the trainings: the "
        "times are upper limits. `vgg16_bn-last-layer` trains its last layer on random weights, which stays near "
        "chance. Written by `benchmarks/recipes.py`."
    )
    text = "\n".join([about, "", *table, "", f"Versions: {'; '.join(versions)}."])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "recipes.md").write_text(f"# What the shipped recipes reach\n\n{text}\n", encoding="utf-8")
    head, _, rest = README.read_text(encoding="utf-8").partition(MARKS[0])
    README.write_text(f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}", encoding="utf-8")


def main() -> None:
    """Measure the recipes named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", choices=[*list_recipes(), []], help="which recipes")
    parser.add_argument("--seeds", type=int, default=3, help="runs per recipe")
    parser.add_argument("--data", help="folder or CSV for the recipe `folder`")
    parser.add_argument("--data-dir", help="where data sets are")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="setting to change for the measurement"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"), help="where the runs are kept")
    parser.add_argument("--table", action="store_true", help="only rewrite the table")
    arguments = parser.parse_args()
    for name in arguments.recipes:
        runs = [
            one_run(name, seed, arguments.out, arguments.data, arguments.data_dir, arguments.set)
            for seed in range(arguments.seeds)
        ]
        measured = summarise(runs, arguments.set)
        write_measured(name, measured)
        print(f"{name}: {measured.accuracy:.2f} ± {measured.std} % on {measured.split} (n={measured.n})", flush=True)
    write_table()


if __name__ == "__main__":
    main()
