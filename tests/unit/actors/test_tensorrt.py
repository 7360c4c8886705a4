"""The TensorRT runtime, on an engine that computes with ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import actors.inference.fixed_batch
import actors.inference.tensorrt
from actors.inference.engines import BuildFlags
from actors.inference.onnx import Onnx
from actors.inference.plans import PlanKey, Plans
from actors.inference.tensorrt import TensorRt
from actors.inference.tensorrt_package import TensorRtPackage
from benchmarks.standins import build as standin
from scheduler.errors import GpuFailed, GpuUnavailable, LaneOutOfMemory, ModelCorrupt
from tests.support.fake_tensorrt import FakeMemory, FakeStreamDevice, FakeTensorRt, Fault
from tests.unit.actors.small_networks import linear, network, tinting_swapper

Floats = NDArray[np.float32]
SIZE = 8


def numbers(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random(shape, np.float32)


class Bench:
    """A swapper's file, the fake TensorRT and the folder for plans."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "swapper.onnx"
        self.truth = tinting_swapper(self.path, SIZE, mask=True)
        self.device = FakeStreamDevice()
        self.api = FakeTensorRt(self.device)

    def load(self, path: Path | None = None, **how: object) -> TensorRt:
        return TensorRt.load(
            path or self.path,
            device=self.device,
            cache_dir=self.folder,
            api=self.api,
            **{"largest": 8, **how},  # type: ignore[arg-type]
        )

    def agree(self, rows: int, runtime: TensorRt, seed: int = 0) -> None:
        source, target = numbers(rows, 512, seed=seed), numbers(rows, 3, SIZE, SIZE, seed=seed + 1)
        for found, wanted in zip(
            runtime.run(source, target), self.truth.run(source, target), strict=True
        ):
            assert found.dtype == np.float32
            assert np.array_equal(found, wanted)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_a_network_says_of_itself(bench: Bench) -> None:
    runtime = bench.load()
    assert runtime.inputs == bench.truth.inputs
    assert [(each.name, each.shape, each.dtype) for each in runtime.outputs] == [
        ("output", (3, SIZE, SIZE), "float32"),
        ("mask", (1, SIZE, SIZE), "float32"),
    ]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 9, 21])
def test_the_numbers_are_onnx_runtimes(bench: Bench, rows: int) -> None:
    runtime = bench.load()
    for seed in range(4):  # run, recorded, replayed
        bench.agree(rows, runtime, seed)


def test_no_rows(bench: Bench) -> None:
    picture, mask = bench.load().run(numbers(0, 512), numbers(0, 3, SIZE, SIZE))
    assert (picture.shape, mask.shape) == ((0, 3, SIZE, SIZE), (0, 1, SIZE, SIZE))


def test_one_row_for_all(bench: Bench) -> None:
    source, target = numbers(1, 512), numbers(5, 3, SIZE, SIZE)
    found = bench.load().run(source, target)
    wanted = bench.truth.run(np.repeat(source, 5, axis=0), target)
    assert all(map(np.array_equal, found, wanted))


def test_results_belong_to_the_caller(bench: Bench) -> None:
    runtime = bench.load()
    first = runtime.run(numbers(2, 512), numbers(2, 3, SIZE, SIZE))
    kept = [each.copy() for each in first]
    runtime.run(numbers(2, 512, seed=5), numbers(2, 3, SIZE, SIZE, seed=5))
    assert all(map(np.array_equal, first, kept))


def test_each_power_of_two_has_a_profile_of_its_own(bench: Bench) -> None:
    bench.load(flags=BuildFlags(effort=2))
    ((profiles, flags, _),) = bench.api.builds
    assert [each["target"] for each in profiles] == [(n, 3, SIZE, SIZE) for n in (1, 2, 4, 8)]
    assert [each["source"] for each in profiles] == [(n, 512) for n in (1, 2, 4, 8)]
    assert flags == BuildFlags(tf32=False, effort=2)


@pytest.mark.parametrize(("asked", "largest"), [(1, 1), (3, 4), (4, 4), (5, 8), (100, 64)])
def test_the_largest_batch_is_a_power_of_two(bench: Bench, asked: int, largest: int) -> None:
    assert bench.load(largest=asked).largest == largest


def test_only_batches_that_were_built_are_run(bench: Bench) -> None:
    bench.agree(21, bench.load())
    assert bench.api.runs == [8, 8, 4, 1]


def test_a_file_that_takes_one_row_is_run_row_by_row(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "detector.onnx"
    path.write_bytes(standin("scrfd_2.5g").SerializeToString())
    canvas = numbers(2, 3, 640, 640)
    runtime = bench.load(path)
    assert runtime.largest == 1
    for found, wanted in zip(runtime.run(canvas), Onnx.load(path).run(canvas), strict=True):
        assert np.array_equal(found, wanted)
    ((profiles, _, _),) = bench.api.builds
    assert len(profiles) == 1


def test_other_types_are_cast_at_the_edge(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "race.onnx"
    path.write_bytes(standin("fairface").SerializeToString())
    runtime, picture = bench.load(path), numbers(3, 3, 224, 224)
    assert runtime.outputs[0].dtype != "float32"
    (race, *_), (wanted, *_) = runtime.run(picture), Onnx.load(path).run(picture)
    assert race.dtype == np.float32
    assert np.array_equal(race, wanted)


def test_sizes_that_the_file_leaves_open_must_be_given(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    truth = network(
        path,
        inputs={"input": ["n", 3, "h", "w"]},
        outputs={"output": ["n", 3, "h", "w"]},
        nodes=[("Mul", ["input", "two"], "output", {})],
        constants={"two": 2.0},
    )
    for wrong in (None, {"input": (3, 4)}, {"input": (3, 4, -1)}, {"input": (4, 4, 4)}):
        with pytest.raises(ModelCorrupt, match="input"):
            bench.load(path, sizes=wrong)
    runtime = bench.load(path, sizes={"input": (3, 4, 6)})
    assert runtime.inputs[0].shape == runtime.outputs[0].shape == (3, 4, 6)
    values = numbers(3, 3, 4, 6)
    assert np.array_equal(runtime.run(values)[0], truth.run(values)[0])
    with pytest.raises(ValueError, match="input"):
        runtime.run(numbers(1, 3, 4, 7))


def test_what_is_no_network(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match=r"net\.onnx"):
        bench.load(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"rubbish" * 100)
    with pytest.raises(ModelCorrupt, match=r"net\.onnx"):
        bench.load(tmp_path / "net.onnx")


def test_an_engine_is_built_once_and_again_where_it_is_damaged(bench: Bench) -> None:
    for _ in range(2):
        bench.agree(3, bench.load())
    assert len(bench.api.builds) == 1
    (plan,) = (bench.folder / "engines").glob("*.plan")
    plan.write_bytes(plan.read_bytes()[:-1])
    bench.agree(3, bench.load())
    assert [timing for _, _, timing in bench.api.builds] == [b"", b"measured;"]


def test_an_engine_of_another_gpu_is_not_taken(bench: Bench, monkeypatch) -> None:
    """Even if it came under the right name with the right words on it."""
    bench.load()
    other = FakeTensorRt(bench.device)
    engine = other.load(b"")
    assert engine is None
    key: list[PlanKey] = []
    monkeypatch.setattr(Plans, "get", lambda self, asked, load, build: key.append(asked))
    with pytest.raises(AttributeError):
        bench.load()
    assert key[0].platform == bench.api.platform
    assert key[0].batches == (1, 2, 4, 8)


# What TensorRT answers with a bool.


@pytest.mark.parametrize("verb", ["use_profile", "set_shape", "set_address", "enqueue"])
def test_each_refusal_is_an_error(bench: Bench, verb: str) -> None:
    runtime = bench.load()
    bench.api.refused.add(verb)
    with pytest.raises(GpuFailed, match="told to refuse"):
        runtime.run(numbers(2, 512), numbers(2, 3, SIZE, SIZE))


# Memory that is not enough.


def test_a_build_for_which_memory_is_short_makes_fewer_profiles(bench: Bench) -> None:
    bench.api.buildable = 2
    runtime = bench.load()
    assert runtime.largest == 2
    bench.agree(5, runtime)
    assert [len(profiles) for profiles, _, _ in bench.api.builds] == [4, 3, 2]
    assert bench.load().largest == 2
    assert len(bench.api.builds) == 3


def test_a_run_for_which_memory_is_short_halves_the_batch(bench: Bench) -> None:
    runtime = bench.load()
    bench.agree(21, runtime)
    bench.api.runs.clear()
    bench.api.runnable = 2
    fresh = bench.load()
    bench.agree(5, fresh)
    assert fresh.largest == 2
    assert max(bench.api.runs) == 2


def test_a_workspace_for_which_memory_is_short_halves_the_batch(bench: Bench) -> None:
    bench.device = FakeStreamDevice(memory=5_000 + 20_000)
    bench.api = FakeTensorRt(bench.device)
    bench.device.hog = bench.device.reserve(20_000)  # type: ignore[attr-defined]
    assert bench.load().largest == 4


def test_buffers_for_which_memory_is_short_halve_the_batch(bench: Bench) -> None:
    row = (512 + 3 * SIZE * SIZE + 4 * SIZE * SIZE) * 4
    bench.device = FakeStreamDevice(memory=8_000 + 5 * row)
    bench.api = FakeTensorRt(bench.device)
    runtime = bench.load()
    assert runtime.largest == 8
    bench.agree(8, runtime)
    assert runtime.largest == 4


@pytest.mark.parametrize("where", ["buildable", "runnable"])
def test_no_memory_for_a_single_row(bench: Bench, where: str) -> None:
    setattr(bench.api, where, 0)
    with pytest.raises(LaneOutOfMemory, match="memory"):
        bench.load().run(numbers(4, 512), numbers(4, 3, SIZE, SIZE))


# From device memory to device memory.


class Slots:
    """Memory for rows of a network's inputs and outputs."""

    def __init__(self, bench: Bench, runtime: TensorRt, rows: int) -> None:
        self._device = bench.device
        self.rows, self.runtime = rows, runtime
        self.inputs = [self._memory(each.shape) for each in runtime.inputs]
        self.outputs = [self._memory(each.shape) for each in runtime.outputs]

    def _memory(self, shape: tuple[int, ...]) -> FakeMemory:
        return self._device.reserve(4 * int(np.prod(shape)) * self.runtime.room(self.rows))

    def fill(self, *arrays: Floats) -> None:
        for memory, values in zip(self.inputs, arrays, strict=True):
            self._device.array(memory.pointer, values.shape, "float32")[...] = values

    def results(self) -> list[Floats]:
        return [
            self._device.array(memory.pointer, (self.rows, *each.shape), "float32").copy()
            for memory, each in zip(self.outputs, self.runtime.outputs, strict=True)
        ]

    def go(self) -> None:
        self.runtime.enqueue(self.rows, self.inputs, self.outputs)


@pytest.mark.parametrize("rows", [1, 3, 5, 8, 13])
def test_memory_of_the_device_is_used_where_it_is(bench: Bench, rows: int) -> None:
    runtime = bench.load()
    slots, copies = Slots(bench, runtime, rows), bench.device.copies
    for seed in range(4):
        arrays = numbers(rows, 512, seed=seed), numbers(rows, 3, SIZE, SIZE, seed=seed)
        slots.fill(*arrays)
        slots.go()
        assert all(map(np.array_equal, slots.results(), bench.truth.run(*arrays)))
    assert bench.device.copies == copies


def test_the_third_run_of_the_same_memory_needs_no_addresses(bench: Bench) -> None:
    runtime = bench.load()
    slots, other = Slots(bench, runtime, 2), Slots(bench, runtime, 2)
    counts = []
    for each in (slots, slots, slots, other, slots):
        before = bench.api.addresses
        each.fill(numbers(2, 512), numbers(2, 3, SIZE, SIZE))
        each.go()
        counts.append(bench.api.addresses - before)
    assert counts == [4, 4, 0, 4, 0]
    assert bench.api.replays == 3


@pytest.mark.parametrize("how", ["asked", "found out"])
def test_without_graphs_the_numbers_are_the_same(bench: Bench, how: str) -> None:
    bench.api.recordable = how == "asked"
    runtime = bench.load(recording=how != "asked")
    for seed in range(4):
        bench.agree(3, runtime, seed)
    assert bench.api.replays == 0


def test_memory_that_is_short_or_askew_is_refused(bench: Bench) -> None:
    runtime = bench.load()
    slots = Slots(bench, runtime, 3)
    slots.rows = 5
    with pytest.raises(ValueError, match="source"):
        slots.go()
    slots = Slots(bench, runtime, 3)
    slots.outputs[1].pointer += 4
    with pytest.raises(ValueError, match="mask"):
        slots.go()


def test_rows_too_small_to_begin_a_pass_are_padded_instead(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "score.onnx"
    truth = linear(path, numbers(512, 1))
    runtime = bench.load(path)
    assert runtime.room(5) == 8
    slots = Slots(bench, runtime, 5)
    slots.fill(numbers(5, 512))
    slots.go()
    assert bench.api.runs == [8]
    assert slots.results()[0] == pytest.approx(truth.run(numbers(5, 512))[0], abs=1e-4)


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 8)), min_size=1, max_size=5))
def test_whatever_comes_the_numbers_stay(bench: Bench, calls: Sequence[tuple[int, int]]) -> None:
    bench.api.runnable = 1 << 20
    runtime = bench.load()
    for seed, (rows, runnable) in enumerate(calls):
        bench.api.runnable = runnable
        bench.agree(rows, runtime, seed)


# Bugs planted into our own files.


def planted(module: ModuleType, bug: str, instead: str) -> ModuleType:
    source = Path(str(module.__file__)).read_text()
    assert source.count(bug) == 1, "the bug is planted nowhere"
    changed = ModuleType(module.__name__)
    changed.__dict__["__file__"] = module.__file__
    exec(compile(source.replace(bug, instead), str(module.__file__), "exec"), changed.__dict__)
    return changed


FIXED = [
    (
        "unset address",
        "in pointers.items():\n                self",
        "in list(pointers.items())[1:]:\n                self",
    ),
    (
        "address of another",
        "set_address(name, pointer)",
        "set_address(name, min(pointers.values()))",
    ),
    ("ignored refusal", "if not done:", "if False:"),
    (
        "stale graph",
        "return False\n        self._graphs[key] = graph",
        "return False\n        self._graphs[key] = next(iter(self._graphs.values()), graph)",
    ),
    ("no warm-up", "if key not in self._seen or not", "if not"),
    ("no memory", "self._context.use_memory(workspace.pointer, workspace.nbytes)", "pass"),
]
RUNTIME = [
    ("padding counts", "counted = len(whole) * now.rows // now.batch", "counted = len(whole)"),
    ("wrong rows", "rows = values[now.start : now.start + now.rows]", "rows = values[: now.rows]"),
    ("wrong profile", "profile = rows.bit_length() - 1", "profile = 0"),
    (
        "short buffer",
        "reserve(max(nbytes, ALIGNED))\n        return held",
        "reserve(max(nbytes // 2, ALIGNED))\n        return held",
    ),
    ("small workspace", "nbytes = max(self", "nbytes = min(self"),
    ("lost rows after halving", "largest, todo[0].start))", "largest, todo[0].start + 1))"),
]


def exercise(bench: Bench, runtime: type[TensorRt]) -> None:
    """All that a bug could show in."""
    loaded = runtime.load(
        bench.path, device=bench.device, cache_dir=bench.folder, largest=8, api=bench.api
    )
    slots = [Slots(bench, loaded, 3) for _ in range(2)]
    for seed in range(4):
        bench.agree(21, loaded, seed)
        bench.agree(3, loaded, seed + 9)
        for each in slots:
            arrays = numbers(3, 512, seed=seed), numbers(3, 3, SIZE, SIZE, seed=seed)
            each.fill(*arrays)
            each.go()
            assert all(map(np.array_equal, each.results(), bench.truth.run(*arrays)))
    bench.api.runnable = 4
    fresh = runtime.load(
        bench.path, device=bench.device, cache_dir=bench.folder, largest=8, api=bench.api
    )
    bench.agree(13, fresh)
    bench.api.refused.add("enqueue")
    said = ""
    try:
        fresh.run(numbers(1, 512), numbers(1, 3, SIZE, SIZE))
    except GpuFailed as error:
        said = str(error)
    assert "told to refuse" in said


def test_without_a_bug_all_is_well(bench: Bench) -> None:
    exercise(bench, TensorRt)


@pytest.mark.parametrize(("name", "bug", "instead"), FIXED, ids=[name for name, *_ in FIXED])
def test_bugs_of_a_context_are_seen(
    bench: Bench, name: str, bug: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = planted(actors.inference.fixed_batch, bug, instead)
    monkeypatch.setattr(actors.inference.tensorrt, "FixedBatch", broken.FixedBatch)
    with pytest.raises((AssertionError, GpuFailed, Fault)):
        exercise(bench, TensorRt)


@pytest.mark.parametrize(("name", "bug", "instead"), RUNTIME, ids=[name for name, *_ in RUNTIME])
def test_bugs_of_the_runtime_are_seen(bench: Bench, name: str, bug: str, instead: str) -> None:
    broken = planted(actors.inference.tensorrt, bug, instead)
    with pytest.raises((AssertionError, GpuFailed, Fault, ValueError)):
        exercise(bench, broken.TensorRt)


def test_without_its_packages_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(GpuUnavailable, match="swapfarm\\[cuda13\\]"):
        TensorRtPackage.open()
