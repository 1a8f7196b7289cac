"""Explanations side by side, and how far they are to be trusted."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cnnlab.errors import UsageError
from cnnlab.figures.images import input_picture, to_picture
from cnnlab.figures.maps import blend, show_pixels
from cnnlab.figures.plots import CYCLE
from cnnlab.figures.style import GREEN, INK, MUTED, ORANGE, new_figure, shorten, styled

_CELL, _GAP, _HEAD = 2.1, 0.22, 0.3  # inches


def comparison(answers: Sequence[Any], picture: npt.ArrayLike | None = None, columns: int = 5) -> Figure:
    """Draw the maps of several methods over the same picture, with their scores and times under them.

    Args:
        answers: attributions of one image; those with metrics of faithfulness say how they compare with random maps.
        picture: what the model saw as people see it; drawn from its input when ``None``.
        columns: how many beside each other at most; rows are made about equally long.

    Raises:
        UsageError: no answers.
    """
    if not answers:
        raise UsageError("There is nothing to compare: no method has an answer.")
    first = answers[0]
    pixels = input_picture(first.image) if picture is None else to_picture(picture, "HWC")
    height, width = pixels.shape[:2]
    wide, tall = (_CELL, _CELL * height / width) if width >= height else (_CELL * width / height, _CELL)
    columns = math.ceil((len(answers) + 1) / math.ceil((len(answers) + 1) / columns))
    step_x = max(wide, 1.75) + _GAP
    lines = 1 + max(len(_scores(answer)) for answer in answers)
    step_y = _HEAD + tall + 0.17 * lines + 0.18
    rows = math.ceil((len(answers) + 1) / columns)
    page = columns * step_x + _GAP
    fits = int((page - 2 * _GAP) * 72 / (8.5 * 0.55))
    caption = [line for part in _caption(answers) for line in textwrap.wrap(part, fits)]
    high = rows * step_y + 0.17 * len(caption) + 0.25
    figure = new_figure(page, high, layout="none")
    style: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False}
    letters = int(step_x * 72 / (10.5 * 0.56))
    for place in range(len(answers) + 1):
        x = _GAP + place % columns * step_x
        y = high - 0.1 - place // columns * step_y
        axes = figure.add_axes((x / page, (y - _HEAD - tall) / high, wide / page, tall / high))
        if place == 0:
            title, shown = "What the network sees", pixels
            below = [
                (f"{shorten(first.subject, letters)}: {first.probability:.1%}", INK),
                (f"score {first.score:.3g}", MUTED),
            ]
        else:
            answer = answers[place - 1]
            title, shown = answer.method_title, blend(answer.map, pixels, signed=answer.signed)
            below = [*_scores(answer), (f"{answer.seconds:.2g} s", MUTED)]
        show_pixels(axes, shown)
        figure.text(x / page, y / high, shorten(title, letters), color=INK, fontsize=10.5, weight="bold", **style)
        for number, (text, colour) in enumerate(below):
            figure.text(
                x / page, (y - _HEAD - tall - 0.06 - 0.17 * number) / high, text, color=colour, fontsize=8.5, **style
            )
    for number, line in enumerate(caption):
        figure.text(
            _GAP / page, (0.17 * (len(caption) - number) + 0.06) / high, line, color=MUTED, fontsize=8.5, **style
        )
    return figure


def _scores(answer: Any) -> list[tuple[str, str]]:
    """A line for each score: green where it is better than that of random maps, orange where it is worse."""
    trust, lines = answer.faithfulness, []
    for kind, sign in (("deletion", -1), ("insertion", 1)):
        if kind in trust:
            by_chance = trust["random"]
            gain = sign * (round(trust[kind], 2) - round(by_chance, 2))  # as it is written
            text = f"{kind} {trust[kind]:.2f} (random {by_chance:.2f})"
            lines.append((text, GREEN if gain > 0 else ORANGE if gain < 0 else INK))
    if "randomised agreement" in trust:
        value = trust["randomised agreement"]
        lines.append((f"shuffled network: {value:.2f} alike", INK if abs(value) < 0.5 else ORANGE))
    return lines


def _caption(answers: Sequence[Any]) -> list[str]:
    text = ["Red is the strongest of each map, blue speaks against; every map has a scale of its own."]
    if any("deletion" in answer.faithfulness for answer in answers):
        text.append(
            "Deletion: what is left of the probability, on average, while the reddest pixels go first (low is good). "
            "Insertion: the same while they come back first to an empty image (high is good). Green is better than "
            "random maps, orange is worse. Shuffled network: how much the map is like that of a network whose weights "
            "are shuffled; near 0, it depends on what was learned."
        )
    return text


def trust_curves(curves: Sequence[Any]) -> Figure:
    """Draw what becomes of the probability while pixels go, and come back, most important first.

    Args:
        curves: of deletion and insertion; with ``kind``, ``name``, ``share``, ``score`` and ``auc``. Those called
            "random maps" are drawn dashed in grey.

    Raises:
        UsageError: no curves.
    """
    if not curves:
        raise UsageError("There are no curves to draw. Compare the methods with faithfulness=True.")
    kinds = [kind for kind in ("deletion", "insertion") if any(one.kind == kind for one in curves)]
    names = list(dict.fromkeys(one.name for one in curves if one.name != "random maps"))
    figure = new_figure(4.6 * len(kinds) + 0.2, 4.4 + 0.2 * math.ceil(len(names) / 2))
    words = {
        "deletion": ("Deletion: lower is better", "share of the pixels taken away"),
        "insertion": ("Insertion: higher is better", "share of the pixels given back"),
    }
    for number, kind in enumerate(kinds):
        title, x = words[kind]
        axes = styled(figure.add_subplot(1, len(kinds), number + 1), x=x, title=title)
        axes.set_ylabel("probability of the class, of that for the whole image", color=INK, fontsize=9)
        for one in sorted(
            (one for one in curves if one.kind == kind), key=lambda one: one.auc, reverse=kind == "insertion"
        ):
            turn, colour = divmod(names.index(one.name), len(CYCLE)) if one.name in names else (0, 0)
            look: dict[str, Any] = {"color": CYCLE[colour], "ls": ("-", "--", ":")[turn % 3], "lw": 1.6}
            if one.name not in names:
                look = {"color": MUTED, "ls": (0, (4, 3)), "lw": 2}
            axes.plot(one.share, one.score, label=f"{one.auc:.2f}  {one.name}", **look)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1)
        legend = axes.legend(
            title="area under the curve", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False,
            labelcolor=INK, fontsize=8.5, title_fontsize=8.5, alignment="left",
        )  # fmt: skip
        legend.get_title().set_color(INK)  # a page turns it light in the dark
    return figure
