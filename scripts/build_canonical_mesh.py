"""Builds kernels/mesh/canonical.csv: the mean face of the sample media, symmetrical, upright.

The face mesh network gives depth too; meshes of all faces of the sample pictures and films are
rigidly aligned to their mean (generalised Procrustes analysis: J. C. Gower, 1975), frames of one
clip counting as much together as four pictures. Smiles and open mouths are among them, so the
mean's mouth is slightly open.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.detector import FaceDetector
from actors.formats import picture_format
from actors.frames import SlotLayout
from actors.inference.litert import LiteRt
from actors.landmarker import EYE_LEFT, EYE_RIGHT, POINTS, SIZE, FaceLandmarker, face_square
from actors.models import ModelStore
from actors.observer import FaceObserver
from actors.prober import probe
from actors.sources import read_picture
from actors.transport.shm import Ring
from farm.config import load_settings
from kernels.cpu import CpuKernels
from kernels.geometry import apply, compose, display_affine
from kernels.mesh.canonical import STABLE, canonical_face
from kernels.picture import Picture, PictureFormat

FILMS = ("wolfgang_langer", "single_face", "face_noface", "noface_face")
PICTURES = ("multi_face", "astronaut")
FRAMES_OF_A_FILM = 12
FILM_WEIGHT, PICTURE_WEIGHT = 4.0 / FRAMES_OF_A_FILM, 1.0
ROUNDS = 10
OUT = Path(__file__).parent.parent / "kernels" / "mesh" / "canonical.csv"

Array = NDArray[np.float64]


class Measurer:
    """Meshes in space of the faces of pictures."""

    def __init__(self, models: ModelStore) -> None:
        self.kernels = CpuKernels()
        self._detector = FaceDetector(models.path("face_detection_full_range"))
        self._landmarker = FaceLandmarker(models.path("face_landmark"))
        self._network = LiteRt.load(models.path("face_landmark"))

    def meshes(self, picture: Picture, display: Array) -> Iterator[Array]:
        """[468, 3] of each face, upright, in pixels of the network's crop."""
        observer = FaceObserver(self._detector, self._landmarker, self.kernels, display)
        for face in observer.observe(picture, 0):
            points = apply(display, face.landmarks)
            square = face_square(points, points[EYE_RIGHT], points[EYE_LEFT])
            crop = self.kernels.crop(picture, compose(square, display), SIZE)
            values, _ = self._network.run(crop[None])
            yield values.reshape(POINTS, 3).astype(np.float64)


def still(path: Path) -> Picture:
    rgb = read_picture(path)
    form = PictureFormat(
        width=rgb.shape[1], height=rgb.shape[0], sub_x=0, sub_y=0, matrix="rgb", full_range=True
    )
    return Picture(
        format=form, planes=tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
    )


def film_meshes(path: Path, measurer: Measurer) -> Iterator[Array]:
    index = probe(path)
    display = display_affine(
        index.width, index.height, float(index.sample_aspect_ratio), index.rotation
    )
    step = max(1, index.frames // FRAMES_OF_A_FILM)
    ring = Ring.create(SlotLayout(format=picture_format(index), faces=0, crop_size=1), 2)
    for frame in Decoder(index).decode(0, index.frames, ring):
        if frame.handle.frame_index % step == 0:
            yield from measurer.meshes(frame.picture, display)
        ring.release(frame.handle.slot)
    ring.close()


def align(mesh: Array, to: Array) -> Array:
    """Turn, scale and shift a mesh onto another by its stable vertices (Umeyama, 1991)."""
    stable = list(STABLE)
    a, b = mesh[stable], to[stable]
    a_mean, b_mean = a.mean(axis=0), b.mean(axis=0)
    u, s, vt = np.linalg.svd((a - a_mean).T @ (b - b_mean))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (s * signs).sum() / ((a - a_mean) ** 2).sum()
    aligned: Array = scale * (mesh - a_mean) @ (u * signs) @ vt + b_mean
    return aligned


def mean_face(meshes: Array, weights: Array) -> Array:
    """[468, 3] the symmetrical mean of [n, 468, 3], in face heights."""
    old = canonical_face()
    mean = old.vertices
    for _ in range(ROUNDS):
        mean = np.average([align(mesh, mean) for mesh in meshes], axis=0, weights=weights)
        mean = (mean + mean[old.mirror] * [-1, 1, 1]) / 2
    top, chin = mean[10], mean[152]
    upright = chin[1:] - top[1:]
    cos, sin = upright / np.hypot(*upright)
    # Hairline and chin are put one above the other; the stable vertices' middle stays the origin.
    turned = np.column_stack(
        [mean[:, 0], mean[:, 1:] @ np.array([[cos, -sin], [sin, cos]])]
    ) / np.hypot(*upright)
    centred: Array = turned - turned[list(STABLE)].mean(axis=0)
    return centred


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    models = ModelStore(load_settings().cache_dir)
    measurer = Measurer(models)
    meshes: list[Array] = []
    weights: list[float] = []
    for name in FILMS:
        found = list(film_meshes(models.path(name), measurer))
        meshes += found
        weights += [FILM_WEIGHT] * len(found)
    for name in PICTURES:
        found = list(measurer.meshes(still(models.path(name)), np.eye(2, 3)))
        meshes += found
        weights += [PICTURE_WEIGHT] * len(found)
    face = mean_face(np.array(meshes), np.array(weights))
    rows = "".join(f"{x:.5f},{y:.5f},{z:.5f}\n" for x, y, z in face)
    out.write_text(f"x,y,z\n{rows}", encoding="ascii")
    print(f"{len(meshes)} meshes -> {out}")


if __name__ == "__main__":
    main()
