"""How faces are found, and which of them are swapped."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from farm.options.fields import (
    Choice,
    Flag,
    Margins,
    Percent,
    Precision,
    Section,
    Share,
    Square,
    Words,
    distinct,
)
from scheduler.classes import AUTO, GENDERS, RACES
from scheduler.detection import ANGLES, DETECTORS, LANDMARKERS
from scheduler.identities import SPACES
from scheduler.selection import MODES, ORDERS


def _angle(value: int) -> int:
    if value not in ANGLES:
        raise ValueError("must be one of " + ", ".join(map(str, ANGLES)))
    return value


class FaceSelector(Section):
    """Which of the film's faces are swapped, where not all are."""

    panel: ClassVar[str] = "Whose face"
    mode: Annotated[
        str,
        Choice(("", *MODES)),
        Flag(
            ("--faces", "--face-selector-mode"),
            "many: all faces; one: the first of each frame by --face-order; reference: those of "
            "the person in --reference, or in the frame --reference-frame-number.",
            metavar="WHICH",
            unset="many; reference where one is named",
        ),
    ] = ""
    """Empty: as the other options need it."""
    order: Annotated[
        str,
        Choice(tuple(ORDERS)),
        Flag(
            ("--face-order", "--face-selector-order"),
            "For --faces one, and to count faces in a reference frame.",
            metavar="ORDER",
        ),
    ] = "large-small"
    age_start: Annotated[
        Percent | None,
        Flag(
            ("--face-selector-age-start",),
            "Only people who look at least this old.",
            metavar="YEARS",
        ),
    ] = None
    age_end: Annotated[
        Percent | None,
        Flag(("--face-selector-age-end",), "Only people who look at most this old.", "YEARS"),
    ] = None
    gender: Annotated[
        str,
        Choice(("", *GENDERS, AUTO)),
        Flag(
            ("--face-selector-gender",),
            "Only people who look it; auto: as the source does.",
            "GENDER",
            unset="all",
        ),
    ] = ""
    race: Annotated[
        str,
        Choice(("", *dict.fromkeys(RACES), AUTO)),
        Flag(
            ("--face-selector-race",),
            "Only people who look it; auto: as the source does.",
            "RACE",
            unset="all",
        ),
    ] = ""


class Reference(Section):
    """Who is meant by ``--faces reference``."""

    panel: ClassVar[str] = "Whose face"
    frame_number: Annotated[
        int | None,
        Field(ge=0),
        Flag(
            ("--reference-frame-number",),
            "Instead of --reference: the frame of the film, from 0, that shows the person.",
            "N",
            unset="0 with --faces reference",
        ),
    ] = None
    face_position: Annotated[
        int,
        Field(ge=0),
        Flag(
            ("--reference-face-position",),
            "Which of that frame's faces it is, from 0, by --face-order.",
            "N",
        ),
    ] = 0
    distance: Annotated[
        float | None,
        Field(ge=0, le=2),
        Flag(
            ("--reference-distance",),
            "How far a person may be from the reference: 0 is the same picture.",
            "D",
            unset="dlib: 0.6, arcface: 1.095",
        ),
    ] = None
    face_distance: Annotated[
        Share | None,
        Flag(
            ("--reference-face-distance",),
            "The same on FaceFusion's scale; its usual 0.3 is what we have unless told otherwise.",
            "D",
        ),
    ] = None


class FaceDetector(Section):
    """Where the faces of a frame are."""

    panel: ClassVar[str] = "Finding faces"
    model: Annotated[str, Choice(DETECTORS), Flag(("--face-detector-model",), "The network.")] = (
        "blazeface"
    )
    size: Annotated[
        int,
        Square,
        Field(ge=32, le=4096, multiple_of=32),
        Flag(
            ("--face-detector-size",),
            "Canvas that a network with a free size sees, as in 640x640 or 640.",
            "PX",
        ),
    ] = 640
    margin: Annotated[
        Margins,
        Flag(
            ("--face-detector-margin",),
            "Room added around the picture: top, right, bottom, left, in percent.",
            "PERCENT",
        ),
    ] = (0, 0, 0, 0)
    angles: Annotated[
        tuple[Annotated[int, AfterValidator(_angle)], ...],
        Words,
        AfterValidator(distinct),
        Flag(
            ("--face-detector-angles",),
            "Turns of the picture at which faces are looked for, some of 0, 90, 180, 270.",
            "DEGREES",
        ),
    ] = (0,)
    score: Annotated[
        Share,
        Flag(("--face-detector-score",), "How sure the network must be.", "SCORE"),
    ] = 0.5


class FaceLandmarker(Section):
    """Where the points of a face are."""

    panel: ClassVar[str] = "Finding faces"
    model: Annotated[
        str, Choice(LANDMARKERS), Flag(("--face-landmarker-model",), "The network.")
    ] = "mesh"
    score: Annotated[
        Share,
        Flag(
            ("--face-landmarker-score",),
            "Below it, 68 points are guessed from the detector's five.",
            "SCORE",
        ),
    ] = 0.5
    precision: Annotated[
        Precision,
        Flag(("--face-landmarker-precision",), "Which of its files is run.", "WORD"),
    ] = "fp32"


class FaceRecognizer(Section):
    """Which network tells people apart."""

    panel: ClassVar[str] = "Whose face"
    model: Annotated[
        str,
        Choice(("", *SPACES)),
        Flag(
            ("--face-recognizer-model",),
            "The network that tells people apart, where a job asks who is who.",
            unset="arcface where the swapper loads it anyway, else dlib",
        ),
    ] = ""


class FaceTracker(Section):
    """When a face is the one of the frame before."""

    panel: ClassVar[str] = "Finding faces"
    score: Annotated[
        float,
        Field(ge=0, le=0.5),
        Flag(
            ("--face-tracker-score",),
            "How much a face must overlap the place where it is followed to. Faces are always "
            "tracked; 0 is our own 0.3.",
            "SCORE",
        ),
    ] = 0.0
