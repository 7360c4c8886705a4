"""What a job is and what crosses a process line on its behalf. Names and numbers, never pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Literal

from scheduler.chunks import Chunk
from scheduler.classes import ClassFilter
from scheduler.detection import DetectorSettings, LandmarkerSettings
from scheduler.devices import CPU
from scheduler.masks import MaskSettings
from scheduler.media import VideoIndex
from scheduler.output import STILLS, CutSettings, ImageSettings, SoundSettings
from scheduler.places import Destination
from scheduler.provenance import ModelRecord
from scheduler.timing import Spent, cpu_by_stage

WARMUP: Final = 12
"""What the guard looks back on, and by measurement (docs/quality-pixels.md) more than the other
filters need for 99.9 % of face pixels within 1/255 of an unchunked render."""
COLOUR_WARMUP: Final = 16
"""What the colour transfer looks back on."""
MESH_SWAPPER: Final = "mesh"
"""The swapper that is no network (docs/mesh-swapper.md)."""
STANDIN: Final = "stand-in-waits-"
"""Begins the name of the stand-in of `farm bench scaling`; the milliseconds that it waits for each
face follow. No setting leads to it."""
PRECISIONS: Final = ("fp32", "fp16", "int8", "auto")
"""Which of a network's files is run; auto: INT8 where it is there and the machine gains by it."""
MAX_INTERVAL: Final = 24
"""Frames between detections at most: each more is a frame more that a lane holds and a chunk reads
beyond its borders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """How segments are encoded. Part of the job: the same on every lane, whatever its machine."""

    codec: str = "libx264"
    """One of ``scheduler.output.VIDEO_ENCODERS``."""
    preset: str = "veryfast"
    quality: int = 18
    """CRF on the codec's own scale; not used by lossless codecs."""
    pix_fmt: str = ""
    """FFmpeg's name; empty: the source's own format."""
    threads: int = 1
    """Encoder threads. A different number may give different bytes, so it belongs to the job."""
    scale: float = 1.0
    """Size of the result over the film's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One of the film's people, and whose face that person gets."""

    identity: str
    """Letter of the identity (``scheduler.identities``)."""
    sources: tuple[str, ...]
    """Absolute paths of pictures of one person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceChoice:
    """Which of the film's faces are swapped, where not all are."""

    mode: str = "many"
    """many: all; one: the first of each frame by ``order``; reference: those who look like the
    person in ``references``."""
    order: str = "large-small"
    """One of ``scheduler.selection.ORDERS``."""
    references: tuple[str, ...] = ()
    """Absolute paths of pictures of the person to look for."""
    reference_frame: int | None = None
    """Instead of ``references``: the film's frame that shows the person to look for."""
    reference_position: int = 0
    """Which of that frame's faces it is, in ``order``, 0-based."""
    ages: tuple[int, int] | None = None
    """Only people who look this old, in years, both ends included."""
    gender: str = ""
    """female or male: only people who look it; auto: as the source does; empty: all."""
    race: str = ""
    """white, black, latino, asian, indian or arabic: only people who look it; auto: as the source
    does; empty: all."""
    distance: float | None = None
    """Largest distance of embeddings at which an identity is the person of the references; None:
    what suits the recogniser (``scheduler.identities.SPACES``)."""

    @property
    def wanted(self) -> ClassFilter:
        """Whom the classifier is asked about, if anybody."""
        return ClassFilter(ages=self.ages, gender=self.gender, race=self.race)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancerSettings:
    """A second network over the swapped crop that sharpens it."""

    model: str = ""
    """Name of a face enhancer; empty: none."""
    blend: float = 0.8
    """0..1: how much of its picture is taken."""
    weight: float = 0.5
    """0..1: fidelity against quality, for networks that ask (codeformer)."""
    precision: str = "fp32"
    """fp32, int8 or auto: which of its files is run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapSettings:
    """What is put on the faces."""

    model: str = MESH_SWAPPER
    """Name of a swapper."""
    sources: tuple[str, ...] = ()
    """Absolute paths of pictures of the one person whose face is put on."""
    cast: tuple[Role, ...] = ()
    """Instead of ``sources``: whose face each of the film's people gets. Others are left alone."""
    source_face: int | None = None
    """Which face of a source picture with several, from the left, 1-based."""
    crop_size: int = 0
    """Side of the aligned crop in pixels; 0: chosen from the size of the film's faces."""
    weight: float = 0.5
    """0..1, of the source's identity against the target's own; 0.5: the source's alone."""
    boost: int = 0
    """Side in pixels to which a neural swapper's picture is raised by interleaved runs; 0: none."""
    precision: str = "fp32"
    """fp32, int8 or auto: which of the swapper's files is run."""
    masks: MaskSettings = field(default_factory=MaskSettings)
    enhancer: EnhancerSettings = field(default_factory=EnhancerSettings)

    @property
    def waits(self) -> float | None:
        """Seconds that a stand-in waits for each face; None: it is a real swapper."""
        number = self.model.removeprefix(STANDIN).removesuffix("ms")
        return int(number) / 1000 if self.model.startswith(STANDIN) else None

    @property
    def people(self) -> tuple[tuple[str, ...], ...]:
        """Source pictures of each person that is put on faces, by the number in the table."""
        return tuple(role.sources for role in self.cast) if self.cast else (self.sources,)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyseSettings:
    """How faces are found and tracked. All that decides the tables of an analysis."""

    interval: int = 6
    """The detector looks at each frame whose number is a multiple of this (and at the ends of
    shots); faces are tracked between. 1 to `MAX_INTERVAL`; 1: at every frame."""
    expression: bool = True
    """The mesh looks at every frame. Without it, mouth and eyelids move less between detections
    than they do: enough for swappers that only need the pose."""
    occlusion: bool = True
    """Hands near faces are found, and stay in front of them in the render."""
    objects: bool = True
    """Samples of the faces are kept, by which the render tells what is before them. Only of faces
    with the mesh's points."""
    tracker_score: float = 0.3
    """How much a face must overlap the place where it is followed to, to be the same."""
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    landmarker: LandmarkerSettings = field(default_factory=LandmarkerSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitSettings:
    """Which networks look at the best views of each face."""

    recognizer: str = ""
    """Of ``scheduler.identities.SPACES``; empty: none."""
    classes: bool = False
    """The classifier does."""

    @property
    def any(self) -> bool:
        return bool(self.recognizer) or self.classes

    def serve(self, other: PortraitSettings) -> bool:
        """Whether portraits made like this tell all that others would."""
        return other.recognizer in ("", self.recognizer) and (self.classes or not other.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilizeSettings:
    """Which temporal filters work on the swapped crops (docs/quality-pixels.md)."""

    colour: bool = False
    """Bring the swapped face's mean colour and contrast to the original's, changing slowly."""
    flow: bool = True
    """Hold what is swapped to the original's motion."""
    guard: bool = True
    """Bridge frames whose swap falls out of line with those before."""
    snap: bool = False
    """Hold places whose swap hardly changes."""
    seam: bool = True
    """Hold the mask's edge while the face hardly moves."""

    @property
    def any(self) -> bool:
        return self.colour or self.flow or self.guard or self.snap or self.seam

    @property
    def warmup(self) -> int:
        """Frames before a chunk after which the filters do as if they had seen the whole shot."""
        if self.colour:
            return COLOUR_WARMUP
        return WARMUP if self.any else 0


FILTERS: Final = tuple(each.name for each in fields(StabilizeSettings))
"""The temporal filters by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """All that decides the frames of a job, and where its files go."""

    job_id: str
    media: str
    """Absolute path of the film."""
    output: str
    """Absolute path of the result; it appears there by rename."""
    folder: str
    """Absolute path of the job's own folder for analysis and segments."""
    swap: SwapSettings
    device: str = CPU
    """Of ``scheduler.devices.DEVICES``: what pixels and networks are worked on with, on all lanes.
    Two devices agree within tolerances, not bit for bit (docs/gpu-lane.md)."""
    faces: FaceChoice = field(default_factory=FaceChoice)
    identities: bool = False
    """Whether the analysis must find out who is who; needs the recogniser."""
    recognizer: str = "dlib"
    """Which one: of ``scheduler.identities.SPACES``."""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    analysis: AnalyseSettings = field(default_factory=AnalyseSettings)
    stabilize: StabilizeSettings = field(default_factory=StabilizeSettings)
    cut: CutSettings = field(default_factory=CutSettings)
    sound: SoundSettings = field(default_factory=SoundSettings)
    image: ImageSettings = field(default_factory=ImageSettings)
    chunk_seconds: float | None = None
    """None: by the film's length (``scheduler.chunks.chunk_length``)."""
    smooth: bool = True
    """Smooth the faces' trajectories after the stitch (``scheduler.smooth``)."""
    attempts: int = 3
    """How often a task may be tried when it fails for passing reasons."""
    on_error: Literal["fail", "passthrough"] = "fail"
    """What becomes of a chunk that cannot be worked on: the job ends, or the film's own frames
    stay there."""
    masks_output: str = ""
    """Where to put each frame's blend mask (for proofs and for editors); empty: nowhere."""
    hashes_output: str = ""
    """Where to put a hash of each frame as it is handed to the encoder; empty: nowhere."""
    destination: Destination | None = None
    """Where the result goes from ``output`` when it is whole; None: it stays there."""
    consent: str = ""
    """Who agreed to what, in the user's words: recorded with the job and in the result."""
    webhooks: tuple[str, ...] = ()
    """Who is told when the job's state changes (``cluster.webhook``)."""
    report: bool = False
    """Record what a report on the result needs: masks, and how strongly each face was pasted."""

    @property
    def goal(self) -> str:
        """Where the result is in the end: a path or a URI."""
        return self.destination.uri if self.destination else self.output

    @property
    def portraits(self) -> PortraitSettings:
        """What is asked of the faces' best views."""
        return PortraitSettings(
            recognizer=self.recognizer if self.identities else "",
            classes=self.faces.wanted.any,
        )

    @property
    def record_masks(self) -> bool:
        return bool(self.masks_output) or self.report

    @property
    def frame_hashes(self) -> bool:
        return bool(self.hashes_output)

    @property
    def partial(self) -> str:
        """The half-written result: beside ``output``, so that a rename publishes it."""
        folder, _, name = self.output.rpartition("/")
        return f"{folder}/.{self.job_id}.partial.{name.rpartition('.')[2]}"

    @property
    def still(self) -> bool:
        """The target is a picture, by its name."""
        return self.media.lower().endswith(STILLS)

    @property
    def still_target(self) -> str:
        """Of a picture: what lanes read instead, upright and without transparency."""
        return f"{self.folder}/target.png"

    @property
    def tracks(self) -> str:
        """The stitched table (``scheduler.tracks.SCHEMA``) that renders read."""
        return f"{self.folder}/tracks.parquet"

    @property
    def occlusion(self) -> bool:
        return self.analysis.occlusion

    @property
    def objects(self) -> bool:
        return self.analysis.objects and self.analysis.landmarker.model == "mesh"

    @property
    def appearances(self) -> str:
        """What tracks look like (``scheduler.appearances.STITCHED_SCHEMA``); with ``objects``."""
        return f"{self.folder}/film-appearances.parquet"

    @property
    def hands(self) -> str:
        """The hands (``scheduler.hands.SCHEMA``) that renders read; there with ``occlusion``.

        Not named as a table of an analysis: one from the cache may be a link in the same folder.
        """
        return f"{self.folder}/film-hands.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyseTask:
    """Find the faces of one chunk."""

    job: JobSpec
    index: VideoIndex
    chunk: Chunk
    """Its halo is all that decides the faces of its frames and the changes between them."""
    attempt: int
    passthrough: bool = False
    """Look for nothing: the film's own frames are to stay here."""

    @property
    def key(self) -> str:
        return f"analyse/{self.chunk.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderTask:
    """Swap, composite and encode one chunk."""

    job: JobSpec
    index: VideoIndex
    chunk: Chunk
    attempt: int
    faces: int
    """The most faces that any frame of the chunk has."""
    crop_size: int
    batch_divisor: int = 1
    """By how much batches are to be smaller than the lane's: memory has run out before."""
    passthrough: bool = False
    """Encode the film's own frames: the chunk cannot be worked on."""

    @property
    def key(self) -> str:
        return f"render/{self.chunk.index}"


LaneTask = AnalyseTask | RenderTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The result of an AnalyseTask: tables on storage."""

    chunk: int
    faces_path: str
    """Parquet after ``scheduler.tracks.SCHEMA``, frames of the chunk only (no halo)."""
    frames_path: str
    """Parquet after ``scheduler.tracks.FRAMES_SCHEMA``."""
    frames: int
    faces: int
    hands_path: str = ""
    """With ``AnalyseSettings.occlusion``: Parquet after ``scheduler.hands.SCHEMA``."""
    appearances_path: str = ""
    """With ``AnalyseSettings.objects``: Parquet after ``scheduler.appearances.SCHEMA``."""
    times: Mapping[str, Spent] = field(default_factory=dict)
    """What its parts took, for benchmarks and reports."""
    portraits_path: str = ""
    """Parquet after ``scheduler.tracks.PORTRAITS_SCHEMA``; empty without ``JobSpec.portraits``."""
    embedded: int = 0
    """Faces that the recogniser looked at."""
    classified: int = 0
    """Faces that the classifier looked at."""
    detected: int = 0
    """Pictures that the face detector looked at, those of the halo, too."""

    @property
    def cpu_ms(self) -> dict[str, float]:
        """CPU milliseconds by stage."""
        return cpu_by_stage(self.times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The result of a RenderTask: one encoded chunk on storage."""

    chunk: int
    path: str
    frames: int
    first_pts: int
    """In the film's time base."""
    sha256: str
    """Of the whole segment file."""
    extradata_sha256: str
    """Of the codec header; all segments of a job must share it."""
    swapped_frames: int
    """Frames with at least one swapped face."""
    frame_hashes: tuple[str, ...] = ()
    """With ``JobSpec.frame_hashes``: one a frame, of the planes as handed to the encoder."""
    masks_path: str = ""
    """With ``JobSpec.record_masks``: Parquet with one row for each face that was pasted."""
    times: Mapping[str, Spent] = field(default_factory=dict)
    """What its parts took."""
    remarks: tuple[str, ...] = ()
    """Why pictures did not come onto a GPU or leave it by the fastest way, or the one asked for."""

    @property
    def cpu_ms(self) -> dict[str, float]:
        """CPU milliseconds by stage."""
        return cpu_by_stage(self.times)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """What a finished job did."""

    job_id: str
    output: str
    frames: int
    faces: int
    """Faces found, counted once for each frame that they are in."""
    tracks: int
    frames_with_faces: int
    swapped_frames: int
    cuts: int
    chunks: int
    retries: int
    crop_size: int
    seconds: float
    """Wall time from the probe to the published file."""
    phase_seconds: dict[str, float]
    cpu_ms_per_frame: dict[str, float]
    """CPU milliseconds of each stage over the film's frames."""
    times: Mapping[str, Spent] = field(default_factory=dict)
    """What the parts of the lanes' work took, all lanes together: ``render.swapper``,
    ``analyse.detector.landmark``."""
    swaps: int = 0
    """Faces swapped, counted once for each frame that they are in."""
    megapixels: float = 0.0
    """Of one frame."""
    analysis_cached: bool = False
    """The film was not analysed again."""
    embedded: int = 0
    """Faces that the recogniser looked at."""
    models: tuple[ModelRecord, ...] = ()
    """All models that the job used."""
    classified: int = 0
    """Faces that the classifier looked at."""
    detected: int = 0
    """Pictures that the face detector looked at in the analysis."""
    passed: tuple[tuple[int, int], ...] = ()
    """Frames [start, stop) that could not be worked on and stayed as they were."""

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0
