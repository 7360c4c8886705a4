"""Which networks look for faces and at them, by a job's settings, and how they are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from actors.canvas import CanvasDetector, Head
from actors.detector import Detector, FaceDetector
from actors.fan import Fan, Landmarker68, PeppaWutz, Reader68
from actors.inference.networks import file_name
from actors.inference.runtime import Runtime
from actors.landmarker import FaceLandmarker, Landmarker
from actors.scrfd import ScrfdHead
from actors.search import MAX_OVERLAP, FaceSearch
from actors.swapper_specs import SWAPPERS
from actors.yolo_face import YoloFaceHead
from actors.yunet import YunetHead
from scheduler.classes import AUTO, GENDERS, RACES
from scheduler.detection import ANGLES, DETECTORS, LANDMARKERS, DetectorSettings, LandmarkerSettings
from scheduler.errors import SettingInvalid
from scheduler.identities import SPACES
from scheduler.jobs import (
    PRECISIONS,
    AnalyseSettings,
    JobSpec,
    PortraitSettings,
    SwapSettings,
)
from scheduler.needs import check_points

BLAZEFACE: Final = "face_detection_full_range"
MESH: Final = "face_landmark"
RETINAFACE, SCRFD, YOLO, YUNET = "retinaface_10g", "scrfd_2.5g", "yoloface_8n", "yunet_2023_mar"
FAN, PEPPA, COMPLETER = "2dfan4", "peppa_wutz", "fan_68_5"
READERS: Final = (FAN, PEPPA)
RECOGNIZERS: Final[Mapping[str, str]] = {
    "dlib": "dlib_face_recognition_resnet_128",
    "arcface": "arcface_w600k_r50",
}
"""By the names of ``scheduler.identities.SPACES``."""
CLASSIFIER: Final = "fairface"
MANY_OVERLAP: Final = 0.1
"""Of the boxes of several networks: each draws its own."""

_DETECTORS: Final[Mapping[str, tuple[str, ...]]] = {
    "blazeface": (BLAZEFACE,),
    "retinaface": (RETINAFACE,),
    "scrfd": (SCRFD,),
    "yolo_face": (YOLO,),
    "yunet": (YUNET,),
    "many": (RETINAFACE, SCRFD, YOLO),
}
_LANDMARKERS: Final[Mapping[str, tuple[str, ...]]] = {
    "mesh": (MESH,),
    "2dfan4": (FAN, COMPLETER),
    "peppa_wutz": (PEPPA, COMPLETER),
    "many": (FAN, PEPPA, COMPLETER),
}


def check_faces(job: JobSpec) -> None:
    """Refuse what no network can do, and points that the swapper cannot wear.

    Raises:
        SettingInvalid: names the word or number that is wrong.
        LandmarksUnfit: see ``scheduler.needs``.
    """
    settings, choice = job.analysis, job.faces
    detector, landmarker = settings.detector, settings.landmarker
    for option, word, words in (
        ("--face-detector-model", detector.model, DETECTORS),
        ("--face-landmarker-model", landmarker.model, LANDMARKERS),
        ("--precision", landmarker.precision, PRECISIONS),
        ("--face-recognizer", job.recognizer, tuple(SPACES)),
        ("--face-selector-gender", choice.gender, ("", AUTO, *GENDERS)),
        ("--face-selector-race", choice.race, ("", AUTO, *dict.fromkeys(RACES))),
    ):
        if word not in words:
            raise SettingInvalid(
                f"{option} {word}",
                "one of " + ", ".join(filter(None, words)),
                "choose one of these",
            )
    angles = detector.angles
    if not angles or set(angles) - set(ANGLES) or len(set(angles)) < len(angles):
        raise SettingInvalid(
            f"--face-detector-angles {' '.join(map(str, angles)) or 'none'}",
            "some of 0, 90, 180 and 270, each once",
            "leave them out for upright pictures",
        )
    if not all(0 <= side <= 100 for side in detector.margin):
        raise SettingInvalid(
            f"--face-detector-margin {' '.join(map(str, detector.margin))}",
            "four numbers from 0 to 100: top, right, bottom, left",
            "correct them",
        )
    for option, score in (
        ("--face-detector-score", detector.score),
        ("--face-landmarker-score", landmarker.score),
        ("--face-tracker-score", settings.tracker_score),
    ):
        if not 0 <= score <= 1:
            raise SettingInvalid(f"{option} {score:g}", "0 to 1", "correct it")
    check_points(job.swap, landmarker)


def analysis_models(settings: AnalyseSettings) -> tuple[str, ...]:
    """Names, in the registry, of the networks that find faces and their points."""
    quick = readers_of(settings.landmarker)
    points = (
        file_name(name, settings.landmarker.precision) if name in quick else name
        for name in _LANDMARKERS[settings.landmarker.model]
    )
    return (*_DETECTORS[settings.detector.model], *points)


def readers_of(settings: LandmarkerSettings) -> tuple[str, ...]:
    """Names of the networks that put 68 points into a crop: those that may be run in INT8."""
    return tuple(name for name in _LANDMARKERS[settings.model] if name in READERS)


def portrait_models(settings: PortraitSettings) -> tuple[str, ...]:
    """Names of the networks that look at faces at their best."""
    recognizer = (RECOGNIZERS[settings.recognizer],) if settings.recognizer else ()
    return (*recognizer, *((CLASSIFIER,) if settings.classes else ()))


def models_of(job: JobSpec) -> tuple[str, ...]:
    """Names of all networks that the job's analysis runs, hands apart; the classifier and the
    recogniser are among them only where the job asks.

    Raises:
        SettingInvalid, LandmarksUnfit: as ``check_faces``.
    """
    check_faces(job)
    return (*analysis_models(job.analysis), *portrait_models(job.portraits))


def recognizer_for(swap: SwapSettings) -> str:
    """Which recogniser suits a job that names none: the one that its swapper loads anyway."""
    spec = SWAPPERS.get(swap.model)
    return "arcface" if spec is not None and spec.picture is None else "dlib"


def build_detector(
    settings: DetectorSettings,
    path: Callable[[str], Path],
    load: Callable[[str], Runtime],
    threads: int,
) -> Detector:
    """The detector of these settings, its networks loaded.

    Args:
        path: of a model's file, by its name.
        load: an ONNX network, by its name.
        threads: of networks in other formats.

    Raises:
        ModelError: a network is not there or damaged.
        SettingInvalid: it does not look at pictures of that size.
    """
    detector: Detector
    if settings.model == "blazeface":
        detector = FaceDetector(
            path(BLAZEFACE), threads, min_score=settings.score, margin=settings.margin
        )
        if settings.angles == (0,):
            return detector
    else:
        detector = CanvasDetector(
            [_head(name, settings.size, load) for name in _DETECTORS[settings.model]],
            size=settings.size,
            score=settings.score,
            margin=settings.margin,
        )
    overlap = MANY_OVERLAP if settings.model == "many" else MAX_OVERLAP[len(settings.angles) - 1]
    return FaceSearch(detector, angles=settings.angles, max_overlap=overlap)


def build_landmarker(
    settings: LandmarkerSettings,
    path: Callable[[str], Path],
    load: Callable[[str], Runtime],
    threads: int,
) -> Landmarker:
    """The landmarker of these settings, its networks loaded; arguments as `build_detector`.

    Raises:
        ModelError: a network is not there or damaged.
    """
    if settings.model == "mesh":
        return FaceLandmarker(path(MESH), threads)
    readers: list[Reader68] = []
    names = _LANDMARKERS[settings.model]
    if FAN in names:
        readers.append(Fan(load(file_name(FAN, settings.precision))))
    if PEPPA in names:
        readers.append(PeppaWutz(load(file_name(PEPPA, settings.precision))))
    return Landmarker68(readers, load(COMPLETER), settings.score)


def _head(name: str, size: int, load: Callable[[str], Runtime]) -> Head:
    if name == YOLO:
        return YoloFaceHead(load(name), size)
    if name == YUNET:
        return YunetHead(load(name), size)
    return ScrfdHead(load(name), name, size)
