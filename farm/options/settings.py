"""All options that outlive one command, in one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr

from farm.options.faces import (
    FaceDetector,
    FaceLandmarker,
    FaceRecognizer,
    FaceSelector,
    FaceTracker,
    Reference,
)
from farm.options.fields import Choice, Flag, Section, Words
from farm.options.output import Encoder, OutputAudio, OutputImage, OutputVideo, TrimFrame
from farm.options.swap import (
    FaceEnhancer,
    FaceMask,
    FaceOccluder,
    FaceParser,
    FaceSwapper,
)
from scheduler.devices import CPU, DEVICES
from scheduler.jobs import FILTERS, MAX_INTERVAL, AnalyseSettings, StabilizeSettings
from scheduler.provenance import POLICIES

WHERE = "Where it runs"
STEADY = "Steady faces"
PROOFS = "Proofs and inspection"


def _absolute(value: Path) -> Path:
    value = value.expanduser()
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


class Lane(Section):
    """How a lane is laid out on its machine. Never changes a frame."""

    panel: ClassVar[str] = WHERE
    processes: Annotated[
        int,
        Field(ge=0, le=5),
        Flag(
            ("--processes",),
            "Processes that a lane's five stages share. Never changes a frame.",
            "N",
            unset="1",
        ),
    ] = 0
    nvtx: bool = False
    """Name the parts of the work in the time line of NVIDIA's profilers; needs the package nvtx."""
    decoder: Literal["ffmpeg", "pynvvideocodec"] = "ffmpeg"
    """What decodes where frames stay on a GPU, if it gives the same pictures (docs/gpu.md)."""


def _address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must be an http:// or https:// address")
    return value


class Storage(Section):
    """The object store of `s3://` and `gs://` names (docs/storage.md). Credentials are not among
    the settings: the store's own SDK finds them."""

    endpoint: str = ""
    """`http://HOST:PORT` of a store that speaks S3; empty: the cloud's own."""
    region: str = ""
    """Empty: as the SDK finds it."""
    timeout: float = Field(default=30.0, ge=1, le=600)
    """Seconds without an answer after which a store counts as unreachable."""


class Webhooks(Section):
    """Who is told of a job's states (docs/webhooks.md)."""

    panel: ClassVar[str] = WHERE
    urls: Annotated[
        tuple[Annotated[str, AfterValidator(_address)], ...],
        Words,
        Flag(
            ("--webhook",),
            "Tell this address of the job's states (docs/webhooks.md); repeat it for more.",
            "URL",
        ),
    ] = ()
    secret: SecretStr = SecretStr("")
    """Signs what is told; empty: nothing is signed."""


class Consent(Section):
    """Whose agreement there is (docs/credentials.md)."""

    panel: ClassVar[str] = WHERE
    statement: Annotated[
        str,
        Field(max_length=1000),
        Flag(
            ("--consent",),
            "Who agreed to this use of their face, and where that is written down. Recorded with "
            "the job and, signed, in the result.",
            "TEXT",
        ),
    ] = ""
    required: bool = False
    """Jobs that do not say it are refused."""


class Credentials(Section):
    """Who signs results (docs/credentials.md); without, a key that this machine made for itself."""

    certificates: Annotated[Path, AfterValidator(_absolute)] | None = None
    """PEM file: the signer's certificate (P-256), then those that vouch for it."""
    key: Annotated[Path, AfterValidator(_absolute)] | None = None
    """PEM file: the certificate's key, without a password."""


class Settings(Section):
    """All of them. Fields without a flag belong to the machine, not to a job."""

    cache_dir: Annotated[Path, AfterValidator(_absolute)]
    """Models, samples and analyses that can be fetched or made again."""
    state_dir: Annotated[Path, AfterValidator(_absolute)]
    """Job folders and crash reports."""
    analysis_gb: float = Field(default=4.0, ge=0)
    """Room for analyses in the cache folder, in GB; 0: none are kept."""
    report_gb: float = Field(default=1.0, ge=0)
    """Room for what `farm report` needs of the last jobs, in the state folder, in GB; 0: nothing
    is kept."""
    keep_days: float = Field(default=30.0, ge=0)
    """Days after which what nobody used goes: kept job folders, analyses, records for reports,
    fetched inputs, results that could not be uploaded, what a farm knows of jobs that have ended;
    0: nothing goes for its age."""
    storage: Storage = Storage()
    webhooks: Webhooks = Webhooks()
    consent: Consent = Consent()
    credentials: Credentials = Credentials()
    face_selector: FaceSelector = FaceSelector()
    reference: Reference = Reference()
    face_recognizer: FaceRecognizer = FaceRecognizer()
    face_detector: FaceDetector = FaceDetector()
    face_landmarker: FaceLandmarker = FaceLandmarker()
    face_tracker: FaceTracker = FaceTracker()
    face_swapper: FaceSwapper = FaceSwapper()
    face_enhancer: FaceEnhancer = FaceEnhancer()
    face_mask: FaceMask = FaceMask()
    face_occluder: FaceOccluder = FaceOccluder()
    face_parser: FaceParser = FaceParser()
    occlusion: Annotated[
        bool,
        Flag(
            ("--occlusion",),
            "Keep hands before a face in front of it (docs/occlusion.md).",
            off="--no-occlusion",
            panel=STEADY,
        ),
    ] = True
    objects: Annotated[
        bool,
        Flag(
            ("--objects",),
            "Keep coloured things before a face in front of it (docs/occlusion.md).",
            off="--no-objects",
            panel=STEADY,
        ),
    ] = True
    detect_every: Annotated[
        int,
        Field(ge=1, le=MAX_INTERVAL),
        Flag(
            ("--detect-every",),
            "Look for new faces at every Nth frame (and at cuts) and track them between. 1 looks "
            "at every frame: slower, and no steadier.",
            "N",
            panel=STEADY,
        ),
    ] = AnalyseSettings().interval
    """Frames from one look of the face detector to the next; faces are tracked between."""
    smooth: Annotated[
        bool,
        Flag(
            ("--smooth",),
            "Smooth where faces are over neighbouring frames.",
            off="--no-smooth",
            panel=STEADY,
        ),
    ] = True
    stabilize: Annotated[
        tuple[Annotated[str, Choice(FILTERS)], ...],
        Words,
        Flag(
            ("--stabilize",),
            "Which filters keep the swapped face steady (docs/quality-pixels.md).",
            "FILTERS",
            off="--no-stabilize",
            panel=STEADY,
        ),
    ] = tuple(name for name in FILTERS if getattr(StabilizeSettings(), name))
    license_policy: Annotated[
        str,
        Choice(POLICIES),
        Flag(
            ("--license-policy",),
            "Which models may be used: commercial refuses those whose licence forbids it or is "
            "unknown.",
            "POLICY",
            panel=FaceSwapper.panel,
        ),
    ] = "any"
    trim_frame: TrimFrame = TrimFrame()
    encoder: Encoder = Encoder()
    output_video: OutputVideo = OutputVideo()
    output_audio: OutputAudio = OutputAudio()
    output_image: OutputImage = OutputImage()
    device: Annotated[
        str,
        Choice(DEVICES),
        Flag(
            ("--device", "--execution-providers"),
            "What pixels and networks are worked on with: processors, or a GPU with networks by "
            "ONNX Runtime or TensorRT, which has not run on hardware yet (docs/gpu-lane.md).",
            "DEVICE",
            panel=WHERE,
        ),
    ] = CPU
    device_ids: Annotated[
        tuple[str, ...],
        Words,
        Flag(
            ("--device-ids", "--execution-device-ids"),
            "Which of this machine's GPUs, where --device needs some: numbers, or UUIDs of GPUs "
            "and of their slices (MIG).",
            "IDS",
            unset="all that are visible",
            panel=WHERE,
        ),
    ] = ()
    lanes: Annotated[
        int,
        Field(ge=0, le=1024),
        Flag(
            ("--lanes",),
            "Chunks worked on at once. Never changes a frame.",
            "N",
            unset="by cores, or by GPUs",
            panel=WHERE,
        ),
    ] = 0
    lane: Lane = Lane()
    chunk_seconds: Annotated[
        float | None,
        Field(ge=0.1, le=600),
        Flag(
            ("--chunk-seconds",),
            "Length of a chunk, the unit of retry. Without filters it never changes a frame; with "
            "them, near borders away from cuts, by 1/255 at most (99.9 % of face pixels).",
            "S",
            unset="by the film's length, 8 at most",
            panel=WHERE,
        ),
    ] = None
    address: Annotated[
        str,
        Flag(
            ("--address",),
            "Join this Ray cluster.",
            "HOST:PORT",
            unset="RAY_ADDRESS, else a private Ray on this machine",
            panel=WHERE,
        ),
    ] = ""
    ray: Annotated[
        bool,
        Flag(
            ("--ray",),
            "Without it: one process, for a look inside.",
            off="--no-ray",
            panel=WHERE,
        ),
    ] = True
    work_dir: Annotated[
        Path | None,
        Flag(
            ("--work-dir",),
            "Where segments wait to be joined; every node must reach it.",
            "DIR",
            unset="state folder",
            panel=WHERE,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        Flag(("--overwrite",), "Replace the result when it is there already.", panel=WHERE),
    ] = False
    keep: Annotated[
        bool, Flag(("--keep",), "Keep the job's folder when it is done.", panel=PROOFS)
    ] = False
