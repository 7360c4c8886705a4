"""The five stages of a lane. Each takes frames from the one before and gives them on, in order.

A stage is a generator: it may hold frames back (to work on several at once, or to see the next),
as long as a ring's slots allow, and it notices by itself when it ends early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.decoder import Decoder
from actors.encoder import Encoder, SegmentEncoder
from actors.finisher import Finisher, HostFinisher
from actors.follower import FaceFollower
from actors.frames import Frame, SlotNotes
from actors.hands import HALO, HandTracker
from actors.hashes import frame_hash
from actors.lane_files import LaneFiles, write_table
from actors.masks import MaskWriter, PastedFace
from actors.objects import ObjectFinder
from actors.observer import FaceObserver
from actors.portraits import PortraitAlbum
from actors.profiler import Profiler
from actors.sampler import FaceSampler
from actors.swapper import Swapper
from actors.toolbox import LaneKit, Toolbox
from actors.tracker import Tracker, held_back, reach
from actors.transport.shm import MOST_SLOTS, Ring
from kernels.api import Patch
from kernels.geometry import Affine, display_affine
from scheduler import appearances
from scheduler import hands as hand_tables
from scheduler.chunks import Chunk
from scheduler.hands import HandObservation
from scheduler.jobs import AnalyseTask, Analysis, JobSpec, LaneTask, RenderTask, Segment
from scheduler.media import VideoIndex
from scheduler.tracks import FRAMES_SCHEMA, PORTRAITS_SCHEMA, FaceObservation, from_table, to_table

S = TypeVar("S", bound=SlotNotes)


@dataclass(slots=True)
class Outcome:
    """What the stages of one process have done so far."""

    frames: int = 0
    """Frames of the chunk that left the process; read by other threads."""
    beats: int = 0
    """Signs of life: frames that passed a stage, batches of faces; read by other threads."""
    result: Analysis | Segment | None = None
    """Set by the stage that ends the task, when it has ended it."""
    masks_path: str = ""

    def beat(self) -> None:
        """Something was done; called by the thread that does it."""
        self.beats += 1


def span(task: LaneTask) -> tuple[int, int]:
    """Frames [start, stop) that the task decodes: its chunk with the halo."""
    chunk = task.chunk
    return max(chunk.start - chunk.warmup, 0), min(chunk.stop + chunk.tail, task.index.frames)


def analysis_halo(job: JobSpec) -> int:
    """Frames on each side of a chunk that decide its tables."""
    return max(reach(job.analysis.interval), HALO if job.occlusion else 0)


def slots_needed(task: LaneTask, kit: LaneKit) -> int:
    """Slots of the ring for a task: what its stages hold back comes on top where ``kit.slots`` are
    too few. Analysis works on one interval of frames while the next is decoded; the swapper gathers
    a batch of faces, at worst from as many frames."""
    if isinstance(task, AnalyseTask):
        interval = task.job.analysis.interval
        return max(kit.slots, held_back(interval) + interval)
    return kit.slots + swapper_hold(kit, swap_batch(task, kit))


def swap_batch(task: RenderTask, kit: LaneKit) -> int:
    """Faces that a neural swapper sees at once; fewer where memory has run out before."""
    return max(kit.batch // task.batch_divisor, 1)


def swapper_hold(kit: LaneKit, batch: int) -> int:
    """How many frames the swapper may hold back while it asks for the next: never so many that the
    decoder could find no free slot for it."""
    return max(min(batch - 1, MOST_SLOTS - kit.slots), 0)


def decoder(task: LaneTask, ring: Ring) -> Iterator[Frame]:
    """The frames of the chunk and its halo, each in a slot of the ring."""
    start, stop = span(task)
    return Decoder(task.index).decode(start, stop, ring)


def detector(
    task: AnalyseTask, frames: Iterator[Frame], tools: Toolbox, outcome: Outcome
) -> Iterator[Frame]:
    """Tracks faces and hands and measures changes; in the end writes the chunk's tables."""
    if task.passthrough:
        return _looks_away(task, frames, outcome)
    return _looks(task, frames, tools, outcome)


def _looks_away(task: AnalyseTask, frames: Iterator[Frame], outcome: Outcome) -> Iterator[Frame]:
    """The tables of a chunk in which nobody was looked for, without any tool."""
    chunk, files, job = task.chunk, LaneFiles(task), task.job
    seen = 0
    for frame in frames:
        seen += inside(chunk, frame)
        yield frame
    changes = [pa.array(range(chunk.start, chunk.start + seen)), pa.array([0.0] * seen)]
    columns = [
        column.cast(field.type) for column, field in zip(changes, FRAMES_SCHEMA, strict=True)
    ]
    write_table(to_table([]), files.faces)
    write_table(pa.Table.from_arrays(columns, schema=FRAMES_SCHEMA), files.frames)
    if job.portraits.any:
        write_table(PORTRAITS_SCHEMA.empty_table(), files.portraits)
    if job.occlusion:
        write_table(hand_tables.SCHEMA.empty_table(), files.hands)
    if job.objects:
        write_table(appearances.SCHEMA.empty_table(), files.appearances)
    outcome.result = Analysis(
        chunk=chunk.index,
        faces_path=str(files.faces),
        frames_path=str(files.frames),
        frames=seen,
        faces=0,
        hands_path=str(files.hands) if job.occlusion else "",
        appearances_path=str(files.appearances) if job.objects else "",
        portraits_path=str(files.portraits) if job.portraits.any else "",
    )


def _looks(
    task: AnalyseTask, frames: Iterator[Frame], tools: Toolbox, outcome: Outcome
) -> Iterator[Frame]:
    chunk, settings = task.chunk, task.job.analysis
    display = display_of(task.index)
    observer = FaceObserver(
        tools.detector_for(settings.detector),
        tools.landmarker_for(settings.landmarker),
        tools.kernels,
        display,
        profiler=tools.profiler,
    )
    tracker = Tracker(
        observer,
        FaceFollower(display),
        interval=settings.interval,
        expression=settings.expression,
        min_overlap=settings.tracker_score,
    )
    asked, album = task.job.portraits, None
    if asked.any:
        album = PortraitAlbum(
            tools.embedder(asked.recognizer) if asked.recognizer else None,
            tools.kernels,
            display,
            tools.classifier if asked.classes else None,
            tools.profiler,
        )
    hands = None
    if task.job.occlusion:
        hands = HandTracker(tools.palm_detector, tools.hand_landmarker, tools.kernels, display)
    sampler = FaceSampler(tools.unwrapper, tools.kernels) if task.job.objects else None
    faces: list[FaceObservation] = []
    changes: list[tuple[int, float]] = []
    for tracked in tracker.track(frames, chunk.start, chunk.stop):
        frame, at = tracked.frame, tracked.frame.handle.frame_index
        faces += tracked.faces
        if inside(chunk, frame):
            changes.append((at, tracked.change))
            if album is not None:
                album.add(frame.picture, at, tracked.faces, tracked.change)
            if sampler is not None:
                sampler.add(frame.picture, at, tracked.faces)
        if hands is not None:
            seen = tracked.detected
            if seen is None and hands.looks_at(at):
                seen = observer.observe(frame.picture, at)
            with tools.profiler.span("detector.hands"):
                hands.observe(frame.picture, at, [face.box for face in seen or ()])
        yield frame
    files = LaneFiles(task)
    write_table(to_table(faces), files.faces)
    write_table(
        pa.Table.from_arrays(
            [pa.array(column) for column in zip(*changes, strict=True)], schema=FRAMES_SCHEMA
        ),
        files.frames,
    )
    if album is not None:
        write_table(album.table(), files.portraits)
    if hands is not None:
        found = hands.result(chunk.start, chunk.stop)
        write_table(hand_tables.to_table(found), files.hands)
    if sampler is not None:
        write_table(sampler.table(), files.appearances)
    outcome.result = Analysis(
        chunk=task.chunk.index,
        faces_path=str(files.faces),
        frames_path=str(files.frames),
        frames=len(changes),
        faces=len(faces),
        hands_path=str(files.hands) if hands is not None else "",
        appearances_path=str(files.appearances) if sampler is not None else "",
        portraits_path=str(files.portraits) if album is not None else "",
        embedded=album.embedded if album is not None else 0,
        classified=album.classified if album is not None else 0,
        detected=observer.detected,
    )


def swapper(
    task: RenderTask, frames: Iterator[Frame], tools: Toolbox, outcome: Outcome
) -> Iterator[Frame]:
    """Puts the swapped crops of each frame's faces into its slot."""
    faces = read_faces(task)
    if not faces:
        yield from frames  # nothing to set a source face up for
        return
    people = {face.person for seen in faces.values() for face in seen}
    batch = swap_batch(task, tools.kit)
    face_swappers = {
        person: tools.face_swapper(task.job.swap, task.crop_size, person, batch)
        for person in sorted(people)
    }
    # What decides a crop besides the face and its frame, and the frames before the next chunk.
    chunk, owner = task.chunk, (task.job.folder, task.job.media, task.job.swap, task.crop_size)
    wanted = range(chunk.stop - task.job.stabilize.warmup, chunk.stop)
    tools.swaps.turn_to(owner, span(task)[0], wanted)
    stage = Swapper(face_swappers, tools.kernels, display_of(task.index), outcome.beat, tools.swaps)
    yield from stage.swap_frames(frames, faces, hold=swapper_hold(tools.kit, batch))


def compositor(
    task: RenderTask, frames: Iterator[Frame], tools: Toolbox, outcome: Outcome
) -> Iterator[Frame]:
    """Steadies the crops and pastes them into the planes, behind what is before them. See
    `finished`."""
    faces = read_faces(task)
    finisher = HostFinisher(tools.kernels, task.job.stabilize, read_objects(task, faces, tools))
    yield from finished(task, frames, faces, finisher, tools.profiler, outcome)


def finished(
    task: RenderTask,
    frames: Iterator[S],
    faces: Mapping[int, Sequence[FaceObservation]],
    finisher: Finisher[S],
    profiler: Profiler,
    outcome: Outcome,
) -> Iterator[S]:
    """What the compositor does to a task's frames, wherever they lie.

    Only the chunk's own frames are pasted. Writes the masks' table when the job asks for it.
    """
    hands = read_hands(task)
    with ExitStack() as stack:
        masks = None
        if task.job.record_masks:
            path = LaneFiles(task).masks
            masks = stack.enter_context(MaskWriter(path))
            outcome.masks_path = str(path)
        for frame in frames:
            if task.job.stabilize.any:
                with profiler.span("compositor.stabilise"):
                    finisher.stabilize(frame)
            if inside(task.chunk, frame):
                at = frame.handle.frame_index
                seen = [] if masks is None else finisher.strengths(frame)
                # After all filters: the outline must never be blended over time.
                with profiler.span("compositor.occlude"):
                    finisher.occlude(frame, hands.get(at, ()), faces.get(at, ()))
                left = [] if masks is None else finisher.strengths(frame)
                patches = finisher.composite(frame)
                if masks is not None:
                    masks.add(_pasted(frame, patches, seen, left))
            yield frame


def _pasted(
    frame: SlotNotes,
    patches: Sequence[Patch],
    seen: Sequence[tuple[float, float]],
    left: Sequence[tuple[float, float]],
) -> Iterator[PastedFace]:
    """What became of each face, from its blend mask before and after hands were cut out."""
    for face, (patch, before, after) in enumerate(zip(patches, seen, left, strict=True)):
        yield PastedFace(
            frame=frame.handle.frame_index,
            track=int(frame.tracks[face]),
            patch=patch,
            strength=before[0],
            hidden=1 - after[1] / before[1] if before[1] else 0.0,
        )


def encoder(task: RenderTask, frames: Iterator[Frame], outcome: Outcome) -> Iterator[Frame]:
    """Encodes the chunk's frames as a segment; hashes them when the job asks for it."""
    job = task.job
    hashes: list[str] = []

    def hashed() -> Iterator[Frame]:
        for frame in frames:
            if inside(task.chunk, frame):
                hashes.append(frame_hash(frame.picture))
            yield frame

    stage = Encoder(task.index, job.encoder, LaneFiles(task).segment, job.cut.rate)
    yield from encoded(task, hashed() if job.frame_hashes else frames, stage, outcome)
    assert isinstance(outcome.result, Segment)
    outcome.result = replace(outcome.result, frame_hashes=tuple(hashes))


def encoded(
    task: RenderTask,
    frames: Iterator[S],
    stage: SegmentEncoder[S],
    outcome: Outcome,
    skip: Callable[[S], None] = lambda _: None,
    remarks: tuple[str, ...] = (),
) -> Iterator[S]:
    """Encodes the chunk's frames as a segment, wherever they lie.

    Args:
        stage: is closed in the end.
        skip: told of frames that are not the chunk's own.
        remarks: of the segment.
    """
    swapped = 0
    with stage:
        for frame in frames:
            if inside(task.chunk, frame):
                stage.encode(frame)
                swapped += frame.faces > 0
            else:
                skip(frame)
            yield frame
        encoded = stage.close()
    outcome.result = Segment(
        chunk=task.chunk.index,
        path=encoded.path,
        frames=encoded.frames,
        first_pts=encoded.first_pts,
        sha256=encoded.sha256,
        extradata_sha256=encoded.extradata_sha256,
        swapped_frames=swapped,
        remarks=remarks,
    )


def read_faces(task: RenderTask) -> dict[int, list[FaceObservation]]:
    """The faces to swap in the frames that the task decodes, by frame."""
    if task.passthrough:
        return {}
    rows = from_table(_rows(task.job.tracks, *span(task)))
    faces = (face for face in rows if face.person >= 0)
    return {at: list(seen) for at, seen in groupby(faces, lambda face: face.frame)}


def read_hands(task: RenderTask) -> dict[int, list[HandObservation]]:
    """The hands of the frames that the task decodes, by frame; none when the job ignores them."""
    if not task.job.occlusion or task.passthrough:
        return {}
    rows = hand_tables.from_table(_rows(task.job.hands, *span(task)))
    return {at: list(hands) for at, hands in groupby(rows, lambda hand: hand.frame)}


def read_objects(
    task: RenderTask, faces: Mapping[int, Sequence[FaceObservation]], tools: Toolbox
) -> ObjectFinder | None:
    """What finds objects before the task's faces; None when the job ignores them."""
    if not task.job.objects:
        return None
    return ObjectFinder(read_appearances(task, faces), tools.unwrapper)


def read_appearances(
    task: RenderTask, faces: Mapping[int, Sequence[FaceObservation]]
) -> dict[int, list[NDArray[np.uint8]]]:
    """The samples of the tracks that the task swaps."""
    tracks = {face.track for seen in faces.values() for face in seen}
    if not tracks:
        return {}
    wanted = [("track", "in", sorted(tracks))]
    table = pq.read_table(task.job.appearances, filters=wanted, use_threads=False)
    return appearances.by_track(table)


def _rows(path: str, start: int, stop: int) -> pa.Table:
    """The rows of a table whose ``frame`` is in [start, stop).

    Only the row groups that may hold such frames are read: memory does not grow with the film.
    """
    with pq.ParquetFile(path) as file:
        groups = []
        for number in range(file.num_row_groups):
            frames = file.metadata.row_group(number).column(0).statistics
            if frames is None or (frames.max >= start and frames.min < stop):
                groups.append(number)
        table = file.read_row_groups(groups, use_threads=False)
    column = table.column("frame")
    return table.filter(pc.and_(pc.greater_equal(column, start), pc.less(column, stop)))


def inside(chunk: Chunk, frame: SlotNotes) -> bool:
    """Whether a frame is the chunk's own, not of its halo."""
    return chunk.start <= frame.handle.frame_index < chunk.stop


def display_of(index: VideoIndex) -> Affine:
    """float64 [2, 3] frame pixels -> upright square display pixels."""
    return display_affine(
        index.width, index.height, float(index.sample_aspect_ratio), index.rotation
    )
