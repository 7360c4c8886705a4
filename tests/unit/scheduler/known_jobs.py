"""Records of jobs of which everything is known."""

from __future__ import annotations

from dataclasses import replace

from scheduler.jobs import FaceChoice
from scheduler.records import FileMark, JobRecord

RECORD = JobRecord(
    job_id="20260101-120000-abcdef",
    program="swapfarm 0.1.0",
    finished="2026-01-01T12:00:00Z",
    media=FileMark(path="/films/film.mp4", fingerprint="f"),
    output=FileMark(path="/films/film.swapped.mp4", fingerprint="o"),
    people=((FileMark(path="/faces/alice.jpg", fingerprint="a"),),),
    source_face=None,
    roles=(),
    choice=FaceChoice(),
    swapper="mesh",
    codec="libx264",
    crop_size=256,
    chunk_seconds=8.0,
    frames=100,
    borders=(50,),
    cuts=(30,),
    letters={},
    retries=0,
    seconds=12.5,
)
CAST = replace(RECORD, roles=("A",), letters={0: "A", 1: "B"})
REFERENCE = replace(
    RECORD,
    choice=FaceChoice(mode="reference", references=("/faces/bob.jpg",)),
    letters={0: "A", 1: "B"},
)
ONE = replace(RECORD, choice=FaceChoice(mode="one"))
