"""The settings of an explanation besides the methods, as one value that is passed on unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cnnlab.explain.inputs import TargetLayer


@dataclass(frozen=True)
class ExplainSettings:
    """The class that is explained, and the settings of the methods.

    Attributes:
        target: index or name of the class that the maps are about; the predicted class when ``None``.
        layer: the target layer of class activation maps, its dotted name or the module; the last spatial layer when
            ``None``.
        options: name of a method -> its keyword arguments, such as ``{"occlusion": {"window": 32}}``.
        faithfulness: whether every map is scored by deletion, insertion and randomised weights, which takes longer
            than the maps themselves.
    """

    target: int | str | None = None
    layer: TargetLayer | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faithfulness: bool = True
