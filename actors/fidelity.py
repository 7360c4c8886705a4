"""How near a faster version of a network comes to the one that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.arcface import SIZE as CHIP
from actors.arcface import TEMPLATE, ArcFace
from actors.fan import Reader68
from actors.inference.planes import scale_out
from actors.inference.runtime import Runtime
from actors.quantizer import Row
from kernels.geometry import similarity
from kernels.metrics import similarity_map
from kernels.templates import template_points
from scheduler.errors import ModelInexact

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Of a network that makes pictures: the worst of some crops."""

    psnr: float
    """Of R'G'B', in dB; infinite: the same."""
    ssim: float
    """Structural similarity of brightness, mean over the crop; 1: the same."""
    identity: float
    """Cosine of what the recogniser says of the two pictures; 1 without a recogniser."""

    def __str__(self) -> str:
        return f"PSNR {self.psnr:.1f} dB, SSIM {self.ssim:.3f}, identity {self.identity:.3f}"

    @property
    def shortfalls(self) -> list[str]:
        """What is below LIMITS, in words."""
        return [
            f"{what} {have:{form}} (at least {want:{form}})"
            for what, have, want, form in (
                ("PSNR in dB", self.psnr, LIMITS.psnr, ".1f"),
                ("SSIM", self.ssim, LIMITS.ssim, ".3f"),
                ("identity", self.identity, LIMITS.identity, ".3f"),
            )
            if not have >= want  # a picture of no numbers at all is not near either
        ]


LIMITS = Fidelity(psnr=32.0, ssim=0.95, identity=0.95)
"""Below, a change is seen beside the original, or the person is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFidelity:
    """Of a network that puts points into a crop: the worst of some crops."""

    offset: float
    """Mean distance of the points, in pixels of the crop of 256."""
    score: float
    """Difference of what it thinks of its answer, 0..1."""

    def __str__(self) -> str:
        return f"points {self.offset:.2f} px off, score {self.score:.3f} off"

    @property
    def shortfalls(self) -> list[str]:
        """What is above POINT_LIMITS, in words."""
        return [
            f"{what} {have:.3f} (at most {want:g})"
            for what, have, want in (
                ("points off by pixels", self.offset, POINT_LIMITS.offset),
                ("score off by", self.score, POINT_LIMITS.score),
            )
            if not have <= want
        ]


POINT_LIMITS = PointFidelity(offset=1.0, score=0.05)
"""A pixel is half a percent of the face's size: a fraction of what such networks err by."""


def compare(
    exact: Runtime,
    fast: Runtime,
    rows: Sequence[Row],
    *,
    signed: bool,
    embed: Callable[[Floats], Floats] | None = None,
) -> Fidelity:
    """Run both versions of a network on the same inputs and compare their pictures.

    Args:
        exact, fast: their first output is a picture [1, 3, s, s].
        rows: inputs by name.
        signed: the pictures are in -1..1, else 0..1.
        embed: what the recogniser says of a crop [s, s, 3] R'G'B' 0..1; None: is not asked.
    """
    worst = Fidelity(psnr=np.inf, ssim=1.0, identity=1.0)
    for row in rows:
        one, other = (_picture(network, row, signed) for network in (exact, fast))
        error = float(np.square(one - other, dtype=np.float64).mean())
        near = similarity_map(_luma(one), _luma(other))
        alike = 1.0
        if embed is not None:
            a, b = embed(one), embed(other)
            alike = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        worst = Fidelity(
            psnr=min(worst.psnr, -10 * np.log10(error) if error else np.inf),
            ssim=min(worst.ssim, float(near.mean(dtype=np.float64))),
            identity=min(worst.identity, alike),
        )
    return worst


def compare_points(
    exact: Runtime, fast: Runtime, rows: Sequence[Row], reader: Callable[[Runtime], Reader68]
) -> PointFidelity:
    """As ``compare``, for networks that put 68 points into a crop.

    Args:
        rows: the crop, by the name of the only input.
        reader: makes of a network what reads its answers.
    """
    worst = PointFidelity(offset=0.0, score=0.0)
    for row in rows:
        (points, score), (others, other) = (
            reader(network).answer(row[network.inputs[0].name]) for network in (exact, fast)
        )
        off = float(np.hypot(*(points - others).T).mean())
        worst = PointFidelity(
            offset=float(np.maximum(worst.offset, off)),
            score=max(worst.score, abs(score - other)),
        )
    return worst


def demand(found: Fidelity | PointFidelity, name: str, precision: str = "INT8") -> None:
    """Refuse a version that is not near enough.

    Args:
        found: how near it is.
        name: of the network.
        precision: of the version.

    Raises:
        ModelInexact: says which number is beyond which.
    """
    if found.shortfalls:
        raise ModelInexact(
            f"{name} in {precision} against itself in float: {', '.join(found.shortfalls)}",
            "answers that make no difference to the result",
            "keep --precision fp32, or calibrate with a film that shows more and larger faces",
        )


def recogniser_of(arcface: ArcFace, template: str, size: int) -> Callable[[Floats], Floats]:
    """What the recogniser says of a crop whose face lies on another template.

    Args:
        arcface: the recogniser.
        template, size: of the crops.
    """
    turn = similarity(template_points(template, size), template_points(TEMPLATE, CHIP))

    def embed(crop: Floats) -> Floats:
        chip = cv2.warpAffine(
            crop, turn, (CHIP, CHIP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        numbers: Floats = arcface.embed([np.asarray(chip, np.float32)])[0]
        return numbers

    return embed


def _picture(network: Runtime, row: Row, signed: bool) -> Floats:
    planes = network.run(*(row[tensor.name] for tensor in network.inputs))[0][0]
    scale_out(planes, signed=signed)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _luma(rgb: Floats) -> NDArray[np.uint8]:
    luma = rgb @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return np.asarray(np.rint(luma * 255), np.uint8)
