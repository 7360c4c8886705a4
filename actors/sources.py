"""The face to put on, from the user's pictures of one person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.detector import Detector
from actors.fairface import FairFace
from actors.landmarker import Landmarker
from actors.mesh_swapper import SourceFace
from actors.observer import FaceObserver
from actors.recognizer import Embedder, cut
from kernels.api import Kernels
from kernels.picture import Picture, PictureFormat
from scheduler.classes import FaceClass, agree
from scheduler.errors import SourceAmbiguous, SourceUnreadable, SourceWithoutFace
from scheduler.jobs import SwapSettings
from scheduler.tracks import FaceObservation


def load_sources(
    swap: SwapSettings,
    detector: Detector,
    landmarker: Landmarker,
    kernels: Kernels,
    person: int = 0,
) -> tuple[SourceFace, ...]:
    """The chosen face of each source picture of one person, in the order given.

    Args:
        person: whose, of ``swap.people``.

    Raises:
        SourceUnreadable: a path is no picture.
        SourceWithoutFace: no face is found, or fewer than ``swap.source_face``.
        SourceAmbiguous: several faces, and no ``swap.source_face``.
    """
    observer = FaceObserver(detector, landmarker, kernels, np.eye(2, 3))
    sources = []
    for path in swap.people[person]:
        rgb = read_picture(Path(path))
        face = _choose(observer.observe(as_picture(rgb), 0), path, swap.source_face)
        sources.append(SourceFace(image=rgb, landmarks=face.landmarks))
    return tuple(sources)


def embed_pictures(
    paths: Sequence[str],
    recognizer: Embedder,
    detector: Detector,
    landmarker: Landmarker,
    kernels: Kernels,
) -> NDArray[np.float64]:
    """float64 [n, d]: what the one face of each picture looks like.

    Raises:
        SourceUnreadable, SourceWithoutFace, SourceAmbiguous: as ``load_sources``.
    """
    upright = np.eye(2, 3)
    observer = FaceObserver(detector, landmarker, kernels, upright)
    rows = []
    for path in paths:
        picture = as_picture(read_picture(Path(path)))
        faces = observer.observe(picture, 0)
        if len(faces) > 1:
            raise SourceAmbiguous(
                f"{len(faces)} faces are in {path!r}", "one face", "cut the picture to one face"
            )
        face = _choose(faces, path, None)
        rows.append(recognizer.embed(cut(recognizer, picture, face.landmarks, upright, kernels)))
    return np.array(rows, np.float64)


def embed_sources(
    sources: Sequence[SourceFace], recognizer: Embedder, kernels: Kernels
) -> NDArray[np.float64]:
    """float64 [n, d]: what the faces that are put on look like."""
    rows = []
    for source in sources:
        chip = cut(recognizer, as_picture(source.image), source.landmarks, np.eye(2, 3), kernels)
        rows.append(recognizer.embed(chip))
    return np.array(rows, np.float64)


def classify_sources(
    sources: Sequence[SourceFace], classifier: FairFace, kernels: Kernels
) -> FaceClass:
    """How the person of these pictures looks to the classifier."""
    chips = [
        cut(classifier, as_picture(source.image), source.landmarks, np.eye(2, 3), kernels)
        for source in sources
    ]
    return agree([classifier.classify(chip) for chip in chips])


def read_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] R'G'B' (sRGB is assumed), upright by its EXIF tag, without alpha.

    Raises:
        SourceUnreadable: missing, no file, no picture, or one that is too large.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise _unreadable(path, os.strerror(error.errno or 0)) from error
    if not data.size:
        raise _unreadable(path, "the file is empty")
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)  # the error below says it all
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise _unreadable(path, error.err) from error
    finally:
        log.setLogLevel(level)
    if bgr is None:
        raise _unreadable(path, "it is no picture, or a damaged one")
    return np.ascontiguousarray(bgr[..., ::-1])


def as_picture(rgb: NDArray[np.uint8]) -> Picture:
    """A picture [h, w, 3] R'G'B' (sRGB) as the kernels take it."""
    height, width, _ = rgb.shape
    return Picture(
        format=PictureFormat(
            width=width,
            height=height,
            sub_x=0,
            sub_y=0,
            matrix="rgb",
            transfer="srgb",
            full_range=True,
        ),
        planes=tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0)),
    )


def _choose(faces: list[FaceObservation], path: str, wanted: int | None) -> FaceObservation:
    if not faces:
        raise SourceWithoutFace(
            f"no face is found in {path!r}",
            "a picture of one face, frontal and at least 100 pixels wide",
            "take another picture of the person",
        )
    if len(faces) == 1:
        return faces[0]
    if wanted is None:
        raise SourceAmbiguous(
            f"{len(faces)} faces are in {path!r}",
            "one face, or a word on which one is meant",
            f"name it with --source-face 1 (left) to {len(faces)} (right), or cut the picture",
        )
    if wanted > len(faces):
        raise SourceWithoutFace(
            f"{len(faces)} faces are in {path!r}",
            f"a face number {wanted} from the left",
            f"choose --source-face 1 to {len(faces)}",
        )
    return faces[wanted - 1]


def _unreadable(path: Path, why: str) -> SourceUnreadable:
    return SourceUnreadable(
        f"the source {str(path)!r} cannot be read ({why})",
        "a picture file: JPEG, PNG, WebP, TIFF, BMP",
        "check the path, or save the picture as JPEG",
    )
