"""Where an attempt of a task puts its files, and how a table gets there whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors.whole_file import whole_file
from scheduler.jobs import AnalyseTask, LaneTask


@dataclass(frozen=True, slots=True)
class LaneFiles:
    """The files of one attempt. Its number is in every name, so no two attempts ever meet."""

    task: LaneTask

    @property
    def faces(self) -> Path:
        return self._named("faces.parquet")

    @property
    def frames(self) -> Path:
        return self._named("frames.parquet")

    @property
    def portraits(self) -> Path:
        return self._named("portraits.parquet")

    @property
    def hands(self) -> Path:
        return self._named("hands.parquet")

    @property
    def appearances(self) -> Path:
        return self._named("appearances.parquet")

    @property
    def masks(self) -> Path:
        return self._named("masks.parquet")

    @property
    def segment(self) -> Path:
        return self._named("mp4")

    def remove(self) -> None:
        """Takes away whatever a failed attempt wrote, half or whole."""
        for path in self._folder.glob(f"*{self._stem}.*"):
            path.unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        part = "analysis" if isinstance(self.task, AnalyseTask) else "segments"
        return Path(self.task.job.folder) / part

    @property
    def _stem(self) -> str:
        return f"{self.task.chunk.index:06d}.a{self.task.attempt}"

    def _named(self, suffix: str) -> Path:
        return self._folder / f"{self._stem}.{suffix}"


def write_table(table: pa.Table, path: Path) -> None:
    """The table as a Parquet file that appears whole.

    Raises:
        StorageUnwritable, DiskFull: it cannot be written.
    """
    with whole_file(path) as file:
        pq.write_table(table, file, use_dictionary=False)  # no coordinate comes twice
