"""Memory by pointer to and from libraries that speak DLPack, without a copy.

PyAV gives and takes the planes of frames in a GPU's memory as DLPack capsules. A capsule holds a
pointer, a shape and somebody who is told when nobody needs it any more; that is all this reads and
makes, so that no array library is needed for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p, py_object
from typing import Any, Final

CPU: Final = 1
CUDA: Final = 2
_UNSIGNED: Final = 1
_NAME: Final = b"dltensor"


class _Managed(ctypes.Structure):
    """DLManagedTensor with its DLTensor."""

    _fields_ = (
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
        ("holder", c_void_p),
        ("deleter", c_void_p),
    )


class _Holder:
    """What must live as long as a capsule's memory is in use."""

    __slots__ = ("keep", "managed", "shape", "strides")

    managed: _Managed
    shape: Any
    strides: Any
    keep: object


_new = ctypes.PYFUNCTYPE(py_object, c_void_p, ctypes.c_char_p, c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(c_void_p, py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_hold = ctypes.PYFUNCTYPE(None, py_object)(("Py_IncRef", ctypes.pythonapi))
_drop = ctypes.PYFUNCTYPE(None, c_void_p)(("Py_DecRef", ctypes.pythonapi))


def _delete(managed: Any) -> None:
    """Called by whoever took a capsule, on any thread."""
    _drop(managed.contents.holder)


_deleter: Final = ctypes.CFUNCTYPE(None, POINTER(_Managed))(_delete)


def address(exporter: Any) -> int:
    """Where the memory begins that an object with ``__dlpack__`` shows."""
    capsule = exporter.__dlpack__()
    place = _pointer(capsule, _NAME)
    managed = ctypes.cast(place, POINTER(_Managed)).contents
    return int(managed.data or 0) + int(managed.byte_offset)


def capsule(
    pointer: int,
    shape: Sequence[int],
    strides: Sequence[int],
    itemsize: int,
    device: tuple[int, int],
    keep: object,
) -> object:
    """A DLPack capsule of unsigned numbers.

    Args:
        pointer: where they begin.
        strides: counted in numbers, not bytes.
        itemsize: bytes of a number.
        device: (``CPU`` or ``CUDA``, number of the device).
        keep: is let go of when nobody needs the memory any more.
    """
    holder = _Holder()
    holder.keep = keep
    holder.shape = (c_int64 * len(shape))(*shape)
    holder.strides = (c_int64 * len(strides))(*strides)
    holder.managed = _Managed(
        data=pointer,
        device_type=device[0],
        device=device[1],
        ndim=len(shape),
        code=_UNSIGNED,
        bits=8 * itemsize,
        lanes=1,
        shape=holder.shape,
        strides=holder.strides,
        holder=id(holder),
        deleter=ctypes.cast(_deleter, c_void_p),
    )
    _hold(holder)
    return _new(ctypes.addressof(holder.managed), _NAME, None)
