"""The networks side by side: declared facts and what was measured here; filtered and sorted.

Multiply-adds are declared for the usual input; for another size, or other channels or classes, they are counted on
torch's meta device, where nothing is computed (a tenth of a second each).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import torch

from cnnlab.advisor.measurements import Measurement, comparable, load_measurements
from cnnlab.errors import UnknownNameError, UsageError, did_you_mean
from cnnlab.zoo import ModelFacts, create_model, list_models, model_options, models


@dataclass(frozen=True)
class Row:
    """A network in the catalogue."""

    name: str  #: registered name of the network
    facts: ModelFacts  #: facts that it declares
    summary: str  #: first sentence of its docstring
    measurement: Measurement | None = None  #: measurement that the table shows; None when there is none
    measurements: list[Measurement] = field(default_factory=list)  #: all measurements made on this machine

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {
            "name": self.name,
            **asdict(self.facts),
            "summary": self.summary,
            "options": model_options(self.name),
            "measured": [asdict(measurement) for measurement in self.measurements],
        }


def _error(row: Row) -> tuple[bool, float] | None:
    top1, top5 = row.facts.imagenet_top1_error, row.facts.imagenet_top5_error
    if top1 is not None:
        return (False, top1)
    return None if top5 is None else (True, top5)


_ORDERS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: row.name,
    "year": lambda row: (row.facts.year, row.name),
    "parameters": lambda row: row.facts.parameters,
    "macs": lambda row: row.facts.macs,
    "min-size": lambda row: (row.facts.min_size, row.name),
    "error": _error,
    "speed": lambda row: -row.measurement.train_images_per_second if row.measurement else None,
    "memory": lambda row: row.measurement.train_bytes if row.measurement else None,
}


def catalogue(
    pattern: str = "*",
    *,
    max_params: int | None = None,
    max_macs: int | None = None,
    takes: int | None = None,
    years: tuple[int, int] | None = None,
    pretrained: bool = False,
    sort: str = "name",
    reverse: bool = False,
) -> list[Row]:
    """Return the networks that match, sorted; those without the number sorted by come last.

    Args:
        pattern: shell-style pattern of names, such as ``"res*"``.
        max_params, max_macs: largest number of parameters, of multiply-adds.
        takes: the side in pixels of the images that the network must take as they are.
        years: first and last year of publication.
        pretrained: whether only networks with public ImageNet weights are listed.
        sort: column to sort by: name, year, parameters, macs, min-size, error, speed or memory. Errors are ImageNet
            top-1 as the paper reports them; networks with only a top-5 error follow, sorted by that. Speed is sorted
            fastest first.
        reverse: whether the order is reversed.

    Raises:
        UnknownNameError: nothing is called like the pattern.
        UsageError: there is no such order, or nothing to sort by.
    """

    def fits(facts: ModelFacts) -> bool:
        return (
            (max_params is None or facts.parameters <= max_params)
            and (max_macs is None or facts.macs <= max_macs)
            and (takes is None or facts.min_size <= takes)
            and (years is None or years[0] <= facts.year <= years[1])
            and (not pretrained or facts.pretrained is not None)
        )

    if sort not in _ORDERS:
        raise UsageError(f'Cannot sort by "{sort}": choose {", ".join(_ORDERS)}. {did_you_mean(sort, _ORDERS)}')
    names = list_models(pattern)
    if not names:
        raise UnknownNameError("model matching", pattern, list_models(), "`cnnlab models` lists them all.")
    measurements = load_measurements()
    newest = comparable(measurements)
    rows = []
    for name in names:
        entry = models.get(name)
        if fits(entry.facts):
            here = [m for m in measurements if m.name == name and m.is_from_here]
            rows.append(Row(name, entry.facts, entry.summary, newest.get(name), here))
    if sort in ("speed", "memory") and rows and not any(row.measurement for row in rows):
        raise UsageError(
            f"Nothing was measured here yet, so there is no {sort} to sort by. Run `cnnlab models --measure`."
        )
    key = _ORDERS[sort]
    without = [row for row in rows if key(row) is None]
    return sorted((row for row in rows if key(row) is not None), key=key, reverse=reverse) + without


@cache
def count_macs(
    name: str, num_classes: int | None = None, in_channels: int | None = None, image_size: int | None = None
) -> int:
    """Return the multiply-adds of one image at evaluation: those declared, or counted where the input is another.

    Those of convolutions and dense layers count, as torch counts them (two operations each), halved. Other layers are
    left out, as is customary.

    Args:
        name: name of the network.
        num_classes, in_channels, image_size: number of classes and of channels, and side of the images in pixels; the
            network's own by default. The size is raised to the least that the network takes.
    """
    from torch.utils.flop_counter import FlopCounterMode

    facts = models.get(name).facts
    channels, size = in_channels or facts.in_channels, max(image_size or facts.image_size, facts.min_size)
    if (num_classes or facts.num_classes, channels, size) == (facts.num_classes, facts.in_channels, facts.image_size):
        return facts.macs
    with torch.device("meta"), torch.no_grad():
        model = create_model(name, num_classes, channels, size).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, channels, size, size))
    return counter.get_total_flops() // 2


# --- What people type ---------------------------------------------------------------------------------------------


def parse_count(text: str) -> int:
    """Return the number that ``"5M"``, ``"1.5G"``, ``"300k"`` or ``"11,689,512"`` means.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d[\d,_]*(?:\.\d+)?)\s*([kKmMgGbB]?)", text.strip())
    if not match:
        raise UsageError(f'"{text}" is not a number such as 300k, 5M or 1.5G.')
    factor = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}[match[2].lower()]
    return round(float(re.sub("[,_]", "", match[1])) * factor)


def parse_years(text: str) -> tuple[int, int]:
    """Return first and last year of ``"2015"``, ``"2015:2017"``, ``"2015:"`` or ``":2015"``.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d{4})?(:)?(\d{4})?", text.strip())
    if not match or not (match[1] or match[3]) or (match[1] and match[3] and not match[2]):
        raise UsageError(f'"{text}" is not a year or a range of years such as 2015, 2015:2017 or 2015:.')
    first = int(match[1] or 0)
    return first, int(match[3]) if match[3] else (9999 if match[2] else first)
