"""The GPUs of a machine as the driver lists them, and which of them lanes get."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cluster.failures import as_error
from cluster.gpus import chosen, listed, machine_gpus, memory_bytes, seen_bytes
from cluster.session import own_gpus
from scheduler.errors import GpuFailed, GpuUnavailable, LaneOutOfMemory

WHOLE = """\
GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-11111111-2222-3333-4444-555555555555)
GPU 1: NVIDIA H200 (UUID: GPU-99999999-2222-3333-4444-555555555555)
"""
CUT = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 1c.3g.20gb  Device  1: (UUID: MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-d37e71b5-8a0f-4f4b-9f5c-1f5f9b0a7c11)
"""


def test_a_gpu_that_is_cut_is_its_slices() -> None:
    assert [gpu.uuid[:8] for gpu in listed(WHOLE)] == ["GPU-1111", "GPU-9999"]
    assert [gpu.name for gpu in listed(WHOLE)] == ["NVIDIA GeForce RTX 4090", "NVIDIA H200"]
    first, second, third = listed(CUT)
    assert (first.name, second.name) == ("MIG 3g.20gb", "MIG 1c.3g.20gb")
    assert first.uuid == "MIG-c7384736-a75d-5afc-978f-d2f1294409fd"
    assert first.whole == second.whole == "GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0"
    assert third.uuid == third.whole


def test_a_machine_without_a_driver_has_none(tmp_path: Path) -> None:
    assert machine_gpus((str(tmp_path / "nvidia-smi"),)) == ()
    failing = "import sys; print('GPU 0: X (UUID: GPU-1)'); sys.exit(9)"
    assert machine_gpus((sys.executable, "-c", failing)) == ()
    assert listed("No devices found.\n") == ()


def test_memory_is_told_in_bytes() -> None:
    said = "print('GPU-1, 24564\\nGPU-2, [N/A]')"
    assert memory_bytes((sys.executable, "-c", said)) == {"GPU-1": 24564 << 20}


def test_what_a_lane_sees_is_told_in_bytes() -> None:
    command = (sys.executable, "-c", "print('GPU-1a, 24564\\nGPU-2b, 8192')")
    assert seen_bytes(["GPU-1a"], command) == 24564 << 20
    assert seen_bytes(["GPU-1"], command) == 24564 << 20, "as CUDA takes names"
    assert seen_bytes(["0"], command) == 8192 << 20, "whichever that is"
    assert seen_bytes(["MIG-3c"], command) == 0
    assert seen_bytes([], command) == 0
    assert seen_bytes(["GPU-1a"], (sys.executable, "-c", "raise SystemExit(9)")) == 0


def test_which_gpus_lanes_get() -> None:
    gpus = listed(CUT)
    a, b, c = (gpu.uuid for gpu in gpus)
    assert chosen(gpus, None, ()) == (a, b, c)
    assert chosen(gpus, None, ("2", "0")) == (c, a)
    assert chosen(gpus, None, ("MIG-a28", "GPU-", "1")) == (b, c)
    assert chosen(gpus, "3,1", ()) == ("3", "1"), "as the user numbers them"
    assert chosen(gpus, "3,1", ("1",)) == ("1",)
    assert chosen(gpus, "", ()) == chosen((), None, ()) == ()
    assert chosen(gpus, "0,-1,1", ()) == ("0",), "as CUDA reads it"
    for wrong in ("3", "GPU-nobody", "MIG-"):
        with pytest.raises(LookupError):
            chosen(gpus, None, (wrong,))


def test_no_gpu_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("cluster.session.machine_gpus", lambda: ())
    with pytest.raises(GpuUnavailable, match="no NVIDIA GPU is visible") as caught:
        own_gpus()
    assert caught.value.code == "gpu.unavailable"
    assert "farm doctor" in caught.value.next_step
    monkeypatch.setattr("cluster.session.machine_gpus", lambda: listed(CUT))
    with pytest.raises(GpuUnavailable, match="no GPU 7 among"):
        own_gpus(("7",))
    assert len(own_gpus()) == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(GpuUnavailable, match="CUDA_VISIBLE_DEVICES is ''"):
        own_gpus()


def test_what_cuda_says_is_an_error_of_the_lane_and_memory_is_memory() -> None:
    kind = type(
        "CUDARuntimeError", (RuntimeError,), {"__module__": "cupy_backends.cuda.api.runtime"}
    )
    error = as_error(kind("cudaErrorIllegalAddress: an illegal memory access was encountered"))
    assert isinstance(error, GpuFailed)
    assert error.transient
    assert "IllegalAddress" in error.found
    # CuPy's OutOfMemoryError is a MemoryError: a smaller batch may do.
    memory = type("OutOfMemoryError", (MemoryError,), {"__module__": "cupy.cuda.memory"})
    assert isinstance(as_error(memory("12 bytes")), LaneOutOfMemory)
