"""What does a style transfer take, against what was announced, and how much of it is the network's own work?

Run it from the root of the project, on a machine that does nothing else::

    python benchmarks/style.py PHOTO PAINTING    # writes results/style.json and results/style.md

What is measured, each as a ratio within one run:

- ``cnnlab style`` in a fresh process per size, with its defaults: the time and the memory that it announces before the
  first step, the time of its steps, the time of the whole command, and the peak memory of the process (its largest
  resident set, which the system keeps). Linux and macOS only.
- the same memory for the networks of ``--memory-of``, with random weights and two steps per size: it depends neither on
  the weights nor on the number of steps.
- one step of the optimisation at the largest of these sizes, for each description of style, against a bare forward and
  backward pass through the same layers with the same image. They take turns: A B C A B C ...; a ratio is the median
  over the rounds of the ratio within a round. Each runs twice before that without being timed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import cnnlab
from cnnlab.generate.descent import Canvas, Descent
from cnnlab.generate.extractor import open_network
from cnnlab.generate.style import StyleSettings, style_job
from cnnlab.generate.style_targets import STYLE_TARGETS
from cnnlab.hardware import processor_name

# `cnnlab` with the arguments that follow, and then its peak memory in bytes on a line of its own.
COMMAND = """
import sys
from cnnlab.cli import main
from cnnlab.hardware import peak_resident_memory
try:
    main(sys.argv[1:])
finally:
    print(peak_resident_memory())
"""


def measure_command(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Run ``cnnlab style`` in a process of its own; return its forecast, its time and its memory."""
    command = [sys.executable, "-c", COMMAND, "style", options.photo, options.painting, "--size", size, "--json"]
    folder = options.pictures / f"{options.network}-{size}"
    command += ["--network", options.network, "--device", "cpu", "--out", folder]
    command += ["--weights", options.weights] if options.weights else []
    command += ["--steps", options.steps] if options.steps else []
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    whole = time.perf_counter() - start
    text, _, peak = done.stdout.strip().rpartition("\n")
    answer, peak_bytes = json.loads(text), int(peak)
    expected = answer["forecast"]
    return {
        "network": options.network,
        "size": expected["size"],
        "steps": expected["steps"],
        "announced_seconds": expected["seconds"],
        "seconds": answer["seconds"],
        "whole_seconds": whole,
        "announced_memory": expected["memory"],
        "peak_memory": peak_bytes,
        "memory_ratio": expected["memory"] / peak_bytes,
    }


def measure_steps(options: argparse.Namespace, size: int) -> list[dict[str, Any]]:
    """Time a step of each description of style against a bare forward and backward pass."""
    network = open_network(options.network, options.weights, device="cpu")
    calls: dict[str, Callable[[], object]] = {}
    for kind in STYLE_TARGETS:
        settings = StyleSettings(kind=kind, descent=Descent(size, size))
        job = style_job(network, options.photo, [options.painting], settings)
        canvas, objective = Canvas(job.start(job.sizes[0]), job.descent), job.objective(job.sizes[0])
        calls[kind] = lambda canvas=canvas, objective=objective: canvas.step(objective)  # type: ignore[misc]
    image = job.start(job.sizes[0]).requires_grad_()

    def bare() -> None:
        outputs = job.extractor(image)
        torch.autograd.grad(torch.stack([output.mean() for output in outputs.values()]).sum(), [image])

    calls = {"a bare forward and backward pass": bare} | calls
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(options.rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    first = seconds["a bare forward and backward pass"]
    return [
        {
            "step": name,
            "seconds": statistics.median(times),
            "ratio": statistics.median(one / bare for one, bare in zip(times, first, strict=True)),
        }
        for name, times in seconds.items()
    ]


def page(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "# Style transfer: announced and taken",
        "",
        f"Made by `python benchmarks/style.py` on {result['date']}: {result['processor']}, {result['threads']} "
        f"threads; {versions}. {result['network']}, one run per size, {result['rounds']} rounds of steps. The script "
        "says what is measured and how.",
        "",
        "| pixels | steps | announced | taken | whole command | memory announced | peak | announced / peak |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["commands"]:
        height, width = row["size"]
        lines.append(
            f"| {width} x {height} | {row['steps']} | {row['announced_seconds']:.0f} s | {row['seconds']:.0f} s "
            f"| {row['whole_seconds']:.0f} s | {row['announced_memory'] / 2**20:.0f} MiB "
            f"| {row['peak_memory'] / 2**20:.0f} MiB | {row['memory_ratio']:.2f} |"
        )
    if result["memory"]:
        lines += ["", "The memory of other networks:", "", "| network | pixels | announced | peak | announced / peak |"]
        lines += ["|---|---:|---:|---:|---:|"]
    for row in result["memory"]:
        lines.append(
            f"| {row['network']} | {row['size'][1]} x {row['size'][0]} | {row['announced_memory'] / 2**20:.0f} MiB "
            f"| {row['peak_memory'] / 2**20:.0f} MiB | {row['memory_ratio']:.2f} |"
        )
    lines += ["", f"One step at {result['commands'][-1]['size'][1]} pixels:", "", "| | seconds | of the bare pass |"]
    lines += ["|---|---:|---:|"]
    lines += [f"| {row['step']} | {row['seconds']:.3f} | {row['ratio']:.2f} |" for row in result["steps"]]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, help="the photo")
    parser.add_argument("painting", type=Path, help="the painting")
    parser.add_argument("--sizes", default="256,384,512", help="longer sides in pixels (default 256,384,512)")
    parser.add_argument("--network", default="efficientnet_lite0", help="the network (default efficientnet_lite0)")
    parser.add_argument("--weights", help="its weights (default: its public ones)")
    parser.add_argument("--steps", type=int, help="steps per size (default: those of the command)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of steps (default 5)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results (default results)")
    parser.add_argument("--pictures", type=Path, default=Path("looks/benchmark"), help="folder of the pictures")
    parser.add_argument("--memory-of", default="", metavar="NETWORKS", help="other networks, with commas between them")
    options = parser.parse_args(arguments)
    others = [name for name in options.memory_of.split(",") if name]
    brief = {"weights": "random", "steps": 2}
    sizes = [int(size) for size in options.sizes.split(",")]
    result = {
        "network": options.network,
        "rounds": options.rounds,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "versions": {
            "cnnlab": cnnlab.__version__,
            "torch": str(torch.__version__),
            "Python": platform.python_version(),
        },
        "commands": [measure_command(options, size) for size in sizes],
        "memory": [
            measure_command(argparse.Namespace(**vars(options) | brief | {"network": name}), size)
            for name in others
            for size in dict.fromkeys((sizes[0], sizes[-1]))
        ],
        "steps": measure_steps(options, sizes[-1]),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "style.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "style.md").write_text(page(result), encoding="utf-8")
    print(page(result))
    return result


if __name__ == "__main__":
    main()
