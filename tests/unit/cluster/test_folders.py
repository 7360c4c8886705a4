from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.folders import STALE, claim, release, sweep
from scheduler.errors import DiskFull, StorageUnwritable, storage_error

CLAIM = """
import sys, pathlib
from cluster.folders import claim
claim(pathlib.Path(sys.argv[1]), [pathlib.Path(path) for path in sys.argv[2:]])
"""


def test_the_living_are_left_alone_and_the_dead_are_swept(tmp_path: Path) -> None:
    root, partial = tmp_path / "jobs", tmp_path / ".film.partial.mp4"
    listing = tmp_path / ".hashes.tsv.partial"
    claim(root / "mine", [tmp_path / "mine.partial.mp4"])
    subprocess.run([sys.executable, "-c", CLAIM, root / "dead", partial, listing], check=True)
    (root / "dead" / "segments" / "0.a1.mp4").write_bytes(b"x")
    for half in (partial, listing):
        half.write_bytes(b"half")
    assert sweep(root) == ("dead",)
    assert not partial.exists()
    assert not listing.exists()
    assert [p.name for p in root.iterdir()] == ["mine"]
    assert sweep(root) == ()


def test_release_keeps_the_folder_only_when_asked(tmp_path: Path) -> None:
    for keep in (True, False):
        folder, partial = tmp_path / str(keep), tmp_path / f"{keep}.partial"
        claim(folder, [partial])
        partial.touch()
        release(folder, [partial], keep=keep)
        assert folder.exists() is keep
        assert not partial.exists()
    assert sweep(tmp_path) == (), "a kept folder belongs to nobody and is not swept"


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnwritable, match="cannot write"):
        claim(tmp_path / "file" / "job", [tmp_path / "p"])
    assert isinstance(storage_error(OSError(errno.ENOSPC, "full"), str(tmp_path)), DiskFull)


def test_what_died_while_it_was_made_or_removed_is_swept(tmp_path: Path) -> None:
    claim(tmp_path / "kept", [])
    release(tmp_path / "kept", [], keep=True)
    for name in (".a.new", ".b.new", ".c.gone"):
        (tmp_path / name / "segments").mkdir(parents=True)
    long_ago = time.time() - 2 * STALE
    os.utime(tmp_path / ".a.new", (long_ago, long_ago))
    assert sweep(tmp_path) == ()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".b.new", "kept"], "somebody may just be making b"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_an_owner_nobody_can_read_is_dead(text: str, tmp_path: Path) -> None:
    """A power cut may leave the file there and its words gone."""
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "owner.json").write_text(text)
    assert sweep(tmp_path) == ("job",)
    assert list(tmp_path.iterdir()) == []
