"""Temporal filters on aligned crops, as pure functions: what came before goes in, nothing is kept.

What is filtered is the *change*: swapped crop minus original crop. The original's own motion says
where each piece of the change was a frame ago, and its expression is never averaged with an older
one. Colour is the stream's own R'G'B' 0..1 unless a name says light (linear).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels import filter_loops
from kernels.colour import TransferTables
from kernels.dense_flow import Flow

Floats = NDArray[np.float32]
Transfer = NDArray[np.float64]
Picture = TypeVar("Picture", NDArray[np.uint8], NDArray[np.float32])

STEPS: Final = 256
"""Gains and biases are whole multiples of 1 / this."""
TAU: Final = 0.35
"""Confidence at which what the motion carries gets its first weight."""
SURE: Final = 0.85
"""Confidence from which on it has its full weight."""
TOLERANCE: Final = 12 / 255
"""Difference of two changes that is taken for a change of the face and not for jitter."""
UNSEEN: Final = 0.5 / 255
SEEN: Final = 1.0 / 255
"""Differences of two changes that are not worth holding, and that are."""


def luma(rgb: Floats) -> NDArray[np.uint8]:
    """[h, w] 0..255 from R'G'B' [h, w, >= 3]: for measuring, with the weights of BT.709."""
    out = np.empty(rgb.shape[:2], np.uint8)
    filter_loops.luma(rgb, out)
    return out


def carry(before: Picture, flow: Flow) -> Picture:
    """A picture of the frame before with its content where it is now; 0 from beyond its border.

    By cubics: what is carried again and again by a bilinear look-up gets soft.

    Args:
        before: uint8 or float32 [h, w] or [h, w, <= 4].
        flow: float32 [h, w, 2] as from ``FlowProvider.flow``.
    """
    h, w = flow.shape[:2]
    x = flow[..., 0] + np.arange(w, dtype=np.float32)
    y = flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    carried = cv2.remap(before, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    return cast(Picture, carried)


def shrunk(picture: Floats, step: int = 2) -> Floats:
    """Means of ``step`` x ``step`` pixels of [h, w, ...], h and w whole multiples of it."""
    h, w = picture.shape[:2]
    size = (w // step, h // step)
    return cast(Floats, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def amount(difference: Floats) -> Floats:
    """How far two changes differ: the largest channel's magnitude, as mean over 5 x 5 pixels.

    Args:
        difference: [h, w, >= 3] R'G'B', one change minus the other.
    Returns: [h, w].
    """
    out = np.empty(difference.shape[:2], np.float32)
    filter_loops.largest(difference, out)
    return cast(Floats, cv2.blur(out, (5, 5)))


def agreement(amount: Floats) -> Floats:
    """exp(-(d / ``TOLERANCE``)^2) of an `amount` d: 1 where two changes agree, towards 0 where they
    differ by more than jitter does."""
    return cast(Floats, np.exp(np.square(amount) * np.float32(-1 / TOLERANCE**2)))


def worth(amount: Floats) -> Floats:
    """0 where two changes differ by an `amount` of less than half a code, 1 from ``SEEN`` on.

    Nobody sees so little, and what the motion carries has an error of its own: without this, the
    flow filter makes a swap that is steady already one hundredth less so (docs/quality-pixels.md).
    """
    ramp = (amount - np.float32(UNSEEN)) * np.float32(1 / (SEEN - UNSEEN))
    return cast(Floats, np.clip(ramp, 0, 1))


def trust(confidence: Floats) -> Floats:
    """0 up to a confidence of ``TAU``, 1 from ``SURE`` on."""
    return cast(Floats, np.clip((confidence - np.float32(TAU)) / np.float32(SURE - TAU), 0, 1))


def seam_band(mask: Floats, width: int) -> Floats:
    """1 in a band of ``width`` pixels along the line where the mask is 1/2, else 0.

    Args:
        mask: [h, w] 0..1.
    """
    whole = (mask > 0.5).astype(np.uint8)
    band = cv2.morphologyEx(whole, cv2.MORPH_GRADIENT, seam_disc(width))
    return cast(Floats, band.astype(np.float32))


def seam_disc(width: int) -> NDArray[np.uint8]:
    """What `seam_band` looks at about each pixel: [width + 1, width + 1], 1 within a disc."""
    return cast(
        NDArray[np.uint8], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width + 1, width + 1))
    )


def colour_transfer(
    original: Floats, swapped: Floats, mask: Floats, tables: TransferTables
) -> Transfer:
    """Gain and bias in light that give the swapped face the original's mean and spread.

    Reinhard, Ashikhmin, Gooch, Shirley, "Color transfer between images", 2001, in linear light.

    Args:
        original, swapped: [s, s, >= 3] R'G'B'.
        mask: [s, s] 0..1, what counts.
    Returns: float64 [2, 3] gains (0.5 to 2) and biases by channel; 1 and 0 for an empty mask.
    """
    small = (max(1, mask.shape[1] // 4), max(1, mask.shape[0] // 4))
    weight, a, b = (
        cv2.resize(p, small, interpolation=cv2.INTER_AREA)
        for p in (mask, original[..., :3], swapped[..., :3])
    )
    total = float(weight.sum(dtype=np.float64))
    if total < 16:
        return np.array([[1.0] * 3, [0.0] * 3])
    share = (weight / total).astype(np.float64)[..., None]
    moments = []
    for picture in (a, b):
        light = tables.to_linear(np.clip(picture, 0, 1)).astype(np.float64)
        mean = (light * share).sum((0, 1))
        moments.append((mean, np.sqrt((np.square(light - mean) * share).sum((0, 1)))))
    return matched(*moments[0], *moments[1])


def matched(
    mean_a: NDArray[np.float64],
    spread_a: NDArray[np.float64],
    mean_b: NDArray[np.float64],
    spread_b: NDArray[np.float64],
) -> Transfer:
    """Gain (0.5 to 2) and bias [2, 3] that give b the mean and spread of a, [3] each."""
    gain = np.clip(spread_a / np.maximum(spread_b, 1e-4), 0.5, 2.0)
    return np.stack([gain, mean_a - gain * mean_b])


def settle_colour(window: Sequence[Transfer], momentum: float) -> Transfer:
    """The transfers of the last frames as one, on whole steps of 1/256.

    An average that forgets by ``momentum`` a frame, over the window only, so that it does not
    depend on anything older.

    Args:
        window: oldest first, at least one.
    """
    weights = (1.0 - momentum) ** np.arange(len(window) - 1, -1, -1)
    mean: Transfer = np.tensordot(weights / weights.sum(), np.stack(window), axes=1)
    return np.rint(mean * STEPS) / STEPS


def apply_colour(swapped: Floats, mask: Floats, transfer: Transfer, tables: TransferTables) -> None:
    """Give [s, s, >= 3] R'G'B' the transfer, in place, where the mask is; it fades at its edge."""
    if (transfer == [[1.0], [0.0]]).all():
        return
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share = np.minimum(4 * mask[part], 1)
    for channel in range(3):
        signal = swapped[part][..., channel]
        gain, bias = np.float32(transfer[0, channel]), np.float32(transfer[1, channel])
        light = tables.to_linear(np.clip(signal, 0, 1))
        signal += share * (tables.from_linear(light * gain + bias) - signal)
