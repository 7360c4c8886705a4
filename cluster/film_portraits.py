"""The portraits of a film: what recogniser and classifier said of its faces' best views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scheduler.classes import FaceClass, agree
from scheduler.identities import EmbeddingSpace
from scheduler.runs import best_portraits
from scheduler.tracks import read_lists

Key = tuple[int, int]
"""(frame, place) of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portraits:
    """All portraits of the film, in film order."""

    keys: list[Key]
    qualities: list[float]
    embeddings: NDArray[np.float64]
    """[n, d]; d 0 where no recogniser was asked."""
    classes: list[FaceClass]
    """-1 where no classifier was asked."""
    space: EmbeddingSpace

    @classmethod
    def read(cls, tables: Sequence[pa.Table], space: EmbeddingSpace) -> Self:
        """From tables after ``PORTRAITS_SCHEMA``, in film order."""
        table = pa.concat_tables(tables)
        rows = read_lists(table.column("embedding"))
        frames, at = table.column("frame").to_pylist(), table.column("place").to_pylist()
        numbers = (table.column(name).to_pylist() for name in ("gender", "age", "race"))
        return cls(
            keys=list(zip(frames, at, strict=True)),
            qualities=table.column("quality").to_pylist(),
            embeddings=np.array(rows, np.float64).reshape(len(frames), -1)
            if rows
            else np.empty((0, 0)),
            classes=[
                FaceClass(gender=gender, age=age, race=race)
                for gender, age, race in zip(*numbers, strict=True)
            ],
            space=space,
        )

    def mean(self, chosen: Sequence[int]) -> NDArray[np.float64]:
        """Mean embedding of some."""
        return self.space.mean(self.embeddings[list(chosen)])

    def best(self, members: Sequence[int]) -> list[int]:
        """The best of some (``scheduler.runs.best_portraits``)."""
        looks = [(self.keys[at][0], self.qualities[at]) for at in members]
        return [members[at] for at in best_portraits(looks)]

    def classes_of(self, members: Mapping[int, Sequence[int]]) -> dict[int, FaceClass]:
        """What the classifier says of each track, by its best portraits.

        Args:
            members: places of each track's portraits.
        """
        seen = {
            track: [self.classes[at] for at in self.best(ats)] for track, ats in members.items()
        }
        return {track: agree(ones) for track, ones in seen.items() if ones and ones[0].gender >= 0}
