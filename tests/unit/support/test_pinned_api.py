"""Calls of packages that `make test` does not install are calls that these packages take.

Their signatures are pinned with the version that they were read from; on a GPU machine (`cuda`) the
installed packages must say the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import actors.pynvvideocodec
import kernels.cuda.alternatives
from actors.packet_decoder import Surface
from kernels.cuda.interop import DeviceArray
from scheduler.errors import GpuFailed
from tests.support.hardware import lacking
from tests.support.pinned_api import (
    Api,
    MisuseError,
    folder_of,
    installed,
    pinned,
    read_signatures,
)

INSTALL = {
    "cvcuda": "make test-gpu installs cvcuda-cu13",
    "torch": "make test-gpu installs torch in .venv/beside",
    "PyNvVideoCodec": "make test-gpu installs pynvvideocodec",
    "onnxruntime": "make test-gpu installs onnxruntime-gpu in .venv/beside",
}
STREAM = 0x5EED0
Names = dict[str, Any] | None
AFFINE = np.array([[1.3, 0.1, -20.0], [-0.1, 1.3, -11.0]])


def array(*shape: int, dtype: str = "uint8") -> DeviceArray:
    return DeviceArray(pointer=512, shape=shape, dtype=dtype, stream=STREAM)


def version_of(source: str, module: Any) -> Any:
    """A module from a changed source, under its own name."""
    made = SimpleNamespace(__name__=module.__name__)
    exec(compile(source, str(module.__file__), "exec"), made.__dict__)
    return made


# CV-CUDA and torch


def by_cvcuda(module: Any, monkeypatch: pytest.MonkeyPatch, names: Names = None) -> Api:
    api = Api("cvcuda", names=names)
    monkeypatch.setitem(sys.modules, "cvcuda", api)
    steps = module.CvCudaSteps(STREAM)
    steps.warp(array(90, 120, 3), AFFINE, array(64, 64, 3))
    steps.rgb_of_nv12(array(96, 96, 1), array(64, 96, 3))
    return api


def by_torch(module: Any, monkeypatch: pytest.MonkeyPatch, names: Names = None) -> Api:
    api = Api("torch", {"Tensor.shape": (90, 120, 3)}, names=names)
    monkeypatch.setitem(sys.modules, "torch", api)
    steps = module.TorchSteps(STREAM)
    steps.warp(array(90, 120, 3, dtype="float32"), AFFINE, array(64, 64, 3, dtype="float32"))
    return api


def test_cvcuda_is_asked_for_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = by_cvcuda(kernels.cuda.alternatives, monkeypatch).calls
    assert ("as_stream", (STREAM,), {}) in calls
    (warp,) = (named for name, _, named in calls if name == "warp_affine_into")
    assert warp["stream"]._path == "Stream"
    (turned,) = (given[2] for name, given, _ in calls if name == "warp_affine_into")
    assert (turned.shape, turned.dtype) == ((2, 3), np.float32)


def test_torch_is_asked_for_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = by_torch(kernels.cuda.alternatives, monkeypatch).calls
    names = [name for name, _, _ in calls]
    assert ("cuda.ExternalStream.__new__", (STREAM,), {}) in calls
    start, end = names.index("StreamContext.__enter__"), names.index("StreamContext.__exit__")
    assert start < names.index("nn.functional.grid_sample") < names.index("Tensor.copy_") < end


BUGS: dict[str, tuple[Callable[[Any, pytest.MonkeyPatch], Api], str, str]] = {
    "a name of OpenCV's": (by_cvcuda, "border_mode=", "borderMode="),
    "a stream by its place": (
        by_cvcuda,
        "YUV2RGB_NV12,\n            stream=self._stream,",
        "YUV2RGB_NV12,\n            self._stream,",
    ),
    "a stream's number": (by_cvcuda, "cvcuda.as_stream(stream)", "stream"),
    "an argument left out": (
        by_cvcuda,
        "            cvcuda.ColorConversion.YUV2RGB_NV12,\n            stream",
        "            stream",
    ),
    "a flag that is not there": (by_cvcuda, "WARP_INVERSE_MAP", "WARP_INVERSE"),
    "a code of another operator": (by_cvcuda, "ColorConversion.YUV2RGB_NV12", "Border.REPLICATE"),
    "an argument too many": (by_cvcuda, '"HWC")', '"HWC", 3)'),
    "an old word for corners": (by_torch, "align_corners=False", "corners=False"),
    "a mode by number": (by_torch, 'mode="bicubic"', "mode=2"),
    "a mesh by its place": (by_torch, '*axes, indexing="ij"', '*axes, index="ij"'),
    "a grid left out": (by_torch, "        torch.stack((across, down), -1)[None],\n", ""),
    "an old name": (by_torch, "ExternalStream(stream)", "Stream.from_external(stream)"),
    "a copy to a number": (by_torch, "filled.copy_(warped)", "filled.copy_(0)"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_seen(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, right, wrong = BUGS[bug]
    source = Path(str(kernels.cuda.alternatives.__file__)).read_text("utf-8")
    assert right in source, bug
    changed = version_of(source.replace(right, wrong), kernels.cuda.alternatives)
    with pytest.raises((MisuseError, AttributeError, TypeError)):
        run(changed, monkeypatch)


# PyNvVideoCodec


def view(pointer: int, *shape: int) -> Any:
    interface = {"shape": shape, "strides": (256, 1, 1), "data": (pointer, False), "typestr": "|u1"}
    return SimpleNamespace(__cuda_array_interface__=interface)


def by_pynvvideocodec(
    module: Any, names: Names = None, **answers: Any
) -> tuple[Api, list[Surface]]:
    api = Api(
        "PyNvVideoCodec",
        {
            "DecodedFrame.cuda": [view(512, 48, 64, 1), view(512 + 48 * 256, 24, 32, 2)],
            "DecodedFrame.timestamp": 7,
            "VideoPacketFlag.ENDOFSTREAM": 1,
            **answers,
        },
        names=names,
    )
    api.__dict__["PyNvVCException"] = RuntimeError
    driver = SimpleNamespace(dlpack_device=(2, 1), context=0xC0)
    gpu: Any = SimpleNamespace(driver=driver, decode=STREAM)
    index: Any = SimpleNamespace(codec="hevc")
    decoder = module.PyNvPackets(index, gpu, api)
    return api, [*decoder.decode(b"\0\0\1data", 9), *decoder.flush()]


def test_pynvvideocodec_is_asked_for_what_it_has() -> None:
    api, surfaces = by_pynvvideocodec(actors.pynvvideocodec)
    assert len(surfaces) == 4, "two of each call"
    found = surfaces[0]
    assert (found.pts, found.width, found.height, found.pitch) == (7, 64, 48, 256)
    assert (found.luma, found.chroma) == (512, 512 + 48 * 256)
    (made,) = (named for name, _, named in api.calls if name == "CreateDecoder")
    assert made["codec"]._path == "cudaVideoCodec"
    del made["codec"]
    assert made == {
        "gpuid": 1, "cudacontext": 0xC0, "cudastream": STREAM, "usedevicememory": True,
    }  # fmt: skip
    set_to = {name: given[0] for name, given, _ in api.calls if name.endswith(" =")}
    assert set_to["PacketData.decode_flag ="] == 1
    sizes = [given[0] for name, given, _ in api.calls if name == "PacketData.bsl ="]
    assert sizes == [7, 0]
    assert [given for name, given, _ in api.calls if name == "PyNvDecoder.WaitOnCUStream"] == [
        (STREAM,)
    ] * 2


def test_what_pynvvideocodec_refuses_is_one_error() -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Codec not supported on this GPU\n and so on")

    with pytest.raises(GpuFailed, match=r"PyNvVideoCodec: Codec not supported on this GPU\."):
        by_pynvvideocodec(actors.pynvvideocodec, CreateDecoder=refuse)
    three = [view(512, 48, 64)] * 3
    with pytest.raises(GpuFailed, match="a picture of 3 planes"):
        by_pynvvideocodec(actors.pynvvideocodec, **{"DecodedFrame.cuda": three})


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("usedevicememory", "use_device_memory"),
        ("cudastream=self.stream", "stream=self.stream"),
        ('{"h264": "H264", "hevc": "HEVC"}', '{"h264": "H264", "hevc": "H265"}'),
        ("packet.bsl_data =", "packet.data ="),
        ("ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0", "data"),
        ("self._decoder.Decode, packet", "self._decoder.Decode, data"),
        ("WaitOnCUStream, self.stream", "WaitOnCUStream"),
        ("frame.timestamp", "frame.pts"),
        ("ENDOFSTREAM", "EOS"),
    ],
)
def test_bugs_with_pynvvideocodec_are_seen(right: str, wrong: str) -> None:
    source = Path(str(actors.pynvvideocodec.__file__)).read_text("utf-8")
    assert right in source
    changed = version_of(source.replace(right, wrong), actors.pynvvideocodec)
    with pytest.raises((MisuseError, AttributeError)):
        by_pynvvideocodec(changed)


# What is pinned


def test_signatures_are_read_from_stubs_and_sources() -> None:
    source = """
class A(B):
    x: ClassVar[int]
    @property
    def y(self) -> str: ...
    @overload
    def f(self, one: int, /) -> None: ...
    @overload
    def f(self, *, two: str = ...) -> int: ...
    def f(self, *_): ...
"""
    assert read_signatures(source, "A") == ["class(B)"]
    assert read_signatures(source, "A.x") == ["ClassVar[int]"]
    assert read_signatures(source, "A.y") == ["property -> str"]
    assert read_signatures(source, "A.f") == [
        "(self, one: int, /) -> None",
        "(self, *, two: str=...) -> int",
    ]
    with pytest.raises(LookupError, match=r"no A\.g"):
        read_signatures(source, "A.g")


@pytest.mark.parametrize("package", INSTALL)
def test_what_is_pinned_was_read(package: str) -> None:
    known = pinned(package)
    assert known["version"]
    assert all(each["signatures"] for each in known["names"].values())


def bound(names: dict[str, Any]) -> None:
    """What `OnnxOnGpu` and its tests ask of ONNX Runtime."""
    api = Api("onnxruntime", names=names)
    api.preload_dlls()
    session: Any = Api("onnxruntime", names=names, path="Session")
    binding = session.io_binding()
    for bind in (binding.bind_input, binding.bind_output):
        bind("target", "cuda", 0, np.float32, (2, 3, 128, 128), 512)
    session.run_with_iobinding(binding, object())
    session.get_providers()
    session.get_provider_options()


def test_onnxruntime_for_processors_says_the_same() -> None:
    """It is installed, and the same sources as onnxruntime-gpu."""
    names = pinned("onnxruntime")["names"]
    bound(names)
    found = distribution("onnxruntime")
    assert found.version == pinned("onnxruntime")["version"]
    assert installed("onnxruntime", folder_of(found)) == names


@pytest.mark.cuda
@pytest.mark.parametrize("package", INSTALL)
def test_the_installed_package_takes_the_calls(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another version than the pinned one, and say other things that nobody calls."""
    known = pinned(package)
    wanted = [known["distribution"], known["distribution"].replace("-cu13", "-cu12")]
    found = None
    for name in wanted:
        with suppress(PackageNotFoundError):
            found = distribution(name)
    if found is None:
        lacking(f"{wanted[0]} is not installed", INSTALL[package])
    names = installed(package, folder_of(found))
    if found.version == known["version"]:
        assert names == known["names"], "pinned otherwise"
    match package:
        case "cvcuda":
            by_cvcuda(kernels.cuda.alternatives, monkeypatch, names)
        case "torch":
            by_torch(kernels.cuda.alternatives, monkeypatch, names)
        case "PyNvVideoCodec":
            by_pynvvideocodec(actors.pynvvideocodec, names)
        case _:
            bound(names)
