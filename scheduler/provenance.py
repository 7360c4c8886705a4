"""Which networks made a result: what a job says of them when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

POLICIES: Final = ("any", "commercial")
"""Which models a job may use: all, or those whose licence is known to allow commercial work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """One model that a job used."""

    name: str
    kind: str
    sha256: str
    """Of the file that was used."""
    licence: str
    use: str
    """What the licence allows: commercial, non-commercial or unknown."""
    source: str
    standin: bool = False
    """It has the shape of the model and knows nothing: for tests and benchmarks."""
