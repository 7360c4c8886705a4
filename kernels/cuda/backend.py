"""The CUDA back end: ``kernels.api.Kernels`` for pictures in host memory.

What is in device memory already goes to the same steps without a copy
(``kernels.cuda.crops``, ``kernels.cuda.pastes``).
"""

from __future__ import annotations

import numpy as np

from kernels.api import Image, Image8, Patch, positive
from kernels.cuda.crops import Crops, area_factors
from kernels.cuda.device import Device, DevicePicture, sides
from kernels.cuda.launcher import Launcher
from kernels.cuda.pastes import Pastes, Pixels
from kernels.cuda.sampled import plane_factors, sent, sent_plane
from kernels.geometry import Affine, invert
from kernels.pasting import blend_box, frame_roi, plane_part, survey
from kernels.picture import Picture, Roi


class CudaKernels:
    """``kernels.api.Kernels`` on a GPU; see there for the contract of each method.

    Holds tables and memory between calls, never pixels. One object serves one thread.
    """

    __slots__ = ("_crops", "_launcher", "_pastes")

    def __init__(self, device: Device) -> None:
        self._launcher = Launcher(device)
        self._crops, self._pastes = Crops(self._launcher), Pastes(self._launcher)

    def thumbnail(self, picture: Picture, affine: Affine, width: int, height: int) -> Image8:
        positive(width=width, height=height)
        to_frame = invert(affine)
        whole = Roi(x0=0, y0=0, x1=width, y1=height)
        factors = area_factors(picture.format, to_frame)
        device_picture = sent(self._launcher, picture, to_frame, factors, whole)
        pointer = self._launcher.memory("thumbnail", 3 * width * height)
        self._crops.thumbnail(device_picture, to_frame, width, height, pointer)
        return self._launcher.fetched(pointer, (height, width, 3), "uint8")

    def crop(self, picture: Picture, affine: Affine, size: int) -> Image:
        positive(size=size)
        box = Roi(x0=0, y0=0, x1=size, y1=size)
        pointer = self._crop(picture, invert(affine), box, size)
        return self._launcher.fetched(pointer, (size, size, 3), "float32")

    def paste(
        self,
        picture: Picture,
        crop: Image,
        mask: Image,
        affine: Affine,
        before: Image | None = None,
    ) -> Patch:
        size, support = survey(crop, mask)
        to_frame, launcher = invert(affine), self._launcher
        roi = frame_roi(support, to_frame, picture.format)
        if roi.empty:
            return Patch(roi=roi, touched=np.zeros((0, 0), np.bool_))
        box = blend_box(support, size)
        width, height = sides(box)
        if before is None:
            own = self._crop(picture, to_frame, box, size)
        else:
            own = launcher.sent("crop", before[box.y0 : box.y1, box.x0 : box.x1])
        planes = [
            sent_plane(launcher, f"target {number}", plane, plane_part(roi, picture.format, number))
            for number, plane in enumerate(picture.planes)
        ]
        touched = self._pastes.paste(
            DevicePicture(format=picture.format, planes=tuple(planes)),
            Pixels(pointer=own, row=3 * width, step=3),
            Pixels(pointer=launcher.sent("after", crop), row=3 * size, step=3),
            Pixels(pointer=launcher.sent("mask", mask), row=size, step=1),
            *(size, affine, box, roi),
        )
        for number, (plane, held) in enumerate(zip(picture.planes, planes, strict=True)):
            part = plane_part(roi, picture.format, number)
            fresh = np.empty((held.height, held.width), held.dtype)
            launcher.device.read(held.pointer, held.pitch, fresh)
            plane[part.y0 : part.y1, part.x0 : part.x1] = fresh
        width, height = sides(roi)
        where = launcher.fetched(touched, (height, width), "uint8")
        return Patch(roi=roi, touched=where.astype(np.bool_))

    def _crop(self, picture: Picture, to_frame: Affine, box: Roi, size: int) -> int:
        factors = plane_factors(picture.format, to_frame)
        device_picture = sent(self._launcher, picture, to_frame, factors, box)
        width, height = sides(box)
        pointer = self._launcher.memory("crop", 12 * width * height)
        self._crops.crop(device_picture, to_frame, box, size, pointer)
        return pointer
