"""The source's identity as a neural swapper wants it: an embedding, or a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.arcface import SIZE, ArcFace
from actors.inference.runtime import Runtime
from actors.mesh_swapper import SourceFace
from actors.sources import as_picture
from actors.swapper_specs import SourcePicture, SwapperSpec
from kernels.api import Kernels
from kernels.templates import template_affine

Floats = NDArray[np.float32]

PULL: Final = 0.35
"""Share of the target's identity at weight 0; at weight 1 as much of it is taken away."""


def average_embedding(
    sources: Sequence[SourceFace], recogniser: ArcFace, kernels: Kernels
) -> Floats:
    """float32 [512]: what one person looks like in all of these pictures together.

    The mean of the recogniser's numbers as they are: a picture that it is sure of has larger ones
    and so the larger say.
    """
    chips = [
        kernels.crop(as_picture(source.image), recogniser.affine(source.landmarks), SIZE)
        for source in sources
    ]
    # One by one: a source has few pictures, and the network's file may be fixed at one.
    rows = np.concatenate([recogniser.embed([chip]) for chip in chips])
    mean: Floats = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def source_embedding(
    spec: SwapperSpec,
    embedding: Floats,
    *,
    converter: Runtime | None = None,
    matrix: Floats | None = None,
) -> Floats:
    """float32 [512]: an identity as one swapper takes it.

    Args:
        spec: of the swapper.
        embedding: [512] as the recogniser gives it.
        converter: the network that ``spec.converter`` names.
        matrix: [512, 512] with ``spec.projected``.
    """
    if spec.projected:
        assert matrix is not None
        # Float64 and no BLAS: a sum's order, and with it the last bit, must not depend on threads.
        product = (embedding.astype(np.float64)[:, None] * matrix).sum(axis=0)
        projected: Floats = (product / _length(embedding)).astype(np.float32)
        return projected
    if converter is not None:
        embedding = converter.run(embedding[None])[0].reshape(-1)
    return unit(embedding) if spec.unit else embedding


def target_share(weight: float) -> float:
    """How much of the target's identity is mixed in, for a swapper weight of 0..1; may be < 0."""
    return PULL * (1 - 2 * weight)


def mixed(source: Floats, target: Floats, share: float) -> Floats:
    """float32 [n, 512]: the source's identity with a share of each target's.

    Args:
        source: [512] of ``source_embedding``.
        target: [n, 512] of the recogniser, at length 1 where the swapper wants it so.
        share: of ``target_share``.
    """
    return source * np.float32(1 - share) + target * np.float32(share)


def unit(embedding: Floats) -> Floats:
    """[..., 512] at length 1."""
    return (embedding / _length(embedding)).astype(np.float32)


def source_picture(picture: SourcePicture, source: SourceFace, kernels: Kernels) -> Floats:
    """float32 [3, size, size] R'G'B' 0..1: the source's own crop, for swappers that look at it."""
    affine = template_affine(source.landmarks, picture.template, picture.size)
    crop = kernels.crop(as_picture(source.image), affine, picture.size)
    return np.ascontiguousarray(crop.transpose(2, 0, 1))


def _length(embedding: Floats) -> NDArray[np.float64]:
    wide = embedding.astype(np.float64)
    length: NDArray[np.float64] = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    return length
