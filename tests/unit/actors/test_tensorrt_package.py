"""The wrapper of TensorRT asks for what the real package has. No GPU, none of its libraries."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import actors.inference.tensorrt_package

ROOT = Path(__file__).resolve().parents[3]
SOURCE = Path(str(actors.inference.tensorrt_package.__file__)).read_text()
ENTRIES = """
createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL
createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL getBuilderPluginRegistry
getNvOnnxParserVersion getPluginRegistry initLibNvInferPlugins
"""
"""What the bindings look for in the libraries when they are imported."""

BUGS = {
    "a flag for half floats": ("BuilderFlag.TF32", "BuilderFlag.FP16", "FP16"),
    "an old way to run": (
        "execute_async_v3(stream))\n        if not",
        "execute_async_v2(stream))\n        if not",
        "execute_async_v2",
    ),
    "addresses by number": (
        "set_tensor_address(name, pointer)",
        "set_tensor_address(0, pointer)",
        "set_tensor_address",
    ),
    "a size left out": (
        "set_device_memory(pointer, nbytes)",
        "set_device_memory(pointer)",
        "set_device_memory",
    ),
    "an old name for the size": (
        "get_device_memory_size_for_profile_v2(profile)",
        "get_device_memory_size(profile)",
        "get_device_memory_size",
    ),
    "a profile without a stream": (
        "set_optimization_profile_async(profile, stream)",
        "set_optimization_profile_async(profile)",
        "set_optimization_profile_async",
    ),
    "a timing cache by name": (
        "set_timing_cache(cache, False):\n                cache",
        "set_timing_cache('cache', False):\n                cache",
        "set_timing_cache",
    ),
    "a path that is no text": (
        "parse_from_file(str(network))",
        "parse_from_file(network)",
        "parse_from_file",
    ),
    "shapes as lists of words": ("self._trt.Dims(shapes[name])", "str(shapes[name])", "set_shape"),
    "a property that cannot be set": (
        "config.max_aux_streams",
        "config.num_optimization_profiles",
        "num_optimization_profiles",
    ),
    "a logger of our own kind": ("class Logger(trt.ILogger)", "class Logger(object)", "self"),
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What came of the wrapper as it is (""), and with each bug."""
    spec = find_spec("tensorrt_bindings")
    assert spec is not None
    assert spec.origin, "the dev extra has tensorrt_cu13_bindings"
    folder = tmp_path_factory.mktemp("libraries")
    empty = folder / "empty.c"
    empty.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ENTRIES.split()))
    for name in ("libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvonnxparser.so.11"):
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*command, str(empty)], check=True)
    sources = {"": SOURCE}
    for bug, (right, wrong, _) in BUGS.items():
        assert SOURCE.count(right) == 1, bug
        sources[bug] = SOURCE.replace(right, wrong)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests/support/tensorrt_signatures.py")],
        input=json.dumps(list(sources.values())),
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(folder),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(spec.origin).parents[1]}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = dict(zip(sources, json.loads(done.stdout), strict=True))
    return found.__getitem__


def test_each_call_is_one_that_the_package_has(tried: Callable[[str], dict[str, Any]]) -> None:
    found = tried("")
    assert "error" not in found, found["error"]
    assert found["platform"][0].startswith("11.")
    assert found["platform"][1:] == ["A GPU", "9.0"]
    assert (
        found["inputs"]
        == ["Tensor(name='word', dtype='float32', shape=(-1, 3), is_input=True)"] * 2
    )
    assert found["plan"] == ["memory", "memory"]
    assert found["tensors"] == [
        f"Tensor(name='tensor {n}', dtype='float32', shape=(2, 3), is_input=True)" for n in (0, 1)
    ]
    assert (found["workspaces"], found["done"]) == ([1000, 1001], [True] * 4)
    assert (found["unknown"], found["shape"]) == ([], [2, 3])


def test_flags_and_streams_are_what_they_should_be(
    tried: Callable[[str], dict[str, Any]],
) -> None:
    calls = tried("")["calls"]
    said = [f"{name} {' '.join(given)}" for name, given in calls]
    assert any("clear_flag <BuilderFlag.TF32" in each for each in said)
    assert any("set_flag <BuilderFlag.DISTRIBUTIVE_INDEPENDENCE" in each for each in said)
    assert "IBuilderConfig.max_aux_streams = 0" in said
    assert [given for name, given in calls if name == "IExecutionContext.execute_async_v3"] == [
        ["77"]
    ] * 2
    assert any("USER_MANAGED" in each for each in said if "create_execution_context" in each)
    assert sum("add_optimization_profile" in each for each in said) == 2


def test_a_graph_is_what_was_recorded(tried: Callable[[str], dict[str, Any]]) -> None:
    log = tried("")["gpu"]
    assert log.count("enter") == log.count("exit") > 5
    graph = ["begin", "end", "exit", "enter", "launch", "exit"]
    assert log[log.index("begin") :][: len(graph)] == graph


def test_what_goes_wrong_is_kept(tried: Callable[[str], dict[str, Any]]) -> None:
    found = tried("")
    assert found["complaint"] == "it hurts; no room"
    assert (found["errors"], found["out of memory"]) == (2, True)
    assert found["failures"] == ["MemoryError", "GpuFailed"]


@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_seen(bug: str, tried: Callable[[str], dict[str, Any]]) -> None:
    assert BUGS[bug][2] in tried(bug)["error"]
