"""Sharpens swapped faces with a second network, on a crop of its own.

The enhancer stands around another swapper: it has that one swap the face, carries the result into
the crop that its network wants, and hands on what both have made, with the swapper's own mask. So
the picture is pasted once, and what was not swapped is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.inference.planes import scale_in, scale_out, to_planes
from actors.inference.runtime import Runtime
from actors.neural_swapper import batches
from actors.swapper import AlignedFace, FaceSwapper
from actors.swapper_specs import HALF, EnhancerSpec
from kernels.api import Kernels
from kernels.geometry import Affine, apply, compose, resize
from kernels.templates import template_affine
from scheduler.errors import ModelCorrupt
from scheduler.jobs import EnhancerSettings

Floats = NDArray[np.float32]

STEEP: Final = 4
"""Towards the mask's edge the change itself ends, from 1/STEEP of the mask on, so that a blend of
wide bands finds no seam."""


class FaceEnhancer:
    """The network.

    Args:
        network: [n, 3, S, S] R'G'B' in -1..1 (and, if it has an input named ``weight``, one number
            [1]) -> the same.
        spec: what it expects.
        weight: 0..1, for networks that ask.

    Raises:
        ModelCorrupt: the network has other inputs.
    """

    def __init__(self, network: Runtime, spec: EnhancerSpec, weight: float = 0.5) -> None:
        names = [tensor.name for tensor in network.inputs]
        pictures = [name for name in names if name != "weight"]
        if len(pictures) != 1:
            raise ModelCorrupt(
                f"an enhancer with the inputs {names}",
                "one picture, and perhaps a weight",
                "`farm models verify` finds damaged files; another network needs its own entry",
            )
        self._network = network
        self._names = names
        self._weight = weight
        self.size = spec.size
        self.template = spec.template

    def enhance(self, crops: Sequence[Floats]) -> Floats:
        """float32 [n, 3, S, S] R'G'B' 0..1.

        Args:
            crops: each [S, S, 3] R'G'B' 0..1.
        """
        batch = np.empty((len(crops), 3, self.size, self.size), np.float32)
        for planes, crop in zip(batch, crops, strict=True):
            to_planes(crop, planes)
        scale_in(batch, HALF, HALF)
        if "weight" in self._names:
            # The weight is one number for the whole batch, whatever its size: no row beside it.
            pictures = np.concatenate([self._run(batch[at : at + 1]) for at in range(len(batch))])
        else:
            pictures = self._run(batch)
        scale_out(pictures, signed=True)
        return pictures

    def _run(self, batch: Floats) -> Floats:
        weight = np.array([self._weight], np.float32)
        inputs = [weight if name == "weight" else batch for name in self._names]
        return self._network.run(*inputs)[0]


class EnhancedSwapper:
    """A ``FaceSwapper`` whose faces are sharpened.

    Args:
        inner: swaps.
        enhancer: sharpens.
        settings: how much of the enhancer's picture is taken.
        kernels: cuts the inner swapper's crops.
        size: side in pixels of the crop that is handed on, at most the enhancer's own. More than
            the film's faces have would only be work for those who come after.
    """

    def __init__(
        self,
        inner: FaceSwapper,
        enhancer: FaceEnhancer,
        settings: EnhancerSettings,
        kernels: Kernels,
        size: int,
    ) -> None:
        self._inner = inner
        self._enhancer = enhancer
        self._blend = np.float32(settings.blend)
        self._kernels = kernels
        self._size = min(size, enhancer.size)
        ratio = enhancer.size / self._size
        self._shrink = resize(1 / ratio, 1 / ratio)

    @property
    def size(self) -> int:
        return self._size

    @property
    def batch(self) -> int:
        return self._inner.batch

    def affine(self, landmarks: NDArray[np.floating]) -> Affine:
        """The crop that is handed on; see ``FaceSwapper.affine``."""
        aligned = template_affine(landmarks, self._enhancer.template, self._enhancer.size)
        return compose(self._shrink, aligned)

    def swap_all(self, faces: Sequence[AlignedFace]) -> None:
        """Swap and sharpen; see ``FaceSwapper.swap_all``."""
        for part in batches(len(faces), self.batch):
            self._swap(faces[part])

    def _swap(self, faces: Sequence[AlignedFace]) -> None:
        aligned = [self._inner.affine(face.landmarks) for face in faces]
        inner = [
            self._inner_face(face, to_inner) for face, to_inner in zip(faces, aligned, strict=True)
        ]
        self._inner.swap_all(inner)
        swapped = [
            self._carried(face, compose(to_inner, self._shrink), mine.out)
            for face, to_inner, mine in zip(faces, aligned, inner, strict=True)
        ]
        pictures = self._enhancer.enhance([rgb for rgb, _ in swapped])
        for face, (rgb, mask), planes in zip(faces, swapped, pictures, strict=True):
            weight = np.minimum(STEEP * mask, 1)
            weight *= self._blend
            sharp = _mixed(rgb, cv2.merge(list(planes)), weight)
            face.out[..., :3] = _resized(sharp, self._size, cv2.INTER_AREA)
            face.out[..., 3] = _resized(mask, self._size, cv2.INTER_AREA)

    def _inner_face(self, face: AlignedFace, to_inner: Affine) -> AlignedFace:
        size = self._inner.size
        affine = compose(to_inner, face.affine)
        return AlignedFace(
            picture=face.picture,
            affine=affine,
            crop=self._kernels.crop(face.picture, affine, size),
            landmarks=apply(to_inner, face.landmarks),
            out=np.empty((size, size, 4), np.float32),
        )

    def _carried(
        self, face: AlignedFace, to_inner: Affine, swapped: Floats
    ) -> tuple[Floats, Floats]:
        """The face with the swap in it, and the swap's mask, in the enhancer's crop.

        Args:
            to_inner: the enhancer's crop -> the inner swapper's.
            swapped: [s, s, 4] what the inner swapper made.
        Returns: [S, S, 3] and [S, S].
        """
        size = self._enhancer.size
        rgb = _resized(face.crop, size, cv2.INTER_CUBIC)
        # The mask is zero where the inner crop ends, so its edge may repeat with the colours'.
        there = cv2.warpAffine(
            swapped,
            to_inner,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        *planes, mask = cast(list[Floats], cv2.split(there))
        rgb = _mixed(rgb, cv2.merge(planes), np.minimum(STEEP * mask, 1))
        return np.clip(rgb, 0, 1, out=rgb), mask


def _mixed(a: Floats, b: Any, weight: Floats) -> Floats:
    """a + weight (b - a) in the place of b, [h, w, 3]; the weight is [h, w]."""
    b -= a
    b *= cv2.merge([weight, weight, weight])  # four times faster than broadcasting
    b += a
    return cast(Floats, b)


def _resized(picture: Floats, side: int, reading: int) -> Floats:
    if len(picture) == side:
        return picture
    return cast(Floats, cv2.resize(picture, (side, side), interpolation=reading))
