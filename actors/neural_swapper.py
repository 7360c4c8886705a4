"""A ``FaceSwapper`` that lets a network paint: batches, pixel boost, masks.

What one network expects and gives is data (``actors.swapper_specs``); here is only what all of them
have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.arcface import SIZE as CHIP
from actors.arcface import ArcFace
from actors.face_masker import FaceMasker
from actors.identity_source import mixed, target_share, unit
from actors.inference.planes import scale_in, scale_out, to_planes
from actors.inference.runtime import Runtime
from actors.pixel_boost import gather, spread
from actors.swapper import AlignedFace
from actors.swapper_specs import SwapperSpec
from kernels.api import Kernels
from kernels.geometry import Affine, compose
from kernels.templates import template_affine
from scheduler.errors import ModelCorrupt

Floats = NDArray[np.float32]

MOST: int = 64
"""Faces of the largest batch."""


def batches(count: int, most: int) -> Iterator[slice]:
    """``count`` places cut into batches whose sizes are powers of two, the largest first.

    Runtimes that compile a network for each batch size then meet few of them, and no row is
    computed to be thrown away.

    Args:
        most: the largest batch, a power of two.
    """
    start, size = 0, most
    while start < count:
        while size > count - start:
            size //= 2
        yield slice(start, start + size)
        start += size


def check_swapper(network: Runtime, spec: SwapperSpec) -> bool:
    """Whether the source is the first of a swapper's two inputs.

    Raises:
        ModelCorrupt: the network has other inputs or outputs.
    """
    names = [tensor.name for tensor in network.inputs]
    outputs = 2 if spec.mask else 1
    if sorted(names) != ["source", "target"] or len(network.outputs) < outputs:
        raise ModelCorrupt(
            f"a swapper with the inputs {names} and {len(network.outputs)} outputs",
            f"inputs named source and target, and {outputs} outputs",
            "`farm models verify` finds damaged files; another network needs its own entry",
        )
    return names[0] == "source"


class NeuralSwapper:
    """Puts one person's face on others with a network.

    Args:
        network: named ``source`` and ``target`` are its inputs.
        spec: what it expects and gives.
        source: of ``actors.identity_source``: [512], or [3, s, s] for a spec with a picture.
        masker: makes the blend masks, for crops of ``spec.size`` x ``sides``.
        kernels: cuts the chips for ``recogniser``.
        sides: pixel boost, small pictures along a side of the crop.
        batch: faces of the largest batch, a power of two up to 64.
        weight: 0..1, see ``identity_source.target_share``.
        recogniser: needed where the weight is not 0.5 and the source is an embedding.

    Raises:
        ModelCorrupt: the network has other inputs or outputs.
    """

    def __init__(
        self,
        network: Runtime,
        spec: SwapperSpec,
        source: Floats,
        masker: FaceMasker,
        kernels: Kernels,
        *,
        sides: int = 1,
        batch: int = 1,
        weight: float = 0.5,
        recogniser: ArcFace | None = None,
    ) -> None:
        if not 1 <= batch <= MOST or batch & (batch - 1):
            raise ValueError(f"a batch of {batch} faces; wanted a power of two up to {MOST}")
        self._network = network
        self._spec = spec
        self._source = source
        self._masker = masker
        self._kernels = kernels
        self._sides = sides
        self._batch = batch
        share = target_share(weight)
        self._share = share if recogniser is not None else 0.0
        self._recogniser = recogniser
        self._source_first = check_swapper(network, spec)

    @property
    def size(self) -> int:
        return self._spec.size * self._sides

    @property
    def batch(self) -> int:
        return self._batch

    def affine(self, landmarks: NDArray[np.floating]) -> Affine:
        """The crop of a face; see ``FaceSwapper.affine``.

        Raises:
            ValueError: landmarks of another number, not finite, or without extent.
        """
        return template_affine(landmarks, self._spec.template, self.size)

    def swap_all(self, faces: Sequence[AlignedFace]) -> None:
        """Swap faces in batches; see ``FaceSwapper.swap_all``."""
        for part in batches(len(faces), self._batch):
            self._swap(faces[part])

    def _swap(self, faces: Sequence[AlignedFace]) -> None:
        tiles = self._sides**2
        pictures, own = self._run(self._targets(faces), self._sources(faces))
        swapped = [
            gather(pictures[at : at + tiles], self._sides) for at in range(0, len(pictures), tiles)
        ]
        masks: list[Floats | None] = [None] * len(faces)
        if own is not None:
            masks = [
                gather(own[at : at + tiles], self._sides)[0] for at in range(0, len(own), tiles)
            ]
        blends = self._masker.masks(faces, swapped, masks)
        for face, planes, blend in zip(faces, swapped, blends, strict=True):
            cv2.merge([*planes, blend], face.out)

    def _targets(self, faces: Sequence[AlignedFace]) -> Floats:
        """[n tiles, 3, s, s] as the network takes them."""
        side, tiles = self._spec.size, self._sides**2
        batch = np.empty((len(faces) * tiles, 3, side, side), np.float32)
        for number, face in enumerate(faces):
            rows = batch[number * tiles : (number + 1) * tiles]
            if tiles == 1:
                to_planes(face.crop, rows[0])
            else:
                spread(face.crop.transpose(2, 0, 1), self._sides, rows)
        scale_in(batch, self._spec.mean, self._spec.std)
        return batch

    def _sources(self, faces: Sequence[AlignedFace]) -> Floats:
        """[n tiles, ...] the source for each row of the targets."""
        tiles = self._sides**2
        if not self._share or self._recogniser is None:
            return np.repeat(self._source[None], len(faces) * tiles, axis=0)
        chips = [self._chip(face, self._recogniser) for face in faces]
        targets = self._recogniser.embed(chips)
        if self._spec.unit:
            targets = unit(targets)
        return np.repeat(mixed(self._source, targets, self._share), tiles, axis=0)

    def _chip(self, face: AlignedFace, recogniser: ArcFace) -> Floats:
        """[112, 112, 3] the face as the recogniser wants it, cut from the frame itself."""
        affine = compose(recogniser.affine(face.landmarks), face.affine)
        return self._kernels.crop(face.picture, affine, CHIP)

    def _run(self, targets: Floats, sources: Floats) -> tuple[Floats, Floats | None]:
        """Pictures [n, 3, s, s] R'G'B' 0..1 and, of networks that give them, masks [n, 1, s, s]."""
        inputs = (sources, targets) if self._source_first else (targets, sources)
        pictures, *others = self._network.run(*inputs)
        if pictures.shape != targets.shape:
            raise ModelCorrupt(
                f"a swapper that makes pictures of {pictures.shape[1:]}",
                f"the shape {targets.shape[1:]}",
                "`farm models verify` finds damaged files; another network needs its own entry",
            )
        scale_out(pictures, signed=self._spec.signed)
        return pictures, others[0] if self._spec.mask else None
