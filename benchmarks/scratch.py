"""How fast are the layers and classifiers of ``cnnlab.scratch``: against loops, against torch, against scikit-learn?

Run it from the root of the project, on a machine that does nothing else::

    python benchmarks/scratch.py                 # minutes; writes results/scratch.json and results/scratch.md
    python benchmarks/scratch.py --threads 2     # BLAS, torch and scikit-learn with two threads each
    python benchmarks/scratch.py --quick         # tiny sizes, to try this script; the ratios mean nothing

Every number is a ratio of two times within this process. The ways that are compared take turns, A B C ... A B C ..., so
that a machine that gets slower gets slower for all; what takes milliseconds is repeated within its turn, and a run
before the first round is not counted. A ratio is the median over the rounds of the ratio within a round. Naive loops
take seconds and are timed ``--slow-rounds`` times, without a run before; then the ratio is that of the medians. Memory
is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from cnnlab.hardware import peak_resident_memory, processor_name
from cnnlab.scratch.classifiers import KNearestNeighbor
from cnnlab.scratch.classifiers.linear import svm_loss_vectorized
from cnnlab.scratch.layers._im2col import Geometry
from cnnlab.scratch.layers.conv import conv_backward, conv_forward
from cnnlab.scratch.layers.conv_naive import conv_backward_naive, conv_forward_naive
from cnnlab.scratch.layers.loss import svm_loss_naive
from cnnlab.scratch.layers.norm import batchnorm_backward, batchnorm_backward_alt, batchnorm_forward
from cnnlab.scratch.layers.pool import max_pool_backward, max_pool_forward
from cnnlab.scratch.layers.pool_naive import max_pool_backward_naive, max_pool_forward_naive

Array = npt.NDArray[Any]
Way = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """The time of one way over that of another, and what it should be.

    Attributes:
        over, under: names of ways.
        goal: the ratio that is asked for, if one is; ``at_most``: whether from below.
    """

    over: str
    under: str
    goal: float | None = None
    at_most: bool = False

    def row(self, seconds: dict[str, list[float]]) -> dict[str, Any]:
        """Plain values for JSON."""
        over, under = seconds[self.over], seconds[self.under]
        if len(over) == len(under):
            value = statistics.median(a / b for a, b in zip(over, under, strict=True))
        else:
            value = statistics.median(over) / statistics.median(under)
        reached = None if self.goal is None else value <= self.goal if self.at_most else value >= self.goal
        return {**vars(self), "value": value, "reached": reached}


@dataclass(frozen=True)
class Contest:
    """Several ways to compute the same.

    Attributes:
        title: what is computed. ``size``: of what.
        ways: name and function of each.
        ratios: which are compared.
        slow: the ways that are loops in Python.
    """

    title: str
    size: str
    ways: dict[str, Way]
    ratios: Sequence[Ratio]
    slow: Sequence[str] = ()

    def measure(self, rounds: int, slow_rounds: int, least: float) -> dict[str, Any]:
        """Let all ways take turns of at least ``least`` seconds; return what is written to JSON."""
        seconds: dict[str, list[float]] = {name: [] for name in self.ways}
        fast = {name: way for name, way in self.ways.items() if name not in self.slow}
        times = {name: math.ceil(least / clocked(way, 1)) or 1 for name, way in fast.items()}
        for turn in range(rounds):
            for name, way in self.ways.items():
                if name in fast or turn < slow_rounds:
                    seconds[name].append(clocked(way, times.get(name, 1)))
        return {
            "title": self.title,
            "size": self.size,
            "milliseconds": {name: 1000 * statistics.median(times) for name, times in seconds.items()},
            "ratios": [ratio.row(seconds) for ratio in self.ratios],
        }


def clocked(way: Way, times: int) -> float:
    """Seconds that one of so many runs takes."""
    start = time.perf_counter()
    for _ in range(times):
        way()
    return (time.perf_counter() - start) / times


# --- convolution and pooling ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conv:
    """Images, filters and settings of a convolution."""

    images: tuple[int, int, int, int]
    filters: tuple[int, int, int, int]
    stride: int = 1
    pad: int = 0
    groups: int = 1

    @property
    def param(self) -> dict[str, int]:
        extra = {"groups": self.groups} if self.groups > 1 else {}
        return {"stride": self.stride, "pad": self.pad, **extra}

    @property
    def size(self) -> str:
        F, _, HH, WW = self.filters
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.images}, {F} filters {HH}x{WW}, stride {self.stride}, pad {self.pad}{groups}"

    def arrays(self, dtype: Any = np.float32) -> tuple[Array, Array, Array]:
        shapes = self.images, self.filters, self.filters[:1]
        x, w, b = (random(shape, dtype) for shape in shapes)
        return x, w, b


def random(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def conv_against_loops(conv: Conv) -> Contest:
    """The shape of the course's assignment 2, in float64 as there."""
    x, w, b = conv.arrays(np.float64)
    (out, cache), (_, cache_naive) = conv_forward(x, w, b, conv.param), conv_forward_naive(x, w, b, conv.param)
    ways: dict[str, Way] = {
        "naive forward": lambda: conv_forward_naive(x, w, b, conv.param),
        "fast forward": lambda: conv_forward(x, w, b, conv.param),
        "naive backward": lambda: conv_backward_naive(out, cache_naive),
        "fast backward": lambda: conv_backward(out, cache),
    }
    ratios = [Ratio(f"naive {way}", f"fast {way}", 300) for way in ("forward", "backward")]
    return Contest("convolution against loops", f"{conv.size}, float64", ways, ratios, list(ways)[::2])


def conv_against_torch(conv: Conv, goal: float | None = None) -> Contest:
    """Forward, backward, and one after the other, in float32."""
    x, w, b = conv.arrays()
    out, cache = conv_forward(x, w, b, conv.param)
    tensors = images, filters, biases = [torch.tensor(array, requires_grad=True) for array in (x, w, b)]
    dout = torch.tensor(out)

    def in_torch() -> torch.Tensor:
        return F.conv2d(images, filters, biases, conv.stride, conv.pad, 1, conv.groups)

    def torch_forward() -> None:
        with torch.no_grad():
            in_torch()

    graph = in_torch()
    ways: dict[str, Way] = {
        "forward": lambda: conv_forward(x, w, b, conv.param),
        "torch forward": torch_forward,
        "backward": lambda: conv_backward(out, cache),
        "torch backward": lambda: torch.autograd.grad(graph, tensors, dout, retain_graph=True),
        "both": lambda: conv_backward(out, conv_forward(x, w, b, conv.param)[1]),
        "torch both": lambda: torch.autograd.grad(in_torch(), tensors, dout),
    }
    ratios = [Ratio("forward", "torch forward"), Ratio("backward", "torch backward")]
    ratios += [Ratio("both", "torch both", goal, at_most=True)]
    if goal is not None:
        ways["matrix products of both"] = matrix_products(conv)
        ratios += [Ratio("matrix products of both", "both")]
    return Contest("convolution against torch", f"{conv.size}, float32", ways, ratios)


def matrix_products(conv: Conv) -> Way:
    """The products of a forward and a backward pass, without what comes before and after: the least it can take."""
    x, w, b = conv.arrays()
    geometry = Geometry(x, w, b, conv.param)
    filters, (flat, _) = geometry.as_matrices(w), geometry.empty_outputs()
    columns = np.ones((conv.groups, filters.shape[2], geometry.chunk), geometry.dtype)
    dcolumns = np.empty_like(columns)

    def products() -> None:
        for images in geometry.blocks():
            for positions in geometry.chunks(images.stop - images.start):
                count = positions.stop - positions.start
                part, output = columns[:, :, :count], flat[:, :, positions]
                np.matmul(filters, part, out=output)
                np.matmul(output, part.swapaxes(1, 2))
                np.matmul(filters.swapaxes(1, 2), output, out=dcolumns[:, :, :count])

    return products


def pooling(shape: tuple[int, ...], window: int, stride: int) -> Contest:
    """Max pooling: loops, views, torch."""
    x, param = random(shape), {"pool_height": window, "pool_width": window, "stride": stride}
    (out, cache), (_, cache_naive) = max_pool_forward(x, param), max_pool_forward_naive(x, param)
    tensor, dout = torch.tensor(x, requires_grad=True), torch.tensor(out)
    graph = F.max_pool2d(tensor, window, stride)
    ways: dict[str, Way] = {
        "naive forward": lambda: max_pool_forward_naive(x, param),
        "fast forward": lambda: max_pool_forward(x, param),
        "torch forward": lambda: F.max_pool2d(tensor, window, stride),
        "naive backward": lambda: max_pool_backward_naive(out, cache_naive),
        "fast backward": lambda: max_pool_backward(out, cache),
        "torch backward": lambda: torch.autograd.grad(graph, tensor, dout, retain_graph=True),
        "fast both": lambda: max_pool_backward(out, max_pool_forward(x, param)[1]),
        "torch both": lambda: torch.autograd.grad(F.max_pool2d(tensor, window, stride), tensor, dout),
    }
    ratios = [Ratio("naive forward", "fast forward"), Ratio("naive backward", "fast backward")]
    ratios += [Ratio(f"fast {way}", f"torch {way}") for way in ("forward", "backward", "both")]
    size = f"{shape}, windows {window}x{window}, stride {stride}, float32"
    return Contest("max pooling", size, ways, ratios, ["naive forward", "naive backward"])


# --- what else is compared ------------------------------------------------------------------------------------------


def batch_normalisation(shape: tuple[int, int]) -> Contest:
    """The backward pass through the graph, and in closed form."""
    x, gamma, beta = random(shape), np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32)
    out, cache = batchnorm_forward(x, gamma, beta, {"mode": "train"})
    ways: dict[str, Way] = {
        "graph": lambda: batchnorm_backward(out, cache),
        "closed form": lambda: batchnorm_backward_alt(out, cache),
    }
    return Contest("BatchNorm, backward", f"{shape}, float32", ways, [Ratio("graph", "closed form", 1)])


def nearest_neighbours(queries: int, training: int, features: int, dtype: type, loops: bool) -> Contest:
    """Distances by loops (if asked for) and by a matrix product; distances and predictions by scikit-learn."""
    rng = np.random.default_rng(0)
    pixels: Array = rng.integers(0, 256, (queries + training, features)).astype(dtype)
    X, X_train, labels = pixels[:queries], pixels[queries:], rng.integers(0, 10, training)
    ours = KNearestNeighbor(k=5).fit(X_train, labels)
    theirs = KNeighborsClassifier(n_neighbors=5, algorithm="brute").fit(X_train, labels)
    slow: dict[str, Way] = {
        "two loops": lambda: ours.compute_distances_two_loops(X),
        "one loop": lambda: ours.compute_distances_one_loop(X),
    }
    ways: dict[str, Way] = {
        **(slow if loops else {}),
        "no loop": lambda: ours.compute_distances_no_loop(X),
        "scikit-learn": lambda: euclidean_distances(X, X_train),
        "predict": lambda: ours.predict(X),
        "scikit-learn predict": lambda: theirs.predict(X),
    }
    ratios = [Ratio("two loops", "no loop", 80), Ratio("one loop", "no loop")] if loops else []
    ratios.append(Ratio("no loop", "scikit-learn", 1, at_most=True))
    ratios.append(Ratio("predict", "scikit-learn predict", 1, at_most=True))
    size = f"{queries} x {training} x {features}, {np.dtype(dtype)}"
    return Contest("nearest neighbours", size, ways, ratios, list(slow))


def hinge_loss(examples: int, features: int, classes: int) -> Contest:
    """Loss and gradient of a linear SVM, in loops and as matrices."""
    W, X = 1e-4 * random((features, classes)), random((examples, features))
    y = np.random.default_rng(0).integers(0, classes, examples)
    ways: dict[str, Way] = {
        "naive": lambda: svm_loss_naive(W, X, y, 1e-5),
        "vectorised": lambda: svm_loss_vectorized(W, X, y, 1e-5),
    }
    size = f"{examples} x {features}, {classes} classes, float32"
    return Contest("SVM loss", size, ways, [Ratio("naive", "vectorised", 1)])


def contests(quick: bool) -> Iterator[Contest]:
    """Everything that is compared; the first of each kind has the size that the goal is about."""
    n = 1 if quick else 64
    yield conv_against_loops(Conv((n if quick else 100, 3, 31, 31), (25, 3, 3, 3), stride=2, pad=1))
    yield conv_against_torch(Conv((n, 64, 32, 32), (64, 64, 3, 3), pad=1), goal=3)
    yield conv_against_torch(Conv((n, 3, 32, 32), (32, 3, 7, 7), pad=3))
    yield conv_against_torch(Conv((n, 128, 16, 16), (128, 128, 3, 3), pad=1))
    yield conv_against_torch(Conv((n, 256, 8, 8), (256, 256, 3, 3), pad=1))
    yield conv_against_torch(Conv((n, 512, 4, 4), (512, 512, 3, 3), pad=1))
    yield conv_against_torch(Conv((n, 64, 33, 33), (128, 64, 3, 3), stride=2, pad=1))
    yield conv_against_torch(Conv((n, 64, 32, 32), (128, 64, 1, 1)))
    yield conv_against_torch(Conv((n, 64, 32, 32), (64, 1, 3, 3), pad=1, groups=64))
    yield pooling((n, 32, 32, 32), 2, 2)
    yield pooling((n, 64, 31, 31), 3, 2)
    yield batch_normalisation((50 if quick else 500, 500))
    yield hinge_loss(20 if quick else 500, 3073, 10)
    sizes = (5, 50, 30) if quick else (500, 5000, 3072)
    yield nearest_neighbours(*sizes, np.float32, loops=True)
    yield nearest_neighbours(*sizes, np.float64, loops=False)


# --- memory ---------------------------------------------------------------------------------------------------------


def measure_memory(images: int) -> dict[str, Any]:
    """What a forward and a backward pass need beyond x, w, b and dout, their results included, in a new process."""
    command = [sys.executable, __file__, "--memory-of", str(images)]
    gib = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    size = Conv((images, 64, 56, 56), (64, 64, 3, 3), pad=1).size
    return {"size": f"{size}, float32", "gib": gib, "goal": 2.0, "reached": gib <= 2.0}


def memory_in_this_process(images: int) -> float:
    """GiB by which a forward and a backward pass raise the largest memory this process ever had."""
    conv = Conv((images, 64, 56, 56), (64, 64, 3, 3), pad=1)
    x, w, b = np.ones(conv.images, np.float32), np.ones(conv.filters, np.float32), np.ones(64, np.float32)
    dout = np.ones((images, 64, 56, 56), np.float32)
    before = peak_resident_memory() or 0
    out, cache = conv_forward(x, w, b, conv.param)
    gradients = conv_backward(dout, cache)
    after = peak_resident_memory() or 0
    assert out.shape == dout.shape
    assert gradients[0].shape == x.shape
    return (after - before) / 2**30


# --- what comes out -------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    """The machine, the threads, and the versions."""
    packages = ("numpy", "torch", "scikit-learn", "threadpoolctl")
    return {
        "processor": processor_name(),
        "threads": {"torch": torch.get_num_threads()}
        | {f"{pool['user_api']} ({pool['internal_api']})": pool["num_threads"] for pool in threadpool_info()},
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "date": datetime.now(UTC).date().isoformat(),
    }


def table(result: dict[str, Any]) -> str:
    """All ratios in Markdown."""
    lines = ["| what | of | ratio of times | reached | goal |", "|---|---|---|---:|---:|"]
    for contest in result["contests"]:
        what, size = contest["title"], contest["size"]
        for ratio in contest["ratios"]:
            over, under = (
                f"{name} {duration(contest['milliseconds'][name])}" for name in (ratio["over"], ratio["under"])
            )
            lines.append(f"| {what} | {size} | {over} / {under} | {number(ratio['value'])} | {goal_of(ratio)} |")
            what = size = ""
    memory = result["memory"]
    lines.append(
        f"| convolution, memory | {memory['size']} | forward + backward, beyond x, w, b and dout "
        f"| {memory['gib']:.2f} GiB | at most {memory['goal']:g} GiB{'' if memory['reached'] else ': missed'} |"
    )
    return "\n".join(lines)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.2f}"


def duration(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 20 else f"{milliseconds:.2f} ms"


def goal_of(ratio: dict[str, Any]) -> str:
    if ratio["goal"] is None:
        return ""
    return f"at {'most' if ratio['at_most'] else 'least'} {ratio['goal']:g}{'' if ratio['reached'] else ': missed'}"


def what_limits(result: dict[str, Any]) -> str:
    """Where the time of the fast convolution goes."""
    contest = next(contest for contest in result["contests"] if contest["title"] == "convolution against torch")
    share = next(ratio["value"] for ratio in contest["ratios"] if ratio["over"].startswith("matrix products"))
    large, small = (wasted(Conv((1, 1, side, side), (1, 1, 3, 3), pad=1)) for side in (32, 4))
    return (
        f"Of the fast convolution ({contest['size']}) {share:.0%} of the time are its three matrix products, which "
        "BLAS computes. The rest goes into laying out images, copying columns and adding them up again, at the speed "
        "of memory and on one thread whatever their number. Some of the products are for places between the lines of "
        f"the images that do not count: {large:.0%} more than needed for images of 32x32 pixels, {small:.0%} for 4x4."
    )


def wasted(conv: Conv) -> float:
    """The share by which the matrix products are larger than they would have to be."""
    geometry = Geometry(*conv.arrays(), conv.param)
    return geometry.height * geometry.width / math.prod(geometry.out_shape[2:]) - 1


def as_markdown(result: dict[str, Any]) -> str:
    """The page ``scratch.md``."""
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    threads = ", ".join(f"{name} {value}" for name, value in result["threads"].items())
    quick = "**A quick run on tiny sizes: the ratios mean nothing.** " if result["quick"] else ""
    parts = [
        "# Speed of the layers and classifiers in NumPy",
        f"{quick}Made by `python benchmarks/scratch.py` on {result['date']}: {result['processor']}; "
        f"threads: {threads}; {versions}. Median of {result['rounds']} rounds; naive loops were timed "
        f"{result['slow_rounds']} time(s). "
        "The script says how it is measured.",
        table(result),
        what_limits(result),
    ]
    return "\n\n".join(parts) + "\n"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare the layers of cnnlab.scratch with loops, torch, scikit-learn."
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns of every way, after one that is not counted")
    parser.add_argument("--slow-rounds", type=int, default=1, help="turns of naive loops")
    parser.add_argument("--threads", type=int, default=1, help="of BLAS, torch and scikit-learn (default 1)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for scratch.json and scratch.md")
    parser.add_argument(
        "--memory-of", type=int, metavar="IMAGES", help="only print the memory of a convolution, in GiB"
    )
    arguments = parser.parse_args(argv)
    for name in ("rounds", "slow_rounds", "threads"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if arguments.slow_rounds > arguments.rounds:
        parser.error("--slow-rounds must not be more than --rounds")
    return arguments


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Measure, print, write the files and return what went into the JSON."""
    arguments = parse_arguments(argv)
    if arguments.memory_of is not None:
        print(memory_in_this_process(arguments.memory_of))
        return None
    threads_before = torch.get_num_threads()
    try:
        torch.set_num_threads(arguments.threads)
        with threadpool_limits(arguments.threads):
            result = environment()
            print(f"threads: {result['threads']}")
            result |= {"quick": arguments.quick, "rounds": arguments.rounds, "slow_rounds": arguments.slow_rounds}
            result |= {"memory": measure_memory(2 if arguments.quick else 256), "contests": []}
            least = 0.0 if arguments.quick else 0.05
            for contest in contests(arguments.quick):
                print(f"{contest.title}: {contest.size}", flush=True)
                result["contests"].append(contest.measure(arguments.rounds, arguments.slow_rounds, least))
    finally:
        torch.set_num_threads(threads_before)
    print("\n" + table(result) + "\n\n" + what_limits(result))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "scratch.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "scratch.md").write_text(as_markdown(result), encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
