"""Films of known motion: paths, scenes and how a camera and an encoder spoil them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, cos, pi, radians, sin
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from known_motion import SIZE, Array, Face, Layer, Pose, Rgb, Still, as_picture, draw, place
from raw_faces import RawEye

from actors.models import ModelStore
from actors.sources import read_picture

IOD: Final = 96.0
"""Inter-ocular distance in most films, in pixels."""
YAW: Final = radians(20)
MOUTH: Final = 0.16
FPS: Final = 25
LATER: Final = 1000
"""Frames from a film to its rehearsal: the same scene at another time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One person in one instant."""

    person: int
    face: Face
    pose: Pose
    hidden: bool = False
    """Another one is in front: not counted."""

    @property
    def iod(self) -> float:
        """Distance of the outer corners of the eyes in pixels of the frame, if seen frontally."""
        return self.face.iod * float(np.hypot(*self.pose.affine[:, 0]))

    @property
    def centre(self) -> Array:
        """[2] middle of the face in the frame."""
        return self.face.truth(self.pose).mean(axis=0)


Scene = Callable[[float], tuple[list[Layer], list[Seen]]]
"""A time in frames -> what to draw, and who is there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """A film to make."""

    name: str
    group: str
    """rigid, turn, mouth, fast, people or hard: which gates it counts for; hard: none."""
    scene: Scene
    frames: int = 100
    cuts: tuple[int, ...] = ()
    noise: float = 2.0
    """Standard deviation in codes of 255."""
    crf: int = 18
    rehearsal: int = 200
    """Frames of the rehearsal; 0: none, its error then includes what the network always says. The
    mean over poses that vary needs more: from 200 frames to 400 the errors of a turning head fell
    by 2 to 7 %, of each way of seeing, and from there to 800 by 1 to 4 %."""
    shutter: float = 0.25
    """Part of the time between frames in which the shutter is open."""

    def speed(self, t: float) -> float:
        """Pixels that the fastest face goes per frame."""
        before, after = self.scene(t - 0.25)[1], self.scene(t + 0.25)[1]
        return 2 * max(
            float(np.hypot(*(a.face.truth(a.pose) - b.face.truth(b.pose)).T).max())
            for b, a in zip(before, after, strict=True)
        )


def write_film(film: Film, path: Path, *, rehearsal: bool = False) -> None:
    """Draw, blur, make noisy and encode a film (H.264, 4:2:0), the same bytes each time."""
    random = np.random.default_rng(8 if rehearsal else 7)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(film.crf), "preset": "veryfast"}
        for at in range(film.rehearsal if rehearsal else film.frames):
            t = at + LATER * rehearsal
            steps = max(1, ceil(film.shutter * film.speed(t) / 2))
            total = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
            for step in range(steps):
                total += draw(film.scene(t + film.shutter * ((step + 0.5) / steps - 0.5))[0])
            total = total / steps + random.normal(0, film.noise, total.shape)
            codes = np.clip(np.rint(total), 0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(codes, "rgb24")))
        out.mux(stream.encode(None))


def films(models: ModelStore, *, quick: bool) -> list[Film]:
    """The films of the benchmark."""
    eye = RawEye(models)

    def still(rgb: Rgb) -> Still:
        faces = eye.faces(as_picture(rgb))
        return Still(rgb, [Face(points=face.landmarks.astype(np.float64)) for face in faces])

    astronaut = still(read_picture(models.path("astronaut")))
    man = still(_frame(models.path("single_face"), 10))
    if quick:
        brief = [
            Film(name="sway", group="rigid", frames=50, scene=_sway(man)),
            Film(name="talk", group="mouth", frames=50, scene=_talk(man)),
            Film(name="fast", group="fast", frames=50, scene=_sway(man, speed=3.0)),
            Film(
                name="cross",
                group="people",
                frames=64,
                rehearsal=0,
                scene=_cross(astronaut, man, 40.0),
            ),
        ]
        return [replace(film, rehearsal=min(film.rehearsal, 100)) for film in brief]
    woman = still(_frame(models.path("wolfgang_langer"), 300))
    other = still(_frame(models.path("face_noface"), 10))
    group = still(read_picture(models.path("multi_face")))
    return [
        Film(name="sway", group="rigid", scene=_sway(man)),
        Film(name="portrait", group="rigid", scene=_sway(astronaut)),
        Film(name="slow", group="rigid", scene=_sway(other, speed=0.6)),
        Film(name="group", group="rigid", scene=_pan(group)),
        Film(name="cuts", group="rigid", scene=_cuts(man, astronaut), cuts=(25, 50, 75)),
        Film(name="turn", group="turn", scene=_turn(astronaut), rehearsal=400),
        Film(name="look", group="turn", scene=_turn(man), rehearsal=400),
        Film(name="talk", group="mouth", scene=_talk(man), rehearsal=400),
        Film(name="speak", group="mouth", scene=_talk(other), rehearsal=400),
        Film(name="fast", group="fast", scene=_sway(man, speed=3.0)),
        Film(name="run", group="fast", scene=_sway(other, speed=3.0), shutter=0.5),
        Film(name="grain", group="hard", scene=_sway(man), noise=5.0, crf=28),
        Film(name="laugh", group="hard", scene=_sway(woman, speed=0.6)),
        Film(
            name="cross", group="people", frames=64, rehearsal=0, scene=_cross(astronaut, man, 40.0)
        ),
        Film(name="meet", group="people", frames=64, rehearsal=0, scene=_cross(man, woman, 15.0)),
        Film(
            name="part",
            group="people",
            frames=64,
            rehearsal=0,
            scene=_cross(woman, man, 40.0, back=True),
        ),
    ]


def _sway(still: Still, *, speed: float = 1.0, person: int = 0) -> Scene:
    """The camera pans, rolls and zooms; at speed 1 a face moves up to 10 pixels a frame."""
    who = still.faces[0]
    centre = who.points.mean(axis=0)

    def scene(t: float) -> tuple[list[Layer], list[Seen]]:
        s = speed * t
        at = np.array([320 + 60 * sin(0.161 * s), 180 + 25 * sin(0.113 * s + 1)])
        affine = place(
            centre,
            at,
            turn=radians(6) * sin(0.09 * s + 0.5),
            zoom=IOD / who.iod * (1 + 0.06 * sin(0.07 * s + 2)),
        )
        pose = Pose(affine=affine)
        return [Layer(still=still, pose=pose)], [Seen(person=person, face=who, pose=pose)]

    return scene


def _turn(still: Still) -> Scene:
    """The head turns from side to side while the camera moves a little."""
    who = still.faces[0]
    centre = who.points.mean(axis=0)

    def scene(t: float) -> tuple[list[Layer], list[Seen]]:
        at = np.array([320 + 20 * sin(0.07 * t), 180 + 8 * sin(0.1 * t)])
        affine = place(centre, at, turn=0.05 * sin(0.06 * t), zoom=IOD / who.iod)
        pose = Pose(affine=affine, yaw=YAW * sin(0.078 * t + 0.3))
        return [Layer(still=still, pose=pose)], [Seen(person=0, face=who, pose=pose)]

    return scene


def _talk(still: Still) -> Scene:
    """A mouth that opens and shuts not quite twice a second, and eyes that blink."""
    who = still.faces[0]
    centre = who.points.mean(axis=0)

    def scene(t: float) -> tuple[list[Layer], list[Seen]]:
        at = np.array([320 + 16 * sin(0.09 * t), 180 + 6 * sin(0.12 * t)])
        affine = place(centre, at, turn=0.04 * sin(0.08 * t), zoom=IOD / who.iod)
        loud = 0.65 + 0.35 * sin(0.09 * t + 1)
        mouth = MOUTH * loud * (0.5 - 0.5 * cos(2 * pi * t / 15.3))
        since = (t - 11) % 19 - 3
        blink = cos(pi * since / 6) ** 2 if abs(since) < 3 else 0.0
        pose = Pose(affine=affine, mouth=mouth, blink=blink)
        return [Layer(still=still, pose=pose)], [Seen(person=0, face=who, pose=pose)]

    return scene


def _pan(still: Still) -> Scene:
    """A picture of several people, each of whom goes along."""

    def scene(t: float) -> tuple[list[Layer], list[Seen]]:
        middle = np.array(still.rgb.shape[1::-1]) / 2
        at = np.array([300 + 40 * sin(0.08 * t), 190 + 20 * sin(0.11 * t)])
        pose = Pose(affine=place(middle, at, turn=0.05 * sin(0.07 * t), zoom=1.1))
        seen = []
        for person, face in enumerate(still.faces):
            points = face.truth(pose)
            inside = (points > 4).all() and (points < np.array(SIZE) - 5).all()
            seen.append(Seen(person=person, face=face, pose=pose, hidden=not inside))
        return [Layer(still=still, pose=pose)], seen

    return scene


def _cuts(one: Still, other: Still, every: int = 25) -> Scene:
    """One shot after the other, first of one person, then of another, then of the first again."""
    shots = (_sway(one, speed=0.8), _sway(other, speed=0.8, person=1))

    def scene(t: float) -> tuple[list[Layer], list[Seen]]:
        # A shutter that is open at the cut still shows one shot only.
        return shots[round(t) // every % 2](t)

    return scene


def _cross(front: Still, rear: Still, apart: float, *, back: bool = False) -> Scene:
    """Two people go past each other, one in front; or meet in the middle and go back.

    Args:
        apart: how much higher one of them is, in pixels.
    """
    ground = Still(cv2.GaussianBlur(np.ascontiguousarray(front.rgb[:80, :200]), (0, 0), 8), [])
    cover = Pose(affine=np.array([[4.5, 0.0, 0.0], [0.0, 4.5, 0.0]]))

    def scene(t: float) -> tuple[list[Layer], list[Seen]]:
        along = 190 * cos(pi * t / 63)
        if back:
            along = 105 + 85 * cos(2 * pi * t / 63)
        layers, seen, middles = [Layer(still=ground, pose=cover)], [], []
        for person, (still, side) in enumerate(((rear, -1), (front, 1))):
            who = still.faces[0]
            middle = np.array([320 + side * along, 180 + side * apart])
            middles.append(middle)
            centre: Array = who.points.mean(axis=0)
            pose = Pose(affine=place(centre, middle, zoom=0.45 * IOD / who.iod))
            layers.append(Layer(still=still, pose=pose, cut_out=True))
            seen.append(Seen(person=person, face=who, pose=pose))
        near = float(np.hypot(*(middles[0] - middles[1]))) < 1.3 * IOD
        return layers, [
            Seen(person=s.person, face=s.face, pose=s.pose, hidden=near and s.person == 0)
            for s in seen
        ]

    return scene


def _frame(path: Path, number: int) -> Rgb:
    with av.open(str(path)) as film:
        for at, frame in enumerate(film.decode(video=0)):
            if at == number:
                return frame.to_ndarray(format="rgb24")
    raise ValueError(f"{path.name} has no frame {number}")
