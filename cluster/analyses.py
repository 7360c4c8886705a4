"""Analyses kept by content: the same film, looked at by the same program, is not looked at twice.

An entry is a folder of tables, named after a hash of the film's bytes and of all that decides what
an analysis finds. It appears by a rename, whole; the least recently used ones go when all of them
together grow too large.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from actors.segments import sync_folder
from cluster.folders import discard, stale
from scheduler.appearances import SCHEMA as APPEARANCES_SCHEMA
from scheduler.devices import CPU
from scheduler.hands import SCHEMA as HANDS_SCHEMA
from scheduler.identities import SPACES
from scheduler.jobs import AnalyseSettings, Analysis, PortraitSettings
from scheduler.output import CutSettings
from scheduler.tracks import FRAMES_SCHEMA, PORTRAITS_SCHEMA, SCHEMA

FACES: Final = "faces.parquet"
FRAMES: Final = "frames.parquet"
PORTRAITS: Final = "portraits.parquet"
HANDS: Final = "hands.parquet"
_PORTRAITS: Final = tuple(
    PortraitSettings(recognizer=recognizer, classes=classes)
    for recognizer in ("", *SPACES)
    for classes in (False, True)
)
"""All that an entry may have, the least first."""
APPEARANCES: Final = "appearances.parquet"


class AnalysisCache:
    """Analyses of whole films in a folder of their own. Safe for many processes at once.

    Args:
        folder: where; made when first needed.
        limit: bytes that all entries together may take; the newest one stays in any case.
        program: a name for all that decides what an analysis finds, but the film and the settings:
            the program's version and its models.
    """

    def __init__(self, folder: Path, limit: int, program: str) -> None:
        self._folder = folder
        self._limit = limit
        self._program = program

    def key(
        self,
        media: Path,
        settings: AnalyseSettings,
        cut: CutSettings | None = None,
        device: str = CPU,
    ) -> str:
        """The name under which the analysis of a film is kept. Reads the whole file.

        Args:
            cut: which of its frames were looked at; None: all.
            device: that looked at them.
        """
        with media.open("rb") as file:
            film = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{film}\n{settings}\n{self._program}"
        name += "" if cut is None or cut.whole else f"\n{cut}"
        name += "" if device == CPU else f"\n{device}"
        return hashlib.sha256(name.encode()).hexdigest()[:32]

    def find(
        self,
        key: str,
        *,
        portraits: PortraitSettings,
        occlusion: bool,
        objects: bool,
        folder: Path,
    ) -> Analysis | None:
        """The analysis of the whole film as one chunk, or None.

        Removes what the dead have only begun: every job looks here, but not all keep anything.

        Args:
            portraits: which are needed; an entry that has more serves, too.
            occlusion: whether hands are needed; the settings behind ``key`` say the same.
            objects: whether samples of the faces are needed; likewise.
            folder: the job's; the tables are linked or copied there, so that they stay while the
                job needs them.
        """
        for begun in self._folder.glob(".*"):
            if stale(begun):
                shutil.rmtree(begun, ignore_errors=True)
        for kept in filter(lambda kept: kept.serve(portraits), _PORTRAITS):
            entry = self._entry(key, kept)
            try:
                for path in sorted(entry.iterdir()):
                    _bring(path, folder / path.name)
                os.utime(entry)
            except FileNotFoundError:
                continue  # never there, or just being evicted
            faces, frames = folder / FACES, folder / FRAMES
            looks, hands = folder / PORTRAITS, folder / HANDS
            appearances = folder / APPEARANCES
            if not (faces.exists() and frames.exists() and looks.exists() == kept.any):
                continue
            if hands.exists() != occlusion or appearances.exists() != objects:
                continue
            return Analysis(
                chunk=0,
                faces_path=str(faces),
                frames_path=str(frames),
                frames=pq.read_metadata(frames).num_rows,
                faces=pq.read_metadata(faces).num_rows,
                hands_path=str(hands) if occlusion else "",
                appearances_path=str(appearances) if objects else "",
                portraits_path=str(looks) if kept.any else "",
            )
        return None

    def keep(self, key: str, analyses: Sequence[Analysis], portraits: PortraitSettings) -> None:
        """Publish the analyses of a film's chunks, in film order, as one entry.

        Args:
            portraits: those that they have.

        Raises:
            OSError: the folder cannot be written.
        """
        entry = self._entry(key, portraits)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{uuid4().hex}.partial"
        temporary.mkdir()
        try:
            _join([a.faces_path for a in analyses], SCHEMA, temporary / FACES)
            _join([a.frames_path for a in analyses], FRAMES_SCHEMA, temporary / FRAMES)
            if portraits.any:
                _join([a.portraits_path for a in analyses], PORTRAITS_SCHEMA, temporary / PORTRAITS)
            if analyses[0].hands_path:
                _join([a.hands_path for a in analyses], HANDS_SCHEMA, temporary / HANDS)
            if analyses[0].appearances_path:
                paths = [a.appearances_path for a in analyses]
                _join(paths, APPEARANCES_SCHEMA, temporary / APPEARANCES)
            sync_folder(temporary)
            try:
                temporary.rename(entry)
            except OSError:
                if not entry.exists():  # another process was faster: its entry is the same
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._evict(entry)

    def _entry(self, key: str, portraits: PortraitSettings) -> Path:
        kind = f"{portraits.recognizer or 'nobody'}{'-classes' if portraits.classes else ''}"
        return self._folder / f"{key}-{kind}"

    def _evict(self, newest: Path) -> None:
        sizes = {}
        for entry in self._folder.glob("[!.]*"):
            with suppress(FileNotFoundError):
                used = entry.stat().st_mtime_ns
                sizes[entry] = (used, sum(path.stat().st_size for path in entry.iterdir()))
        total = sum(size for _, size in sizes.values())
        for entry, (_, size) in sorted(sizes.items(), key=lambda item: (item[1][0], item[0].name)):
            if total <= self._limit:
                return
            if entry != newest:
                discard(entry)
                total -= size


def _join(paths: Sequence[str], schema: pa.Schema, target: Path) -> None:
    """One table after the other as one file, synced; row groups as before."""
    with target.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer:
            for path in paths:
                writer.write_table(pq.read_table(path, schema=schema, use_threads=False))
        file.flush()
        os.fsync(file.fileno())


def _bring(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one without links
        shutil.copyfile(path, target)
