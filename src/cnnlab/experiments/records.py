"""What a seed of a study has produced, and its form on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cnnlab.experiments.tables import Row


@dataclass
class Records:
    """The rows and answers that one part of a seed has produced."""

    rows: list[tuple[str, Row]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)


def pack_answers(correct: np.ndarray) -> str:
    """Return booleans as a short text: their number, a colon, and the bits in hexadecimal digits."""
    return f"{len(correct)}:{np.packbits(correct).tobytes().hex()}"


def unpack_answers(text: str) -> np.ndarray:
    """Undo :func:`pack_answers`."""
    count, _, digits = text.partition(":")
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=int(count)).astype(bool)


def records_text(records: Records) -> str:
    """Return records as JSON."""
    return json.dumps({"rows": records.rows, "answers": records.answers, "ended": records.ended})


def read_records(path: Path) -> Records:
    """Read records that :func:`records_text` made."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return Records([(table, row) for table, row in values["rows"]], values["answers"], values["ended"])
