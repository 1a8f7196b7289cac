"""Examine every script of the museum, with its bug and mended, and every shipped recipe by `cnnlab why`.

::

    python benchmarks/why.py                             # everything; the photos and data sets in ../shared/data
    python benchmarks/why.py dead_relus lenet5-mnist5k   # these again; the others keep their rows

The table in ``results/why.md`` and ``results/why.json`` are written from the answers; nothing is typed in. Rows are
saved as they come, so that a long run can be interrupted and go on with ``--missing``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cnnlab
from cnnlab.files import write_text

ROOT = Path(__file__).parents[1]
MUSEUM = ROOT / "lessons" / "museum"
RESULTS = ROOT / "results" / "why.json"

# Script -> the findings that name its bug.
NAMES = {
    "all_weights_zero": {"constant initialisation"},
    "batchnorm_of_two": {"BatchNorm with tiny batches"},
    "broadcast_loss": {"loss broadcasts"},
    "clipped_to_nothing": {"gradient clipped to nothing"},
    "crop_of_four_pixels": {"augmentation destroys the image"},
    "dead_relus": {"dead units"},
    "deep_sigmoid": {"vanishing gradients", "saturated units"},
    "detach_in_forward": {"gradient cut off"},
    "divided_by_255_twice": {"inputs too small"},
    "dropout_as_keep_probability": {"dropout too strong"},
    "eval_while_training": {"eval mode while training"},
    "gradients_never_zeroed": {"gradients not zeroed"},
    "head_frozen_too": {"last layer frozen"},
    "head_replaced_too_late": {"optimizer of other parameters"},
    "images_all_black": {"constant images"},
    "labels_shifted": {"validation labels differ"},
    "labels_shuffled_apart": {"labels do not fit images"},
    "layers_in_a_list": {"unregistered parameters"},
    "loss_made_anew": {"loss without gradient"},
    "loss_summed": {"loss summed over the batch"},
    "mean_of_another_scale": {"inputs not normalised", "inputs too small"},
    "no_nonlinearity": {"no activation"},
    "not_shuffled": {"data not shuffled"},
    "one_class_in_a_hundred": {"imbalance"},
    "optimizer_of_another_model": {"optimizer of other parameters"},
    "pixels_not_scaled": {"inputs not scaled"},
    "rate_too_high": {"learning rate too high"},
    "rate_too_low": {"learning rate too low"},
    "reshape_for_permute": {"pixels scrambled", "images look like noise"},
    "schedule_per_batch": {"learning rate falls to zero"},
    "softmax_before_cross_entropy": {"softmax before cross entropy"},
    "softmax_over_the_batch": {"softmax over the batch"},
    "sorted_split": {"missing class"},
    "step_forgotten": {"optimizer never steps"},
    "validated_on_the_training_images": {"validation images in training"},
    "view_mixes_the_batch": {"images mixed in the batch"},
    "weight_decay_of_one": {"weight decay too strong"},
    "weights_too_large": {"loss far above log C"},
    "zero_grad_too_late": {"gradients erased before the update"},
}

# Mended scripts -> the warnings that are true of them all the same: their bodies are random and not trained.
TRUE_OF_MENDED = {
    "head_frozen_too": {"random weights frozen"},
    "head_replaced_too_late": {"parameters missing in the optimizer"},
}


def ask(target: str, *options: str) -> dict[str, Any]:
    """Run `cnnlab why` and return its answer: the findings that are no notes, and its seconds."""
    before, began = _processor_seconds(), time.perf_counter()
    command = [sys.executable, "-m", "cnnlab", "why", target, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 1):
        raise SystemExit(f"{target}: {done.stderr}")
    findings = [one for one in json.loads(done.stdout)["findings"] if one["severity"] != "note"]
    return {
        "findings": [[one["severity"], one["kind"]] for one in findings],
        "seconds": round(seconds, 1),
        "processor_seconds": round(_processor_seconds() - before, 1),
    }


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ask_about(name: str) -> list[dict[str, Any]]:
    """Return the rows of a script, as it stands and mended, or of a recipe."""
    if name in NAMES:
        script = MUSEUM / f"{name}.py"
        with tempfile.TemporaryDirectory() as folder:
            mended = Path(folder, f"{name}.py")
            text = script.read_text(encoding="utf-8")
            mended.write_text(text.replace("FIXED = False", "FIXED = True", 1), encoding="utf-8")
            return [
                {"name": name, "what": "bug", **ask(str(script))},
                {"name": name, "what": "mended", **ask(str(mended))},
            ]
    data = os.environ.get("CNNLAB_TEST_DATA", str(ROOT.parent / "shared" / "data"))
    photos = cnnlab.load_recipe(name).data == "photos"
    options = ("--data", str(Path(data, "hymenoptera"))) if photos else ("--data-dir", data)
    return [{"name": name, "what": "recipe", **ask(name, *options)}]


def is_right(row: dict[str, Any]) -> bool:
    """Whether a bug is named first, and where there is none, nothing false is said."""
    if row["what"] == "bug":
        return bool(row["findings"]) and row["findings"][0][1] in NAMES[row["name"]]
    true = TRUE_OF_MENDED.get(row["name"], set()) if row["what"] == "mended" else set()
    return all(severity == "warning" and kind in true for severity, kind in row["findings"])


def page(rows: list[dict[str, Any]]) -> str:
    """Return ``results/why.md``."""
    parts = {what: [row for row in rows if row["what"] == what] for what in ("bug", "mended", "recipe")}
    right = {what: f"{sum(map(is_right, part))} of {len(part)}" for what, part in parts.items()}
    processor = sorted(row["processor_seconds"] for row in rows)
    median, most = processor[len(processor) // 2], processor[-1]
    head = [
        "# What `cnnlab why` says about planted bugs",
        "",
        f"Named first: {right['bug']} bugs of `lessons/museum`. Without an alarm: {right['mended']} of these scripts",
        f"mended, {right['recipe']} shipped recipes. Processor time: median {median:.1f} s, at most {most:.1f} s, with",
        "starting Python. Written by `python benchmarks/why.py`.",
        "",
        "| script | first finding | right | processor s | mended | recipe or script without a bug: processor s |",
        "|---|---|---|---|---|---|",
    ]
    mended = {row["name"]: row for row in parts["mended"]}
    for row in parts["bug"]:
        first = row["findings"][0][1] if row["findings"] else "nothing"
        other = mended[row["name"]]
        head.append(
            f"| {row['name']} | {first} | {'yes' if is_right(row) else 'no'} | {row['processor_seconds']:.1f} "
            f"| {_said(other)} | {other['processor_seconds']:.1f} |"
        )
    head += [
        f"| recipe {row['name']} | | | | {_said(row)} | {row['processor_seconds']:.1f} |" for row in parts["recipe"]
    ]
    return "\n".join(head) + "\n"


def _said(row: dict[str, Any]) -> str:
    return ", ".join(f"{severity}: {kind}" for severity, kind in row["findings"]) or "no alarm"


def main() -> None:
    """Ask about the scripts and recipes, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="scripts of the museum and recipes; all by default")
    parser.add_argument("--missing", action="store_true", help="only those without a row")
    arguments = parser.parse_args()
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    names = arguments.names or [*NAMES, *cnnlab.list_recipes()]
    if arguments.missing:
        names = [name for name in names if name not in {row["name"] for row in rows}]
    for name in names:
        try:
            new = ask_about(name)
        except SystemExit as error:
            if arguments.names:
                raise
            print(f"left out {error}", file=sys.stderr)  # a recipe whose weights are not here
            continue
        for row in new:
            print(f"{row['what']:7}{name:36}{'right' if is_right(row) else 'WRONG'}  {_said(row)}", flush=True)
        rows = [row for row in rows if row["name"] != name] + new
        order = [*NAMES, *cnnlab.list_recipes()]
        rows.sort(key=lambda row: (order.index(row["name"]), row["what"]))
        write_text(RESULTS, json.dumps(rows, indent=1) + "\n")
        write_text(RESULTS.with_suffix(".md"), page(rows))


if __name__ == "__main__":
    main()
