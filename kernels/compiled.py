"""Loops over pixels as machine code, by Numba.

A function is compiled when it is first called with arrays of these types, and the result is kept on
disk: next to the source, or in the user's cache folder where that cannot be written. Arithmetic is
IEEE's in the order that is written down (no fast-math, no fused multiply-add), so that bits do not
depend on the machine. What a compiled function calls must stand in its own file: the file's age
decides whether what is on disk is still right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function as machine code. It takes arrays and numbers, checks no index, and holds no lock
    of the interpreter."""
    try:
        return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:
        # Numba finds no folder to write to: each process compiles for itself.
        return cast(Function, njit(nogil=True, error_model="numpy")(function))
