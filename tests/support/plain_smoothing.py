"""What ``scheduler.smooth`` computes, one frame after the other, as its description says it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scheduler import smooth
from scheduler.points import point_set
from scheduler.tracks import FaceObservation

Complex = NDArray[np.complex128]
Pose = tuple[complex, complex, Complex]
Answers = tuple[list[Pose], NDArray[np.float64]]


def plainly_smoothed(
    faces: Sequence[FaceObservation], cuts: Collection[int] = ()
) -> list[FaceObservation]:
    """The rows of a film in their order."""
    poses = {(face.track, face.frame): pose(face) for face in faces}
    known: dict[tuple[int, int], Answers] = {}
    return [_smoothed(face, poses, sorted(cuts), known) for face in faces]


def _smoothed(
    face: FaceObservation,
    film: Mapping[tuple[int, int], Pose],
    cuts: Sequence[int],
    known: dict[tuple[int, int], Answers],
) -> FaceObservation:
    def run(middle: int, reach: int) -> list[int]:
        """Frames around one up to a gap, a cut or a face without form."""
        scene, frames = bisect_right(cuts, middle), [middle]
        for step in (-1, +1):
            for at in range(middle + step, middle + step * (reach + 1), step):
                other = film.get((face.track, at))
                if other is None or bisect_right(cuts, at) != scene or not other[1]:
                    break
                frames.append(at)
        return sorted(frames)

    groups, counts, radius = _groups(face)

    def answers(middle: int) -> Answers:
        """What each window makes of a frame, and how far it is from the next shorter one's."""
        if (face.track, middle) in known:
            return known[face.track, middle]
        centre, zoom, shape = film[face.track, middle]
        last, found, apart = (0j, 0j, shape), [], []
        for reach in sorted(smooth.REACHES):
            frames = run(middle, reach)
            weights = _window(reach, tuple(other - middle for other in frames))
            moments = [film[face.track, other] for other in frames]
            answer = (
                sum(w * (m[0] - centre) / zoom for w, m in zip(weights, moments, strict=True)),
                sum(w * np.log(m[1] / zoom) for w, m in zip(weights, moments, strict=True)),
                np.tensordot(weights, np.array([m[2] for m in moments]), axes=1),
            )
            moved = np.hypot(abs(answer[0] - last[0]), radius * abs(answer[1] - last[1]))
            squares = np.bincount(groups, np.abs(answer[2] - last[2]) ** 2)
            apart.append([moved, *np.sqrt(squares / counts)])
            found.append(answer)
            last = answer
        known[face.track, middle] = found, np.array(apart)
        return known[face.track, middle]

    around = run(face.frame, smooth.CALM)
    centre, zoom, own = film[face.track, face.frame]
    if not zoom or len(around) < smooth.LEAST:
        return face
    found, apart = answers(face.frame)
    near = [smooth.CALM + 1 - abs(other - face.frame) for other in around]
    longest = np.array([answers(other)[1][-1] for other in around])
    apart = apart.copy()
    apart[-1] = np.sqrt(np.average(longest**2, axis=0, weights=near))
    trust = [smooth._POSE_TRUST, *smooth._SHAPE_TRUST, smooth._SHAPE_TRUST[-1]]
    shares = 1 / (1 + (apart / np.array(trust).T[::-1]) ** 4)
    shift = turn = 0j
    shape = own
    for answer, share in zip(found, shares, strict=True):
        shift += share[0] * (answer[0] - shift)
        turn += share[0] * (answer[1] - turn)
        shape = shape + share[1:][groups] * (answer[2] - shape)
    shift *= min(1.0, smooth.MAX_SHIFT / max(abs(shift), 1e-12))
    most = complex(smooth.MAX_ZOOM, smooth.MAX_TURN)
    turn = complex(
        np.clip(turn.real, -most.real, most.real), np.clip(turn.imag, -most.imag, most.imag)
    )
    change = shape - own
    change = change * np.minimum(1, smooth.MAX_VERTEX / np.maximum(np.abs(change), 1e-12))
    points = centre + zoom * (shift + np.exp(turn) * (own + change))
    landmarks = np.column_stack([points.real, points.imag]).astype(np.float32)
    box = np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)])
    return replace(face, landmarks=landmarks, box=box)


def pose(face: FaceObservation) -> Pose:
    """Centre, zoom and shape; no zoom for a face without form."""
    bones = point_set(len(face.landmarks)).bones
    places = np.array(list(bones.values())) @ [1, 1j]
    reference = places - places.mean()
    points = face.landmarks.astype(np.float64) @ [1, 1j]
    centre = complex(points[list(bones)].mean())
    zoom = complex(np.vdot(reference, points[list(bones)] - centre) / np.vdot(reference, reference))
    if not abs(zoom) > 1e-6:
        return centre, 0j, points
    return centre, zoom, (points - centre) / zoom


def _groups(face: FaceObservation) -> tuple[NDArray[np.intp], NDArray[np.intp], float]:
    """The group of each point, their sizes, and the radius of the reference."""
    points = point_set(len(face.landmarks))
    groups = np.zeros(points.count, np.intp)
    parts = (points.lips, points.chin, points.right_eye, points.left_eye)
    for number, part in enumerate(parts, start=1):
        groups[list(part)] = number
    places = np.array(list(points.bones.values()))
    radius = float(np.sqrt(((places - places.mean(axis=0)) ** 2).sum() / len(places)))
    return groups, np.bincount(groups), radius


@cache
def _window(reach: int, offs: tuple[int, ...]) -> NDArray[np.float64]:
    """Weights by which a parabola, fitted to frames at these distances, gives its value at 0."""
    k = np.array(offs, np.float64)
    weight = ((reach + 1) ** 2 - k**2) * ((reach + 2) ** 2 - k**2)
    powers = k[:, None] ** np.arange(min(3, len(k)))
    fit = np.linalg.lstsq(np.sqrt(weight)[:, None] * powers, np.diag(np.sqrt(weight)), rcond=None)
    return np.asarray(fit[0][0])
