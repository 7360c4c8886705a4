"""What goes to a lane with a call, in parcels that Ray sends with the call itself.

What is larger than 100 KiB Ray would put into its object store, and it ends the process that speaks
with it when it finds the store dead, as it is in the moment in which a raylet has died. The index
of a long film is larger, so it goes in several parcels.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable
from typing import Any, Final

PARCEL: Final = 96 << 10
"""Bytes of a parcel: with a few around it less than Ray's 100 KiB."""


def pack(thing: object) -> list[bytes]:
    """Something that can be pickled, in parcels.

    Ray sends 10 MiB of them with one call: the index of a film of half a million frames and more.
    """
    data = zlib.compress(pickle.dumps(thing, pickle.HIGHEST_PROTOCOL), 1)
    return [data[at : at + PARCEL] for at in range(0, len(data), PARCEL)]


def unpack(parcels: Iterable[bytes]) -> Any:
    """What was packed."""
    return pickle.loads(zlib.decompress(b"".join(parcels)))
