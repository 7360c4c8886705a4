"""The driver's library as it is called: by types and values against one that notes them, and, on a
GPU, by what comes of it."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.transport.cuda_driver import HANDLE_NBYTES
from actors.transport.libcuda import FUNCTIONS, Copy2D, IpcHandle, LibCuda
from scheduler.errors import GpuFailed, GpuUnavailable, LaneOutOfMemory
from tests.support.hardware import lacking

SOURCE = Path(__file__).resolve().parents[2] / "support" / "cuda_stub.c"
UUIDS = [str(bytes([10 + n] * 16).hex()) for n in range(2)]


class Stub:
    """The library that notes what it is called with."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._library: Any = ctypes.CDLL(self.path)
        self._library.stub_notes.restype = ctypes.c_char_p

    def notes(self) -> list[str]:
        """Calls since the last look."""
        text = self._library.stub_notes().decode()
        self._library.stub_forget()
        return [line for line in text.splitlines() if "cuCtxSetCurrent" not in line]

    def answer(self, name: str, status: int) -> None:
        """To the next call of that name."""
        self._library.stub_answer(name.encode(), status)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stub") / "libcuda.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wno-int-to-pointer-cast", "-o", path]
    subprocess.run([*command, SOURCE], check=True)
    return path


@pytest.fixture
def stub(library: Path) -> Stub:
    stub = Stub(library)
    stub.notes()
    return stub


@pytest.fixture
def driver(stub: Stub) -> LibCuda:
    driver = LibCuda(library=stub.path)
    stub.notes()
    return driver


def test_a_gpu_is_opened_with_the_flags_that_ffmpeg_wants_before_its_context_is(
    stub: Stub,
) -> None:
    driver = LibCuda(1, stub.path)
    opened = stub.notes()
    assert opened[0] == "cuInit(0)"
    assert opened[-2:] == ["cuDevicePrimaryCtxSetFlags_v2(11, 4)", "cuDevicePrimaryCtxRetain(11)"]
    assert driver.uuid.replace("-", "") == UUIDS[1]
    assert driver.dlpack_device == (2, 1)
    assert driver.context == 0xC000000000B


@pytest.mark.parametrize("prefix", ["", "GPU-", "MIG-"])
def test_a_gpu_is_found_by_its_uuid(stub: Stub, prefix: str) -> None:
    plain = LibCuda(1, stub.path).uuid
    assert LibCuda(prefix + plain.upper(), stub.path).dlpack_device == (2, 1)


def test_a_gpu_that_is_hidden_is_unavailable(stub: Stub) -> None:
    with pytest.raises(GpuUnavailable, match="not among those that are seen"):
        LibCuda("GPU-0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0c", stub.path)
    with pytest.raises(GpuUnavailable, match="GPU 2"):
        LibCuda(2, stub.path)


def test_without_a_driver_the_error_says_so(stub: Stub) -> None:
    with pytest.raises(GpuUnavailable, match="no NVIDIA driver") as caught:
        LibCuda(library="libcuda-of-nobody.so.1")
    assert caught.value.code == "gpu.unavailable"
    stub.answer("cuInit", 100)
    with pytest.raises(GpuUnavailable, match="CUDA_ERROR_NO_DEVICE"):
        LibCuda(library=stub.path)


def test_each_call_takes_what_cuda_takes(stub: Stub, driver: LibCuda) -> None:
    pointer = driver.malloc(1000)
    memory = driver.mem_handle(pointer)
    event = driver.create_event()
    named = driver.event_handle(event)
    stream = driver.create_stream()
    assert stub.notes() == [
        "cuMemAlloc_v2(1000)",
        f"cuMemGetAddressRange_v2({pointer:x})",
        f"cuIpcGetMemHandle({pointer:x})",
        "cuEventCreate(6)",
        f"cuIpcGetEventHandle({event:#x})",
        "cuStreamCreate(1)",
    ]
    assert event >> 40 == 0xE  # more than 32 bits
    assert stream >> 40 == 0x5
    assert len(memory) == len(named) == HANDLE_NBYTES
    assert driver.open_mem_handle(memory) == pointer
    opened = driver.open_event(named)
    driver.record(opened, stream)
    driver.wait(opened, stream)
    driver.record(opened, 0)
    driver.synchronize(stream)
    driver.synchronize()
    driver.close_mem_handle(pointer)
    driver.destroy_event(opened)
    driver.free(pointer)
    assert stub.notes() == [
        "cuIpcOpenMemHandle_v2(mmmm, 1)",
        "cuIpcOpenEventHandle(eeee)",
        f"cuEventRecord({opened:#x}, {stream:#x})",
        f"cuStreamWaitEvent({stream:#x}, {opened:#x}, 0)",
        f"cuEventRecord({opened:#x}, (nil))",
        f"cuStreamSynchronize({stream:#x})",
        "cuCtxSynchronize()",
        f"cuIpcCloseMemHandle({pointer:x})",
        f"cuEventDestroy_v2({opened:#x})",
        f"cuMemFree_v2({pointer:x})",
    ]


def test_rows_go_up_across_and_down_as_they_are(stub: Stub, driver: LibCuda) -> None:
    _round_trip(driver, 0)
    assert [note.split(",")[:2] for note in stub.notes() if "Memcpy" in note] == [
        ["cuMemcpy2DAsync_v2(1", " 2"],
        ["cuMemcpy2DAsync_v2(2", " 2"],
        ["cuMemcpy2DAsync_v2(2", " 1"],
    ]


def test_pinned_memory_is_freed_with_its_last_view(stub: Stub, driver: LibCuda) -> None:
    memory = driver.host_memory(100)
    view = np.frombuffer(memory, np.uint8)[3:7]
    view[...] = 9
    assert stub.notes() == ["cuMemHostAlloc(100, 0)"]
    del memory
    gc.collect()
    assert stub.notes() == []
    del view
    gc.collect()
    assert stub.notes() == ["cuMemFreeHost()"]


def test_a_handle_is_of_a_whole_allocation(driver: LibCuda) -> None:
    pointer = driver.malloc(1000)
    with pytest.raises(GpuFailed, match="where an allocation begins"):
        driver.mem_handle(pointer + 8)
    driver.free(pointer)


def test_what_cuda_refuses_is_an_error_by_its_name(stub: Stub, driver: LibCuda) -> None:
    stub.answer("cuMemAlloc_v2", 2)
    with pytest.raises(LaneOutOfMemory, match="ran out"):
        driver.malloc(1)
    stub.answer("cuIpcOpenMemHandle_v2", 205)
    with pytest.raises(GpuFailed, match="cuIpcOpenMemHandle_v2 gave CUDA_ERROR_MAP_FAILED"):
        driver.open_mem_handle(bytes(HANDLE_NBYTES))
    stub.answer("cuEventRecord", 400)
    with pytest.raises(GpuFailed, match="CUresult 400"):
        driver.record(1, 0)


def test_each_thread_gets_the_context(stub: Stub, driver: LibCuda) -> None:
    driver.create_stream()
    raw = stub._library.stub_notes
    thread = threading.Thread(target=driver.create_stream)
    thread.start()
    thread.join()
    driver.create_stream()
    assert raw().decode().count("cuCtxSetCurrent(0xc000000000a)") == 2
    stub.notes()


def test_structures_have_the_sizes_of_the_header() -> None:
    assert (ctypes.sizeof(IpcHandle), ctypes.sizeof(Copy2D)) == (64, 128)
    assert Copy2D.src_host.offset == 24
    assert Copy2D.dst_type.offset == 72
    assert Copy2D.width.offset == 112


def test_the_stub_has_all_that_is_called(library: Path) -> None:
    found = ctypes.CDLL(str(library))
    assert all(hasattr(found, name) for name in FUNCTIONS)


def _round_trip(driver: Any, stream: int) -> None:
    rng = np.random.default_rng(3)
    sent = np.frombuffer(driver.host_memory(7 * 50), np.uint8).reshape(7, 50)
    back = np.frombuffer(driver.host_memory(7 * 40), np.uint8).reshape(7, 40)
    sent[...], back[...] = rng.integers(0, 256, sent.shape), 0
    one, two = driver.malloc(7 * 64), driver.malloc(7 * 96)
    driver.copy(one, 64, sent.ctypes.data, 50, 33, 7, "up", stream)
    driver.copy(two, 96, one, 64, 33, 7, "across", stream)
    driver.copy(back.ctypes.data, 40, two, 96, 33, 7, "down", stream)
    driver.synchronize(stream)
    assert (back[:, :33] == sent[:, :33]).all()
    assert (back[:, 33:] == 0).all()
    driver.free(one)
    driver.free(two)


# On a GPU


@pytest.fixture
def gpu() -> Iterator[LibCuda]:
    try:
        yield LibCuda()
    except GpuUnavailable as error:
        lacking(error)


@pytest.mark.cuda
def test_a_gpu_keeps_what_is_copied(gpu: LibCuda) -> None:
    _round_trip(gpu, gpu.create_stream())
    _round_trip(gpu, 0)


@pytest.mark.cuda
def test_a_gpu_gives_memory_where_textures_may_begin(gpu: LibCuda) -> None:
    pointer = gpu.malloc(4 << 20)
    assert pointer % 512 == 0
    with pytest.raises(GpuFailed):
        gpu.mem_handle(pointer + 512)
    gpu.free(pointer)


@pytest.mark.cuda
def test_real_processes_share_a_gpu(gpu: LibCuda, tmp_path: Path) -> None:
    """The same program as on the fake one, with this driver."""
    root = Path(__file__).resolve().parents[3]
    program = Path(__file__).with_name("gpu_process.py")
    processes = [
        subprocess.Popen(
            [sys.executable, program, tmp_path, tmp_path.name, str(n), "3", "200", "real"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        for n in range(3)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert said == ["done\n"] * 3
