"""Dropout on noisy toy data: two networks fit the same points, and their fits are watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.experiments.bench import share_initial_weights
from cnnlab.experiments.drawing import seed_bands
from cnnlab.experiments.study import Claim, Difference, Study, register_study
from cnnlab.figures.style import BLUE, INK, MUTED, ORANGE, new_figure, styled
from cnnlab.training.seeding import seeded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Row, Tables

POINTS, NOISE, HIDDEN = 50, 0.3, 100
RATES = {"no dropout": 0.0, "dropout": 0.2}
COLOURS = {"no dropout": BLUE, "dropout": ORANGE}
FRAMES = 25  # fits that are kept, besides the one before the first step
CPU = torch.device("cpu")
# What the second number of a position in `seeded` stands for; steps come after these.
WEIGHTS, DATA, STEPS = 0, 1, 2


@register_study
class DropoutToy(Study):
    """Two small networks fit noisy points of a straight line, one of them with dropout."""

    title = "What does dropout do to the fit of noisy points?"
    about = (
        "Two networks of one input, two hidden layers of 100 ReLU units and one output fit the same 50 points by Adam "
        "at a rate of 0.01, one with dropout of 20 % behind each hidden layer. The points lie on the line y = x and "
        "carry noise of standard deviation 0.3; every seed draws other noise and other weights. Both networks start "
        "from the same weights and see all points in every step. Errors are root mean squares with all units; the "
        "error to the line is measured at 201 places between -1 and 1. No images are used."
    )
    pairing = "Within a seed both networks share points and initial weights; both vary from seed to seed."
    claims = (
        Claim(
            "With dropout the fit ends nearer to the line without noise.",
            "CNN notebooks: dropout on toy data, two networks, the fit plotted while they train",
            Difference("no dropout", "dropout", "error_to_line"),
            worth=0.02,
            unit="units of y",
        ),
        Claim(
            "With dropout the network follows the noise less: its error at the training points is larger.",
            "CNN notebooks: dropout on toy data, two networks, the fit plotted while they train",
            Difference("dropout", "no dropout", "error_at_points"),
            worth=0.02,
            unit="units of y",
        ),
    )
    variants = tuple(RATES)

    def measure(self, bench: Bench) -> None:
        steps = bench.choose(tiny=50, small=1000, full=10_000)
        x, y = noisy_points(bench.seed)
        if bench.keeps_pictures:
            for across, up in zip(x[:, 0].tolist(), y[:, 0].tolist(), strict=True):
                bench.record("points", x=across, y=up)
        networks = {}
        for variant in bench.variants:
            with seeded(CPU, bench.seed, WEIGHTS):
                networks[variant] = small_network(RATES[variant])
        share_initial_weights(list(networks.values()))
        for variant, network in networks.items():
            optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
            for step in range(steps + 1):
                if step * FRAMES % steps == 0:
                    record_fit(bench, variant, network, step, (x, y))
                with seeded(CPU, bench.seed, STEPS + step):
                    loss = nn.functional.mse_loss(network(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {"error at the training points": "error_at_points", "error to the line without noise": "error_to_line"}
        last = max(int(row["step"]) for row in tables["fits"])
        return {
            "fit": fit_figure(tables, last),
            "errors": seed_bands(tables["errors"], self.variants, panels, "step"),
        }

    def animate(self, tables: Tables) -> dict[str, list[Figure]]:
        return {"fit_animated": [fit_figure(tables, step) for step in sorted({int(r["step"]) for r in tables["fits"]})]}


def noisy_points(seed: int) -> tuple[Tensor, Tensor]:
    """Return x, evenly spaced in -1..1, and y = x with normal noise, both float32 (POINTS, 1)."""
    x = torch.linspace(-1, 1, POINTS)[:, None]
    with seeded(CPU, seed, DATA):
        return x, x + NOISE * torch.randn(POINTS, 1)


def small_network(rate: float) -> nn.Sequential:
    """Return the network of a variant in train mode; a rate of 0 drops nothing."""
    return nn.Sequential(
        nn.Linear(1, HIDDEN), nn.ReLU(), nn.Dropout(rate),
        nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(rate),
        nn.Linear(HIDDEN, 1),
    )  # fmt: skip


def record_fit(bench: Bench, variant: str, network: nn.Module, step: int, points: tuple[Tensor, Tensor]) -> None:
    """Record the two errors with all units, and for the first seed the fit itself.

    Args:
        bench: the bench.
        variant: name of the variant.
        network: its network, which is left in train mode.
        step: number of steps that it has made.
        points: x and y of the training points.
    """
    x, y = points
    line = torch.linspace(-1, 1, 201)[:, None]
    network.eval()
    with torch.no_grad():
        fit = network(line)
        errors = {
            "error_at_points": float((network(x) - y).square().mean().sqrt()),
            "error_to_line": float((fit - line).square().mean().sqrt()),
        }
    network.train()
    bench.record("errors", variant=variant, step=step, **errors)
    bench.result(variant, **errors)  # those of the last step remain
    if bench.keeps_pictures:
        for across, up in zip(line[::5, 0].tolist(), fit[::5, 0].tolist(), strict=True):
            bench.record("fits", variant=variant, step=step, x=across, y=up)


def fit_figure(tables: Tables, step: int) -> Figure:
    """Draw the training points, the line without noise, and what each network answers after ``step`` steps."""
    figure = new_figure(7.0, 4.4)
    axes = styled(figure.add_subplot(), x="x", y="y", title=f"fit after {step} steps")
    axes.plot(*_columns(tables["points"]), "o", color=MUTED, ms=4, label="training points")
    axes.plot([-1, 1], [-1, 1], "--", color=INK, lw=1, label="line without noise")
    for variant, colour in COLOURS.items():
        own = [row for row in tables["fits"] if row["variant"] == variant and row["step"] == step]
        if own:
            axes.plot(*_columns(own), color=colour, lw=2, label=variant)
    axes.set_ylim(-2, 2)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _columns(rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(row["x"]) for row in rows]), np.array([float(row["y"]) for row in rows])
