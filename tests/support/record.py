"""What came of the parts of a long proof, each in a small file, so that it can be stopped.

A long proof is many parts that know nothing of each other. Where ``FARM_TEST_RECORD`` names a
folder, a part that is done is not done again, and several runs of the same test at once share the
parts out among them: whoever has a part holds a lock of the kernel's on its file, which no death
leaves behind. Without the variable every part is done.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

FOLDER: Final = "FARM_TEST_RECORD"


@contextmanager
def part(name: str) -> Iterator[dict[str, Any]]:
    """One part of a long proof. Gives a dict for what is to be remembered of it.

    A part that failed fails again, with the same words, until its file is removed.

    Args:
        name: of its file, without the ending.
    """
    folder = os.environ.get(FOLDER)
    facts: dict[str, Any] = {}
    if not folder:
        yield facts
        return
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.skip(f"another run is at {name}")
        file.seek(0)
        said = file.read()
        if said:
            wrong = json.loads(said)["wrong"]
            if wrong:
                pytest.fail(f"{name}, as recorded: {wrong}")
            pytest.skip(f"{name} has passed before")
        began = time.monotonic()

        def note(wrong: str) -> None:
            facts["wrong"] = wrong
            facts["seconds"] = round(time.monotonic() - began, 1)
            facts["ended"] = datetime.now(UTC).isoformat(timespec="seconds")
            file.write(json.dumps(facts) + "\n")

        try:
            yield facts
        except (Exception, pytest.fail.Exception) as error:
            note(f"{type(error).__name__}: {error}")
            raise
        note("")
