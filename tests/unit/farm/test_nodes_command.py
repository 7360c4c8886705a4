"""What `farm nodes` shows of a farm's machines."""

from __future__ import annotations

import pytest

from farm.commands.nodes import _print


def row(host: str, *memory: int | None) -> dict[str, object]:
    lanes = [{"lane": str(n), "state": "idle", "gpu_memory": m} for n, m in enumerate(memory)]
    return {"node": "4f2a", "host": host, "state": "up", "failed_jobs": [], "lanes": lanes}


def test_the_memory_of_gpus_is_shown_where_there_are_some(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _print([row("plain", 0, 0)], as_json=False)
    assert "GPU" not in capsys.readouterr().out
    _print([row("plain", 0), row("large", 24 << 30), row("sliced", None)], as_json=False)
    head, plain, large, sliced = capsys.readouterr().out.splitlines()
    assert "GPU memory" in head
    assert "24.0 GiB" in large
    assert "GiB" not in plain + sliced
