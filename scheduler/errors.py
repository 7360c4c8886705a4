"""The error tree. Each leaf is one thing that can go wrong, with a code that never changes.

An error states what was found, what was wanted and what to do next. It survives pickling, so a
lane in another process raises exactly what the user reads.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final


class SwapfarmError(Exception):
    """Base of all errors a user can meet.

    Args:
        found: the value or state that was met, named exactly.
        wanted: what would have been right.
        next_step: what the user can do now.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 70
    transient: ClassVar[bool] = False

    def __init__(self, found: str, wanted: str, next_step: str) -> None:
        super().__init__(found, wanted, next_step)
        self.found = found
        self.wanted = wanted
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.found}. Wanted: {self.wanted}. Next: {self.next_step}"


class InputError(SwapfarmError):
    """The film, the face or a setting cannot be used. Trying again would give the same."""

    code = "input"
    exit_code = 3


class SettingInvalid(InputError):
    code = "setting.invalid"
    exit_code = 2


class MediaMissing(InputError):
    code = "media.missing"


class MediaUnreadable(InputError):
    """The file is there but no demuxer or decoder makes sense of it."""

    code = "media.unreadable"


class MediaTruncated(InputError):
    """The file's own tables name more frames than it holds."""

    code = "media.truncated"


class MediaWithoutVideo(InputError):
    code = "media.no-video"


class MediaWithoutFrames(InputError):
    code = "media.no-frames"


class MediaUnsupported(InputError):
    code = "media.unsupported"


class SourceUnreadable(InputError):
    code = "source.unreadable"


class SourceWithoutFace(InputError):
    code = "source.no-face"


class SourceAmbiguous(InputError):
    """More than one face in a source picture and no word on which one is meant."""

    code = "source.ambiguous"


class IdentityUnknown(InputError):
    """A letter or a reference names nobody in the film."""

    code = "identity.unknown"


class EncoderUnavailable(InputError):
    """A codec that this machine, or this build of FFmpeg, does not have."""

    code = "encoder.unavailable"


class GpuUnavailable(InputError):
    """A GPU, its driver or a package for it is not there, or is not the one that was named."""

    code = "gpu.unavailable"


class LandmarksUnfit(InputError):
    """The landmarker gives other points than the swapper wears."""

    code = "landmarks.unfit"


class OutputInvalid(InputError):
    code = "output.invalid"


class JobUnknown(InputError):
    """The farm knows no such job, chunk or node."""

    code = "job.unknown"


class JobBusy(InputError):
    """A job cannot be changed as asked while it is where it is."""

    code = "job.busy"


class NothingYet(InputError):
    """Nothing of a job's result can be watched yet."""

    code = "job.nothing-yet"


class ReportMissing(InputError):
    """No finished job is known that made this file."""

    code = "report.missing"


class ReportOutdated(InputError):
    """A file that a report is about is not what it was when the job ended."""

    code = "report.outdated"


class ConsentMissing(InputError):
    """The settings ask who consented, and the job does not say."""

    code = "consent.missing"


class CredentialUnusable(InputError):
    """The key or the certificates that are to sign results cannot be used."""

    code = "credentials.unusable"
    exit_code = 2


class CredentialsMissing(InputError):
    """A file says nothing signed about its origin."""

    code = "credentials.missing"


class CredentialsInvalid(InputError):
    """What a file says about its origin is damaged, or the file was changed since it was signed."""

    code = "credentials.invalid"


class ModelError(SwapfarmError):
    code = "model"
    exit_code = 4


class ModelUnknown(ModelError):
    code = "model.unknown"


class ModelCorrupt(ModelError):
    code = "model.corrupt"


class ModelUnavailable(ModelError):
    """A model's source did not deliver it."""

    code = "model.unavailable"


class ModelLicence(ModelError):
    """A model's licence does not allow what the user wants."""

    code = "model.licence"


class ModelInexact(ModelError):
    """A model made smaller or faster gives too different results."""

    code = "model.inexact"


class StorageError(SwapfarmError):
    code = "storage"
    exit_code = 5


class DiskFull(StorageError):
    code = "storage.full"


class DoesNotFit(StorageError):
    """A job that needs more than there is, even were nothing else there."""

    code = "storage.does-not-fit"


class StorageUnwritable(StorageError):
    code = "storage.unwritable"


class JournalUnusable(StorageError):
    """The service's journal is damaged, of a newer version, or another service writes to it."""

    code = "storage.journal"


class StorageMissing(StorageError):
    """An object store has no such bucket, or nothing of this name in it."""

    code = "storage.missing"


class StorageDenied(StorageError):
    """An object store knows no credentials of this user, or they do not allow it."""

    code = "storage.denied"


class StorageUnreachable(StorageError):
    """An object store does not answer, or not with what was asked for."""

    code = "storage.unreachable"
    transient = True


class StorageChanged(StorageError):
    """An object was replaced while it was read."""

    code = "storage.changed"
    transient = True


STORAGE_ERRNOS: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM),
        *(errno.EROFS, errno.EIO, errno.ENOENT, errno.ENOTDIR),
    }
)
"""What the operating system says of a place that cannot be written to."""


def storage_error(error: OSError, path: str) -> StorageError:
    """The error of the tree that an operating-system error on ``path`` stands for."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"no room to write {path!r}",
            "room on that disk",
            "free some space, or choose another place (-o, --work-dir, cache_dir)",
        )
    return StorageUnwritable(
        f"cannot write {path!r}: {error.strerror or error}",
        "a folder this user may write to",
        "check the folder and its rights, or choose another (-o, --work-dir, cache_dir)",
    )


class RenderError(SwapfarmError):
    """A chunk cannot be made right however often it is tried."""

    code = "render"
    exit_code = 6


class FramesLost(RenderError):
    """A decoder or a segment gave other frames than the index names."""

    code = "render.frames-lost"


class SegmentMismatch(RenderError):
    """Segments that must share codec headers do not."""

    code = "render.segment-mismatch"


class EncoderFailed(RenderError):
    code = "render.encoder"


class ChunkPoisoned(RenderError):
    """A chunk failed on so many nodes that it must be the chunk."""

    code = "render.poison"


class LaneError(SwapfarmError):
    """Something around the work died; the same work elsewhere may well succeed."""

    code = "lane"
    exit_code = 7
    transient = True


class LaneDied(LaneError):
    code = "lane.died"


class LaneOutOfMemory(LaneError):
    """Memory of the machine or of the GPU ran out; smaller batches may fit."""

    code = "lane.out-of-memory"


class LaneHung(LaneError):
    """The lane is there and does nothing."""

    code = "lane.hung"


class ResultImplausible(LaneError):
    """A lane said that it was done, with other frames than asked for or faster than can be."""

    code = "lane.implausible"


class OutputMissing(LaneError):
    """What a lane had delivered is not on storage."""

    code = "lane.output-missing"


class LinkClosed(LaneError):
    """The stage at the other end of a link went away; its own error is the cause."""

    code = "lane.link-closed"


class HandleForeign(LaneError):
    """A process was offered frames in the memory of another node, or of a GPU it cannot use."""

    code = "lane.handle-foreign"


class GpuFailed(LaneError):
    """A GPU or its driver refused what was asked of it."""

    code = "lane.gpu"


class AttemptsExhausted(LaneError):
    """A task failed for passing reasons as often as the job allows."""

    code = "lane.attempts-exhausted"
    transient = False


class ClusterUnreachable(SwapfarmError):
    code = "cluster.unreachable"
    exit_code = 8


class NoFarm(ClusterUnreachable):
    """No farm is up here."""

    code = "cluster.no-farm"


class BatchFailed(SwapfarmError):
    """Some jobs of a batch failed; the others are done."""

    code = "batch.failed"
    exit_code = 9


class Cancelled(SwapfarmError):
    code = "cancelled"
    exit_code = 130
