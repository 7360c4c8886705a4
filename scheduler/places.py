"""Names of files that are in an object store, not on a disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SCHEMES: Final = ("s3", "gs")
_URI: Final = re.compile(rf"({'|'.join(SCHEMES)}):/+(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """How an object store is reached. Credentials are none of it: the store's own SDK finds them
    on each machine."""

    endpoint: str = ""
    """``http://HOST:PORT`` of a store that speaks S3; empty: the cloud's own."""
    region: str = ""
    """Empty: as the SDK finds it."""
    seconds: float = 30.0
    """Without an answer for so long, a store counts as unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a result goes when it is whole."""

    uri: str
    store: Store


def uri_of(typed: str) -> str | None:
    """``s3://bucket/key`` or ``gs://bucket/key``, if that is what was typed; None: it is a path.

    ``s3:/bucket/key`` is what a command line's paths make of it.
    """
    found = _URI.fullmatch(typed)
    return f"{found[1]}://{found[2]}" if found else None
