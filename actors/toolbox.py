"""What the stages work with: networks, kernels and the face to put on, built when first needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from actors.detector import FaceDetector
from actors.hand_landmarker import HandLandmarker
from actors.landmarker import FaceLandmarker
from actors.mesh_swapper import MeshSwapper
from actors.models import ModelStore
from actors.palms import PalmDetector
from actors.recognizer import Recognizer
from actors.sources import load_sources
from actors.swapper import FaceSwapper
from kernels.cpu import CpuKernels
from kernels.mesh.unwrap import Unwrapper
from scheduler.errors import SettingInvalid
from scheduler.jobs import SwapSettings

DETECTOR: Final = "face_detection_full_range"
LANDMARKER: Final = "face_landmark"
PALM_DETECTOR: Final = "palm_detection_lite"
HAND_LANDMARKER: Final = "hand_landmark_full"
HANDS: Final = (PALM_DETECTOR, HAND_LANDMARKER)
"""Models that a job needs unless it ignores hands."""
EMBEDDED: Final = (DETECTOR, LANDMARKER, *HANDS)
"""Models that a job needs by default."""
RECOGNIZER: Final = "dlib_face_recognition_resnet_128"
"""Needed by jobs that ask who is who."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneKit:
    """Settings of the lanes' processes. None of them changes a frame."""

    cache_dir: Path
    """Where models are kept; the ones that a job needs are there before its lanes start."""
    threads: int = 1
    """Of the networks and of OpenCV, in each process."""
    slots: int = 8
    """Frames that a lane holds at once: the bound of its memory."""
    patience: float = 300.0
    """Seconds of silence after which a stage takes its neighbour for hung."""


class Toolbox:
    """The tools of one process, kept for its life; a source face as long as the job's is the same.

    Raises (when a tool is first used):
        ModelError: a network is not there or damaged.
        InputError: a source picture cannot be used.
    """

    def __init__(self, kit: LaneKit) -> None:
        self.kit = kit
        self._swappers: tuple[SwapSettings, int, dict[int, FaceSwapper]] | None = None

    @cached_property
    def kernels(self) -> CpuKernels:
        return CpuKernels()

    @cached_property
    def detector(self) -> FaceDetector:
        return FaceDetector(self._model(DETECTOR), self.kit.threads)

    @cached_property
    def landmarker(self) -> FaceLandmarker:
        return FaceLandmarker(self._model(LANDMARKER), self.kit.threads)

    @cached_property
    def palm_detector(self) -> PalmDetector:
        return PalmDetector(self._model(PALM_DETECTOR), self.kit.threads)

    @cached_property
    def hand_landmarker(self) -> HandLandmarker:
        return HandLandmarker(self._model(HAND_LANDMARKER), self.kit.threads)

    @cached_property
    def unwrapper(self) -> Unwrapper:
        return Unwrapper()

    @cached_property
    def recognizer(self) -> Recognizer:
        return Recognizer(self._model(RECOGNIZER))

    def face_swapper(self, swap: SwapSettings, crop_size: int, person: int = 0) -> FaceSwapper:
        """The swapper that ``swap.model`` names, with the source face of a person set up."""
        if self._swappers is None or self._swappers[:2] != (swap, crop_size):
            self._swappers = (swap, crop_size, {})
        ready = self._swappers[2]
        if person not in ready:
            if swap.model != "mesh":
                raise SettingInvalid(
                    f"the swapper {swap.model!r}", "mesh", "choose another with --swapper"
                )
            sources = load_sources(swap, self.detector, self.landmarker, self.kernels, person)
            ready[person] = MeshSwapper(sources, crop_size)
        return ready[person]

    def _model(self, name: str) -> Path:
        return ModelStore(self.kit.cache_dir).path(name)
