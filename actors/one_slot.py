"""A ring of one slot in plain memory, for those who look at frames one by one."""

from __future__ import annotations

from actors.frames import Frame, FrameHandle, SlotLayout
from kernels.picture import PictureFormat


class OneSlot:
    """A ``FrameRing`` whose one frame is looked at before the next is asked for.

    Args:
        format: of the pictures; there is no room for swapped faces.
    """

    def __init__(self, format: PictureFormat) -> None:
        self._layout = SlotLayout(format=format, faces=0, crop_size=1)
        self._memory = memoryview(bytearray(self._layout.nbytes))

    def acquire(self, frame_index: int, pts: int) -> Frame:
        """The slot. The frame that was in it is overwritten."""
        handle = FrameHandle(slot=0, generation=0, frame_index=frame_index, pts=pts)
        return Frame(handle, self._layout, self._memory)
