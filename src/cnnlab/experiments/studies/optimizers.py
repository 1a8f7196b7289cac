"""SGD, momentum, RMSProp, Adam and AdamW: curves of a network, and paths on a surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnlab.experiments.drawing import training_curves
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain, register_study
from cnnlab.figures import paths_on_surface
from cnnlab.scratch.optim import adam, rmsprop, sgd, sgd_momentum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

RULES: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "sgd", "momentum": 0.0, "lr": 0.02},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "lr": 0.02},
    "RMSProp": {"optimizer": "rmsprop", "momentum": 0.0, "lr": 1e-3},
    "Adam": {"optimizer": "adam", "lr": 1e-3},
    "AdamW": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05},
}
START, LIMITS, STEPS = (-4.5, 1.6), (-5.0, 1.5, -2.2, 2.2), 60
# On the surface a rate means something else than in the network: each rule gets one that suits it.
WALKS = {
    "SGD": (sgd, {"learning_rate": 0.18}),
    "momentum": (sgd_momentum, {"learning_rate": 0.03, "momentum": 0.9}),
    "RMSProp": (rmsprop, {"learning_rate": 0.12, "decay_rate": 0.9}),
    "Adam": (adam, {"learning_rate": 0.25}),
}


@register_study
class Optimizers(Study):
    """Five update rules train the same network side by side, and walk down the same surface."""

    title = "Which optimizer gets there first?"
    about = (
        "LeNet-5 learns digits with five update rules side by side, from the same weights on the same images in the "
        "same order, at a constant rate that is usual for each rule. The animation shows the first four on a narrow "
        "valley, with the update rules of the scratch room."
    )
    claims = (
        Claim(
            "Momentum gives a lower training loss than plain SGD at the same rate.",
            "Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum, 2013, section 3",
            Difference("SGD", "momentum", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
        Claim(
            "Adam gives a lower training loss than SGD with momentum.",
            "Kingma, Ba: Adam, 2015, section 6.3 and figure 3",
            Difference("momentum", "Adam", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
        Claim(
            "SGD with momentum gives a higher test accuracy than Adam.",
            "Wilson et al.: The Marginal Value of Adaptive Gradient Methods, 2017, section 4",
            accuracy_gain("momentum", "Adam"),
            worth=0.5,
        ),
        Claim(
            "Decoupled weight decay (AdamW) gives a higher test accuracy than Adam.",
            "Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019, section 4",
            accuracy_gain("AdamW", "Adam"),
            worth=0.5,
        ),
    )
    variants = tuple(RULES)

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 4000, "epochs": 6},
            full={"train_limit": None, "epochs": 20},
        )
        recipe = bench.recipe("lenet5", schedule="constant", batch_size=64, **size)
        bench.train({variant: recipe.with_overrides(**rule) for variant, rule in RULES.items()})

    def draw(self, tables: Tables) -> dict[str, Figure]:
        logarithmic = ["training loss", "test loss"]
        return {
            "curves": training_curves(tables, self.variants, log_y=logarithmic),
            "paths": paths_on_surface(
                valley, walks(), LIMITS, target=(0, 0), title=f"{STEPS} steps in a narrow valley"
            ),
        }

    def animate(self, tables: Tables) -> dict[str, list[Figure]]:
        paths = walks()
        frames = [
            paths_on_surface(
                valley, {name: path[: step + 1] for name, path in paths.items()}, LIMITS, target=(0, 0),
                title=f"step {step} of {STEPS}",
            )
            for step in range(0, STEPS + 1, 2)
        ]  # fmt: skip
        return {"paths_animated": frames}


def valley(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the height of a valley that is 25 times steeper across than along."""
    return 0.1 * x**2 + 2.5 * y**2


def walks() -> dict[str, npt.NDArray[np.float64]]:
    """Return the points (steps + 1, 2) at which each rule arrives when it follows the gradient of the valley."""
    paths = {}
    for name, (rule, settings) in WALKS.items():
        point, config = np.array(START), dict(settings)
        points = [point]
        for _ in range(STEPS):
            point, config = rule(point, np.array([0.2, 5.0]) * point, config)
            points.append(point)
        paths[name] = np.array(points)
    return paths
