"""How fast are the explanations of ``cnnlab``, compared with captum's and pytorch-grad-cam's?

Run it from the root of the project, on a machine that does nothing else::

    python benchmarks/explain.py               # writes results/explain.json and results/explain.md

What is compared, within one process, on one image and one network with random weights:

- occlusion, patch 32 and stride 8: ``cnnlab`` with its defaults; ``cnnlab`` with every patch through the whole network;
  captum with its defaults (one patch at a time) and with 16 patches at a time; the bare forward passes, one after the
  other and 16 at a time.
- integrated gradients with 64 steps: ``cnnlab``, captum with its default (all steps in one batch) and with 8 at a time.
- Grad-CAM: ``cnnlab``, captum, pytorch-grad-cam, and a bare forward and backward pass: the gradient of the score with
  respect to the image.
- Score-CAM with every channel: ``cnnlab``, and pytorch-grad-cam.
- several methods: ``explain_all`` without metrics of faithfulness, and the sum of separate calls.

The candidates of a group take turns: A B C ... A B C ..., so that a machine that gets slower gets slower for all.
Before that, each runs once without being timed; for ``cnnlab`` this first call follows the network's layers, which is
done once for a network, and its time is stated. A ratio is the median over the rounds of the ratio within a round. The
maps are compared too: the largest difference, in units of the largest value, and the rank correlation.

The peak memory of integrated gradients is that of a process that does nothing else, above what it had after a forward
and a backward pass.

pytorch-grad-cam needs torchvision. Beside a torch without CUDA both can be used after
``pip install --no-deps grad-cam ttach opencv-python-headless tqdm torchvision==0.28.0``; absent packages are left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import cnnlab  # noqa: E402
from benchmarks import peers  # noqa: E402
from cnnlab import explain  # noqa: E402
from cnnlab.explain.perturbation import partial  # noqa: E402
from cnnlab.explain.perturbation.sliding_windows import SlidingWindows  # noqa: E402
from cnnlab.hardware import has_fast_bf16, peak_resident_memory, processor_name  # noqa: E402
from cnnlab.tracing import list_layers  # noqa: E402
from cnnlab.zoo import create_model  # noqa: E402

RESULTS = ROOT / "results"
TARGET = 5
# Methods that need one pass and little more, so that what they share is most of what they do.
SHARING = ("saliency", "gradient_x_input", "gradcam", "gradcam_pp", "layercam")

Run = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """What everything is measured on.

    Attributes:
        name: of the network.
        model: in eval mode, with random weights and statistics.
        image: (1, C, H, W).
        window, stride: of occlusion.
        steps: of integrated gradients.
    """

    name: str
    model: nn.Module
    image: Tensor
    window: int
    stride: int
    steps: int


@dataclass
class Group:
    """Candidates that do the same.

    Attributes:
        title: what they do.
        reference: the name of the candidate that ratios refer to.
        candidates: name -> what to run; it returns the map, or None.
    """

    title: str
    reference: str
    candidates: dict[str, Run]
    first: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    maps: dict[str, np.ndarray] = field(default_factory=dict)

    def measure(self, rounds: int) -> None:
        """Run every candidate once, and then in turns."""
        for name, run in self.candidates.items():
            started = time.perf_counter()
            found = run()
            self.first[name] = time.perf_counter() - started
            if isinstance(found, np.ndarray):
                self.maps[name] = found
        self.seconds = {name: [] for name in self.candidates}
        for _ in range(rounds):
            for name, run in self.candidates.items():
                started = time.perf_counter()
                run()
                self.seconds[name].append(time.perf_counter() - started)
        print("\n".join([self.title, *(f"  {name}: {statistics.median(s):.3f} s" for name, s in self.seconds.items())]))

    def rows(self) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        other = self.seconds[self.reference]
        rows = []
        for name, seconds in self.seconds.items():
            row = {
                "name": name,
                "seconds": statistics.median(seconds),
                "first_call": self.first[name],
                "ratio": statistics.median(a / b for a, b in zip(seconds, other, strict=True)),
                "rounds": seconds,
            }
            if name in self.maps and name != self.reference and self.reference in self.maps:
                mine, theirs = self.maps[name], self.maps[self.reference]
                row["difference"] = float(np.abs(mine - theirs).max() / np.abs(theirs).max())
                row["rank_correlation"] = float(spearmanr(mine.ravel(), theirs.ravel()).statistic)
            rows.append(row)
        return rows


def make_case(name: str, size: int, window: int, stride: int, steps: int) -> Case:
    """A network with random weights and statistics, and a random image."""
    torch.manual_seed(0)
    model = create_model(name, image_size=size).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return Case(name, model, torch.randn(1, 3, size, size), window, stride, steps)


def groups(case: Case) -> list[Group]:
    """Everything that is measured."""
    return [
        occlusion_group(case),
        integrated_gradients_group(case),
        gradcam_group(case),
        scorecam_group(case),
        several_group(case),
    ]


def occlusion_group(case: Case) -> Group:
    """Occlusion, and the bare passes that it consists of."""
    model, image, window, stride = case.model, case.image, case.window, case.stride
    height, width = image.shape[2:]
    count = len(SlidingWindows((height, width), (window, window), (stride, stride)))

    def whole() -> np.ndarray:
        trial, partial.TRIAL = partial.TRIAL, sys.maxsize  # too many to be tried
        try:
            return explain.occlusion(model, image, TARGET, window=window, stride=stride, precision="fp32").map
        finally:
            partial.TRIAL = trial

    def passes(size: int) -> None:
        with torch.inference_mode():
            for start in range(0, count, size):
                model(image.expand(min(size, count - start), -1, -1, -1).contiguous())

    def captum(size: int) -> np.ndarray:
        shape, step = (image.shape[1], window, window), (image.shape[1], stride, stride)
        with torch.no_grad():
            method = captum_attr().Occlusion(model)
            found = method.attribute(image, shape, step, 0, TARGET, perturbations_per_eval=size)
        return np.asarray(found[0, 0])

    candidates: dict[str, Run] = {
        "cnnlab": lambda: explain.occlusion(model, image, TARGET, window=window, stride=stride).map,
        "cnnlab, the whole network for every patch": whole,
    }
    if captum_attr():
        candidates |= {"captum": lambda: captum(1), "captum, 16 patches at a time": lambda: captum(16)}
    candidates |= {"bare passes": lambda: passes(1), "bare passes, 16 at a time": lambda: passes(16)}
    title = f"occlusion, patch {window}, stride {stride}: {count} patches"
    return Group(title, "captum" if captum_attr() else "bare passes", candidates)


def integrated_gradients_group(case: Case) -> Group:
    """Integrated gradients."""
    candidates: dict[str, Run] = {name: lambda name=name: integrated(case, name) for name in integrators()}  # type: ignore[misc]
    reference = "captum" if captum_attr() else "cnnlab"
    return Group(f"integrated gradients, {case.steps} steps", reference, candidates)


def integrators() -> list[str]:
    return ["cnnlab", *(["captum", "captum, 8 steps at a time"] if captum_attr() else [])]


def integrated(case: Case, name: str, times: int = 1) -> np.ndarray:
    """Run integrated gradients by one of the candidates, with a multiple of the steps."""
    steps = case.steps * times
    if name == "cnnlab":
        return explain.integrated_gradients(case.model, case.image, TARGET, steps=steps).values
    method = captum_attr().IntegratedGradients(case.model)
    batch = None if name == "captum" else 8
    found = method.attribute(case.image, 0, TARGET, n_steps=steps, internal_batch_size=batch)
    return np.asarray(found[0].detach())


def gradcam_group(case: Case) -> Group:
    """Grad-CAM, and the pass that it needs."""
    model, image, layer = case.model, case.image, default_layer(case)

    def bare() -> None:
        given = image.clone().requires_grad_()
        torch.autograd.grad(model(given)[0, TARGET], given)

    def captum() -> np.ndarray:
        attr = captum_attr()
        found = attr.LayerGradCam(model, layer).attribute(image, TARGET, relu_attributions=True)
        return np.asarray(attr.LayerAttribution.interpolate(found, image.shape[2:], "bilinear")[0, 0].detach())

    def peer() -> None:
        with grad_cam().GradCAM(model=model, target_layers=[layer]) as method:
            method(input_tensor=image, targets=[class_output(TARGET)])

    candidates: dict[str, Run] = {
        "cnnlab": lambda: explain.gradcam(model, image, TARGET).map,
        "forward and backward pass": bare,
    }
    candidates |= {"captum": captum} if captum_attr() else {}
    candidates |= {"pytorch-grad-cam": peer} if grad_cam() else {}
    return Group("Grad-CAM", "forward and backward pass", candidates)


def scorecam_group(case: Case) -> Group:
    """Score-CAM: a forward pass for every channel of the layer."""
    model, image, layer = case.model, case.image, default_layer(case)

    def peer() -> None:
        # It draws a bar there.
        with redirect_stderr(io.StringIO()), grad_cam().ScoreCAM(model=model, target_layers=[layer]) as method:
            method(input_tensor=image, targets=[class_output(TARGET)])

    candidates: dict[str, Run] = {"cnnlab": lambda: explain.scorecam(model, image, TARGET).map}
    candidates |= {"pytorch-grad-cam": peer} if grad_cam() else {}
    return Group("Score-CAM", "pytorch-grad-cam" if grad_cam() else "cnnlab", candidates)


def default_layer(case: Case) -> nn.Module:
    """The layer that ``cnnlab`` looks at by itself; the others look at it too."""
    found = list_layers(case.model, case.image).default
    assert found is not None
    return case.model.get_submodule(found.name)


def several_group(case: Case) -> Group:
    """Methods that share a pass, together and one by one."""

    def together() -> None:
        explain.explain_all(case.model, case.image, SHARING, explain.ExplainSettings(TARGET, faithfulness=False))

    def separately() -> None:
        for name in SHARING:
            getattr(explain, name)(case.model, case.image, TARGET)

    title = f"several methods: {', '.join(SHARING)}"
    return Group(title, "separate calls", {"explain_all": together, "separate calls": separately})


# Peers ---------------------------------------------------------------------------------------------------------------


def captum_attr() -> Any:
    """``captum.attr``, or None where captum is not installed."""
    return importlib.import_module("captum.attr") if importlib.util.find_spec("captum") else None


def grad_cam() -> Any:
    """``pytorch_grad_cam``, or None where it cannot be used."""
    try:
        return peers.library("pytorch_grad_cam")
    except (ImportError, RuntimeError):
        return None


def class_output(target: int) -> Any:
    """What pytorch-grad-cam calls the score of a class."""
    return importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(target)


# Memory --------------------------------------------------------------------------------------------------------------


def peak_memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak memory in MiB of integrated gradients, each in a process of its own."""
    if sys.platform == "win32":
        return []
    rows = []
    for name in integrators():
        for times in (1, 4) if name == "cnnlab" else (1,):
            command = [sys.executable, __file__, "--peak", name, "--times", str(times)]
            for option in ("model", "size", "window", "stride", "steps"):
                command += [f"--{option}", str(getattr(arguments, option))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"name": name, "steps": arguments.steps * times, "mib": float(done.stdout)})
            print(f"  {name}, {arguments.steps * times} steps: {rows[-1]['mib']:.0f} MiB")
    return rows


def measure_peak(case: Case, name: str, times: int) -> float:
    """Run integrated gradients, and return by how many MiB the peak of the process has risen."""
    case.model(case.image)[0, TARGET].backward()  # libraries and kernels are loaded
    list_layers(case.model, case.image)
    before = peak_resident_memory() or 0
    integrated(case, name, times)
    return ((peak_resident_memory() or 0) - before) / 2**20


# Results -------------------------------------------------------------------------------------------------------------


def page(result: dict[str, Any]) -> str:
    """The page of results."""
    threads = f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "# Explanations: how fast",
        "",
        f"Made by `python benchmarks/explain.py` on {result['date']}: {result['processor']}, {threads}, bf16 "
        f"{'in hardware' if result['fast_bf16'] else 'emulated'}; {versions}. {result['model']} with random weights, "
        f"one image of {result['size']}x{result['size']} pixels. Median of {result['rounds']} rounds in which the "
        "candidates take turns; a ratio is the median of the ratios within a round. The script says what is measured "
        "and how.",
        "",
    ]
    for group in result["groups"]:
        lines += [
            f"## {group['title'][0].upper()}{group['title'][1:]}",
            "",
            f"| | seconds | of {group['reference']} | first call | difference | rank correlation |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for row in group["rows"]:
            difference = f"{row['difference']:.1e}" if "difference" in row else ""
            correlation = f"{row['rank_correlation']:.6f}" if "rank_correlation" in row else ""
            lines.append(
                f"| {row['name']} | {row['seconds']:.3g} | {row['ratio']:.2f} | {row['first_call']:.3g} "
                f"| {difference} | {correlation} |"
            )
        lines.append("")
    if result["memory"]:
        lines += [
            "## Peak memory of integrated gradients",
            "",
            "Above what the process had after a forward and a backward pass.",
            "",
            "| | steps | MiB |",
            "|---|---:|---:|",
            *(f"| {row['name']} | {row['steps']} | {row['mib']:.0f} |" for row in result["memory"]),
            "",
        ]
    lines += [f"Left out: {', '.join(result['absent'])}, not installed.", ""] if result["absent"] else []
    return "\n".join(lines)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=224, help="of the image")
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--steps", type=int, default=64, help="of integrated gradients")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="groups whose title begins so, e.g. Grad-CAM; nothing is written")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for explain.json and explain.md")
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # what the processes that measure memory run
    parser.add_argument("--times", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for name in ("size", "window", "stride", "steps", "rounds", "times"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure everything and write the results."""
    options = parse_arguments(arguments)
    case = make_case(options.model, options.size, options.window, options.stride, options.steps)
    if options.peak:
        print(measure_peak(case, options.peak, options.times))
        return {}
    every = groups(case)
    wanted = [group for group in every if group.title.startswith(options.only or "")]
    if not wanted:
        sys.exit(f"No group begins with {options.only}; there are {'; '.join(group.title for group in every)}.")
    for group in wanted:
        group.measure(options.rounds)
    peers = {"captum": captum_attr(), "grad-cam": grad_cam()}
    result = {
        "model": options.model,
        "size": options.size,
        "rounds": options.rounds,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "fast_bf16": has_fast_bf16(torch.device("cpu")),
        "versions": {"cnnlab": cnnlab.__version__, "torch": str(torch.__version__)}
        | {name: version(name) for name, there in peers.items() if there}
        | {"Python": platform.python_version()},
        "absent": [name for name, there in peers.items() if not there],
        "groups": [{"title": group.title, "reference": group.reference, "rows": group.rows()} for group in wanted],
        "memory": [] if options.only else peak_memory(options),
    }
    if not options.only:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "explain.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        (options.out / "explain.md").write_text(page(result), encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
