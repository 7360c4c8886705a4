"""What went wrong in a process of a lane, as an error of the tree."""

from __future__ import annotations

import traceback
from typing import Final

from scheduler.errors import (
    STORAGE_ERRNOS,
    Cancelled,
    GpuFailed,
    LaneOutOfMemory,
    LinkClosed,
    SwapfarmError,
    storage_error,
)

_CUDA: Final = "cupy_backends.cuda."
"""Where CuPy's errors of the driver and of the runtime are from."""


def as_error(error: Exception) -> SwapfarmError:
    """The error itself if it is one of the tree; the disk's; or one that says where it arose."""
    if isinstance(error, SwapfarmError):
        return error
    if isinstance(error, OSError) and error.errno in STORAGE_ERRNOS and error.filename:
        return storage_error(error, str(error.filename))
    if isinstance(error, MemoryError):
        return LaneOutOfMemory(
            f"out of memory ({error})",
            "memory for the frames under way",
            "free some memory, or use fewer lanes",
        )
    if type(error).__module__.startswith(_CUDA):
        return GpuFailed(
            f"{type(error).__name__}: {error}",
            "a GPU that does what it is asked",
            "nothing, if it happens once: the lane is built anew; if not, look at nvidia-smi",
        )
    trace = "".join(traceback.format_exception(error))
    return SwapfarmError(
        f"unexpected {type(error).__name__}\n{trace}",
        "no such error",
        "report this with the text above; it would come again, so the task is not retried",
    )


def root_cause(errors: list[SwapfarmError]) -> SwapfarmError:
    """Of the errors of one lane's processes, the one that the others followed from."""
    return min(errors, key=lambda error: isinstance(error, LinkClosed | Cancelled))
