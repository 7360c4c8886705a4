"""Where the points of one face are: what a landmarker gives, and the face mesh of 468 points.

Network: MediaPipe's ``face_landmark`` (Y. Kartynnik et al., "Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs", 2019). It reads an upright face of which it can trust the place to
about a tenth of its size. The detector is coarser than that, so the mesh runs twice: the second
time on the square that the first mesh gives, and its answer is then the same for every detection
from which it could have started.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.anchors import Detection
from actors.inference.litert import LiteRt
from kernels.api import Kernels
from kernels.geometry import apply, compose, invert, square_crop
from kernels.picture import Picture
from scheduler.points import MESH

SIZE: Final = 192
"""Side of the crop that the network reads, in pixels."""
POINTS: Final = MESH.count
MARGIN: Final = 1.5
"""The crop's side over the face's longer side."""
OFF: Final = 0.1
"""How far a corner of the crop may lie off, over its side, for the mesh still to be trusted."""
GLANCES: Final = ((1.025, 4.0, -2.0), (1 / 1.025, -4.0, 2.0))
"""Scale and shift, in pixels of the crop, of the two squares that a known face is looked at in."""
EYE_RIGHT, EYE_LEFT = MESH.eye_corners


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """The points of one face."""

    landmarks: NDArray[np.float64]
    """[n, 2] x y of a ``scheduler.points.PointSet``."""
    presence: float
    """How sure the network is that its crop showed a face, 0..1."""
    is_face: bool = True
    """Whether that is sure enough."""


class Landmarker(Protocol):
    """Puts points on faces. What it answers depends on the picture and the place alone."""

    @property
    def guesses(self) -> bool:
        """It guesses the points of a face that its network does not see well."""
        ...

    def locate(
        self,
        picture: Picture,
        detection: Detection,
        display: NDArray[np.float64],
        kernels: Kernels,
    ) -> Mesh:
        """The points of one face, in pixels of the coded picture.

        Args:
            picture: as decoded, in coded orientation.
            detection: in display pixels, from a ``Detector``.
            display: float64 [2, 3], coded frame pixels -> upright display pixels.
            kernels: cuts the crops.
        """
        ...

    def relocate(
        self,
        picture: Picture,
        points: NDArray[np.float64],
        display: NDArray[np.float64],
        kernels: Kernels,
    ) -> Mesh:
        """The points of a face of which it is known where it must be; guesses nothing.

        Args:
            picture: as decoded, in coded orientation.
            points: [n, 2], about where they are, in pixels of the coded picture.
            display: float64 [2, 3], coded frame pixels -> upright display pixels.
            kernels: cuts the crop.
        """
        ...


class FaceLandmarker:
    """Puts the mesh on a detected face.

    Args:
        model_path: ``face_landmark.tflite``.
        threads: of the network; the result does not depend on it.
        min_presence: a mesh of which the network is less sure is no face.

    Raises:
        ModelCorrupt: the file is no such network.
    """

    def __init__(self, model_path: Path, threads: int = 1, *, min_presence: float = 0.5) -> None:
        self._network = LiteRt.load(model_path, threads=threads)
        self._min_presence = min_presence

    @property
    def guesses(self) -> bool:
        return False

    def locate(
        self,
        picture: Picture,
        detection: Detection,
        display: NDArray[np.float64],
        kernels: Kernels,
    ) -> Mesh:
        """See ``Landmarker``."""
        right, left = detection.keypoints[0], detection.keypoints[1]
        first = self._read(
            picture, face_square(detection.box.reshape(2, 2), right, left), display, kernels
        )
        return self._read(picture, _mesh_square(first.landmarks, display), display, kernels)

    def relocate(
        self,
        picture: Picture,
        points: NDArray[np.float64],
        display: NDArray[np.float64],
        kernels: Kernels,
    ) -> Mesh:
        """See ``Landmarker``.

        The answer leans to where its square lies, and wanders as the face moves in it. So the face
        is looked at twice, in squares that lie off to opposite sides: what they add to the answer
        cancels in the mean, and what is noise in it halves (docs/quality.md has the figures).
        Two more looks follow only where the first show that the squares lay off by more than a
        tenth of their side.
        """
        square = _mesh_square(points, display)
        mesh = self._glance(picture, square, display, kernels)
        better = _mesh_square(mesh.landmarks, display)
        # Corners of the better square as seen in the one that was read.
        corners = np.array([[0.0, 0.0], [SIZE, 0.0], [0.0, SIZE], [SIZE, SIZE]])
        off = apply(square, apply(invert(better), corners)) - corners
        if float(np.abs(off).max()) > OFF * SIZE:
            return self._glance(picture, better, display, kernels)
        return mesh

    def _glance(
        self,
        picture: Picture,
        square: NDArray[np.float64],
        display: NDArray[np.float64],
        kernels: Kernels,
    ) -> Mesh:
        """The mean of the meshes in the squares around one."""
        one, other = (
            self._read(picture, compose(_zoomed(*glance), square), display, kernels)
            for glance in GLANCES
        )
        presence = (one.presence + other.presence) / 2
        return Mesh(
            landmarks=(one.landmarks + other.landmarks) / 2,
            presence=presence,
            is_face=presence >= self._min_presence,
        )

    def _read(
        self,
        picture: Picture,
        square: NDArray[np.float64],
        display: NDArray[np.float64],
        kernels: Kernels,
    ) -> Mesh:
        affine = compose(square, display)
        mesh = self.locate_rgb(kernels.crop(picture, affine, SIZE))
        return replace(mesh, landmarks=apply(invert(affine), mesh.landmarks))

    def locate_rgb(self, crop: NDArray[np.float32]) -> Mesh:
        """The mesh in a float32 [192, 192, 3] R'G'B' crop in 0..1, landmarks in its own pixels."""
        values, logit = self._network.run(crop[None])
        # The network counts from the crop's edge: its centre of the first pixel is 0.5.
        points = values.reshape(POINTS, 3)[:, :2].astype(np.float64) - 0.5
        presence = 1.0 / (1.0 + np.exp(-float(logit.reshape(()))))
        return Mesh(
            landmarks=points,
            presence=float(presence),
            is_face=bool(presence >= self._min_presence),
        )


def _zoomed(scale: float, right: float, down: float) -> NDArray[np.float64]:
    """float64 [2, 3], the crop -> itself scaled about its centre, then shifted by pixels."""
    rest = (1.0 - scale) * SIZE / 2
    return np.array([[scale, 0.0, rest + right], [0.0, scale, rest + down]])


def _mesh_square(
    landmarks: NDArray[np.float64], display: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``face_square`` of the points of a mesh in coded pixels, for display pixels."""
    points = apply(display, landmarks)
    return face_square(points, points[EYE_RIGHT], points[EYE_LEFT])


def face_square(
    points: NDArray[np.float64], right_eye: NDArray[np.float64], left_eye: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64 [2, 3], the points' space -> the network's crop.

    The square stands on the eye line, is centred on the points' extent along it, and is 1.5 times
    as wide as the extent's longer side. Taking the extent along the eye line, not along the
    frame's axes, makes the crop of a tilted face the tilted crop of the upright face.

    Args:
        points: [n, 2], two opposite corners of a box or all points of a mesh.
        right_eye: [2], the person's right eye, left in an upright picture.
        left_eye: [2].
    """
    along = left_eye - right_eye
    length = float(np.hypot(along[0], along[1]))
    cos, sin = (along / length).tolist() if length > 0 else (1.0, 0.0)
    upright = np.array([[cos, sin], [-sin, cos]])
    if len(points) == 2:
        # A box keeps its size however the face in it is tilted: only its centre turns.
        low, high = points
        centre, side = upright @ ((low + high) / 2), float((high - low).max())
    else:
        turned = points @ upright.T
        low, high = turned.min(axis=0), turned.max(axis=0)
        centre, side = (low + high) / 2, float((high - low).max())
    return square_crop(upright, centre, MARGIN * side, SIZE)
