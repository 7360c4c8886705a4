"""The optical flow engine's binding, against a library built by gcc that checks what it gets."""

import ctypes
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from kernels.cuda import nvof
from kernels.cuda.device import DevicePlane
from kernels.cuda.launcher import Launcher
from kernels.cuda.nvof import EngineFlow, OpticalFlowError
from tests.support.hardware import lacking, must_have_nvofa, package

SOURCE = Path(__file__).resolve().parents[3] / "support" / "flow_engine.c"
SIZES = {
    nvof.InitParams: 48,
    nvof.ExecuteInput: 56,
    nvof.ExecuteOutput: 24,
    nvof.BufferDescriptor: 16,
    nvof.FunctionList: 96,
    nvof.StrideInfo: 28,
    nvof.FlowVector: 4,
}
OFFSETS = {
    (nvof.InitParams, "enableOutputCost"): 28,
    (nvof.InitParams, "hPrivData"): 32,
    (nvof.InitParams, "enableRoi"): 44,
    (nvof.ExecuteInput, "disableTemporalHints"): 24,
    (nvof.ExecuteInput, "numRois"): 44,
    (nvof.ExecuteOutput, "outputCostBuffer"): 8,
    (nvof.StrideInfo, "numPlanes"): 24,
    (nvof.FunctionList, "nvOFInit"): 8,
    (nvof.FunctionList, "nvOFExecute"): 56,
    (nvof.FunctionList, "nvOFDestroy"): 72,
    (nvof.FunctionList, "nvOFGetCaps"): 88,
}
assert {kind: ctypes.sizeof(kind) for kind in SIZES} == SIZES
assert {at: getattr(*at).offset for at in OFFSETS} == OFFSETS


class Ground:
    """This process's memory as a device's: what `EngineFlow` launches, done by NumPy."""

    class Block:
        def __init__(self, nbytes):
            self.nbytes, self.room = nbytes, (ctypes.c_uint8 * nbytes)()
            self.pointer = ctypes.addressof(self.room)

    def reserve(self, nbytes):
        return self.Block(nbytes)

    def write(self, pointer, pitch, rows):
        for number, row in enumerate(rows):
            ctypes.memmove(
                pointer + number * pitch, np.ascontiguousarray(row).ctypes.data, row.nbytes
            )

    def read(self, pointer, pitch, rows):
        for number, row in enumerate(rows):
            ctypes.memmove(row.ctypes.data, pointer + number * pitch, row.nbytes)

    def launch(self, kernel, grid, block, arguments):
        values = [getattr(each, "value", each) for each in arguments]
        getattr(self, kernel)(*values)

    @staticmethod
    def rows(pointer, pitch, height, width, dtype):
        nbytes = pitch * (height - 1) + width * np.dtype(dtype).itemsize
        data = np.frombuffer((ctypes.c_uint8 * nbytes).from_address(pointer), np.uint8)
        return np.lib.stride_tricks.as_strided(
            data.view(), (height, width * np.dtype(dtype).itemsize), (pitch, 1)
        )

    def move_bytes(self, source, pitch, in_width, in_height, out, out_pitch, width, height):
        picture = self.rows(source, pitch, in_height, in_width, np.uint8)
        pads = [(0, height - in_height), (0, width - in_width)]
        self.rows(out, out_pitch, height, width, np.uint8)[...] = np.pad(picture, pads, mode="edge")

    def short_flow(self, source, row, scale, out, width, height):
        vectors = np.ascontiguousarray(self.rows(source, 4 * row, height, 2 * width, np.int16))
        floats = vectors.view(np.int16).astype(np.float32) * np.float32(scale)
        self.write(out, 8 * width, floats)


class Fake:
    """The library, and what it is asked to get wrong."""

    def __init__(self, path):
        self.path, self.calls = str(path), ctypes.CDLL(str(path))

    def fail(self, what):
        self.calls.fake_fail(what.encode())

    @property
    def left(self):
        return self.calls.fake_sessions(), self.calls.fake_buffers()


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("flow") / "libflow_engine.so"
    command = ["gcc", "-std=c11", "-O2", "-Wall", "-Werror", "-fPIC", "-shared"]
    subprocess.run([*command, str(SOURCE), "-o", str(path)], check=True)
    return Fake(path)


@pytest.fixture
def fake(library):
    library.fail("")
    library.calls.fake_newest(0x50)
    before = library.left
    yield library
    library.fail("")
    assert library.left == before, "sessions or buffers were not given back"


@pytest.fixture
def launcher():
    return Launcher(Ground())


def picture(x, y, width=96, height=80):
    field = cv2.GaussianBlur(np.random.default_rng(4).random((200, 200)), (0, 0), 2)
    field = (field - field.min()) / np.ptp(field) * 255
    return np.rint(field[40 - y : 40 - y + height, 40 - x : 40 - x + width]).astype(np.uint8)


def plane(launcher, name, content, gap=0):
    height, width = content.shape
    wide = np.zeros((height, width + gap), np.uint8)
    wide[:, :width] = content
    return DevicePlane(
        pointer=launcher.sent(name, wide),
        pitch=width + gap,
        width=width,
        height=height,
        dtype="uint8",
    )


@pytest.mark.parametrize("grid", [1, 2, 4])
@pytest.mark.parametrize("cost", [False, True])
def test_a_pixel_is_found_where_it_was(fake, launcher, grid, cost):
    """In its own pixels, so that what takes our own flow takes this."""
    now = plane(launcher, "now", picture(0, 0), 5)
    before = plane(launcher, "before", picture(4, -2), 11)
    with EngineFlow(launcher, library=fake.path, grid=grid, cost=cost) as engine:
        small = engine.flow(now, before)
        assert (small.width, small.height) == (96 // grid, 80 // grid)
        found = launcher.fetched(small.pointer, (small.height, small.width, 2), "float32")
        inner = found[8 // grid : -8 // grid, 8 // grid : -8 // grid] * grid
        assert (inner == [4, -2]).all()
        assert (engine.cost is not None) == cost
        if cost:
            held = engine.cost
            rows = np.empty((80 // grid, 96 // grid), np.uint8)
            launcher.device.read(held.pointer, held.pitch, rows)
            assert (rows[8 // grid : -8 // grid, 8 // grid : -8 // grid] == 0).all()
    assert engine.cost is None


def test_a_few_sessions_serve_all_sizes(fake, launcher):
    sizes = [(32 + 8 * k, 96 - 8 * k) for k in range(8)]
    sizes += [(130, 34), (200, 34), (200, 70), (70, 70)]
    with EngineFlow(launcher, library=fake.path, grid=2) as engine:
        for width, height in sizes:
            both = [plane(launcher, name, np.zeros((height, width), np.uint8)) for name in "ab"]
            assert engine.flow(*both).width == width // 2
            assert fake.left[0] <= nvof.SESSIONS
        done = fake.calls.fake_executed()
        engine.flow(*both)
        assert fake.calls.fake_executed() == done + 1


EACH = [*nvof._FUNCTIONS, "NvOFGetMaxSupportedApiVersion", "NvOFAPICreateInstanceCuda"]
UNUSED = {"nvOFGPUBufferGetCUarray", "nvOFGetLastError"}


@pytest.mark.parametrize("name", sorted(set(EACH) - UNUSED))
def test_no_failure_goes_unseen(fake, launcher, name):
    planes = [plane(launcher, name, picture(0, 0)) for name in "ab"]
    fake.fail(name)

    def whole():
        with EngineFlow(launcher, library=fake.path) as engine:
            engine.flow(*planes)

    with pytest.raises(OpticalFlowError, match=name):
        whole()


def test_what_the_library_says_of_a_failure_is_told(fake, launcher):
    planes = [plane(launcher, name, picture(0, 0)) for name in "ab"]
    fake.fail("nvOFExecute")
    with (
        EngineFlow(launcher, library=fake.path) as engine,
        pytest.raises(OpticalFlowError, match=r"generic error \(11\), as the test wanted"),
    ):
        engine.flow(*planes)


def test_libraries_that_cannot_be_used(fake, launcher, tmp_path):
    with pytest.raises(OpticalFlowError, match="NVIDIA driver"):
        EngineFlow(launcher, library=str(tmp_path / "libnothing.so"))
    with pytest.raises(OpticalFlowError, match="NvOFGetMaxSupportedApiVersion"):
        EngineFlow(launcher, library="libc.so.6")
    fake.calls.fake_newest(0x12)
    with pytest.raises(OpticalFlowError, match=r"version 1\.2 at most; wanted 2\.0"):
        EngineFlow(launcher, library=fake.path)
    fake.calls.fake_newest(0x20)
    fake.fail("a missing function")
    with pytest.raises(OpticalFlowError, match="gives no nvOFExecute"):
        EngineFlow(launcher, library=fake.path)


def test_what_an_engine_cannot_is_told(fake, launcher):
    planes = [plane(launcher, name, picture(0, 0)) for name in "ab"]
    fake.fail("only grid 4")
    with (
        EngineFlow(launcher, library=fake.path, grid=1) as engine,
        pytest.raises(OpticalFlowError, match=r"1 x 1 pixels; it has 4"),
    ):
        engine.flow(*planes)
    fake.fail("a short pitch")
    with (
        EngineFlow(launcher, library=fake.path) as engine,
        pytest.raises(OpticalFlowError, match="rows of 8 bytes"),
    ):
        engine.flow(*planes)
    fake.fail("")
    with EngineFlow(launcher, library=fake.path) as engine:
        wide = [plane(launcher, name, np.zeros((32, 8256), np.uint8)) for name in "ab"]
        with pytest.raises(OpticalFlowError, match="width of 32 to 8192"):
            engine.flow(*wide)
    with pytest.raises(ValueError, match="3 x 3"):
        EngineFlow(launcher, library=fake.path, grid=3)
    with EngineFlow(launcher, library=fake.path) as engine:
        odd = [plane(launcher, name, picture(0, 0, 94, 80)) for name in "ab"]
        with pytest.raises(ValueError, match="multiples of 4"):
            engine.flow(*odd)


@pytest.mark.parametrize("field", ["disableTemporalHints", "referenceFrame", "outputBuffer"])
def test_a_planted_bug_is_refused(fake, launcher, field, monkeypatch):
    """A field that is not set."""
    for kind in (nvof.ExecuteInput, nvof.ExecuteOutput):
        if any(name == field for name, _ in kind._fields_):
            honest = kind.__init__

            def forgetful(self, honest=honest, **given):
                honest(self, **{k: v for k, v in given.items() if k != field})

            monkeypatch.setattr(kind, "__init__", forgetful)
    planes = [plane(launcher, name, picture(0, 0)) for name in "ab"]
    with (
        EngineFlow(launcher, library=fake.path) as engine,
        pytest.raises(OpticalFlowError, match=r"nvOFExecute: invalid parameter"),
    ):
        engine.flow(*planes)


@pytest.mark.cuda
def test_a_gpus_engine_finds_motion(gpu):
    """Or says that this GPU has none, where it is not known to have one. The library itself is the
    driver's: without it the test fails."""
    device = gpu()
    launcher = Launcher(device)
    now, before = plane(launcher, "now", picture(0, 0)), plane(launcher, "b", picture(4, -2))
    try:
        engine = EngineFlow(launcher, context=device.context, stream=device.stream)
    except OpticalFlowError as error:
        lacking(error)
    refused = ""
    try:
        with engine:
            small = engine.flow(now, before)
            found = launcher.fetched(small.pointer, (small.height, small.width, 2), "float32")
    except OpticalFlowError as error:
        refused = str(error)
    if refused:
        properties = package("cupy", "").cuda.runtime.getDeviceProperties(0)
        name, capability = properties["name"].decode(), (properties["major"], properties["minor"])
        assert not must_have_nvofa(name, capability), f"{name} has an engine: {refused}"
        said = r"nvCreateOpticalFlowCuda: (no optical flow engine|device not supported) "
        assert re.match(said, refused)
    else:
        assert np.abs(np.median(found[4:-4, 4:-4] * 4, (0, 1)) - [4, -2]).max() < 0.5
