"""Fingerprints of files: equal for copies, another after any change that an encoder makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actors.fingerprint import file_fingerprint

SIZE = 9_000_000


def test_copies_are_equal_and_changed_files_are_not(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)
    path = tmp_path / "film"

    def mark(content: np.ndarray) -> str:
        path.write_bytes(content.tobytes())
        return file_fingerprint(path)

    whole = mark(data)
    assert mark(data) == whole
    first, last, inside, anew = (data.copy() for _ in range(4))
    first[0] ^= 1
    last[-1] ^= 1
    inside[SIZE // 2 : SIZE // 2 + 200_000] ^= 1
    anew[5_000:] = data[:-5_000]
    marks = {mark(changed) for changed in (first, last, inside, anew, data[:-1], data[:1000])}
    assert len(marks | {whole}) == 7


def test_an_empty_file_has_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert len(file_fingerprint(tmp_path / "empty")) == 32
