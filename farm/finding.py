"""What one check of ``farm doctor`` saw."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check says."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check saw."""

    check: str
    verdict: Verdict
    found: str
    next_step: str = ""
    """What to do; empty when the verdict is ok."""
