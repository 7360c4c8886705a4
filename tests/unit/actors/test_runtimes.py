"""Both runtimes of ONNX files keep the protocol's promises, on stand-ins."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.inference.onnx import Onnx
from actors.inference.openvino import OpenVino
from benchmarks.standins import build
from scheduler.errors import ModelCorrupt

Kind = type[Onnx] | type[OpenVino]
BOTH = pytest.mark.parametrize("runtime", [Onnx, OpenVino])


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    paths = {}
    for name in ("hyperswap_1a_256", "inswapper_128", "codeformer", "scrfd_2.5g", "fairface"):
        paths[name] = folder / f"{name}.onnx"
        paths[name].write_bytes(build(name).SerializeToString())
    return paths


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, np.float32)


@BOTH
def test_what_a_network_says_of_itself(runtime: Kind, networks: dict[str, Path]) -> None:
    network = runtime.load(networks["hyperswap_1a_256"])
    assert [(each.name, each.shape) for each in network.inputs] == [
        ("source", (512,)),
        ("target", (3, 256, 256)),
    ]
    assert [(each.name, each.shape) for each in network.outputs] == [
        ("output", (3, 256, 256)),
        ("mask", (1, 256, 256)),
    ]
    assert {each.dtype for each in (*network.inputs, *network.outputs)} == {"float32"}


@BOTH
def test_rows_do_not_depend_on_their_batch_or_threads(
    runtime: Kind, networks: dict[str, Path]
) -> None:
    source, target = numbers(3, 512), numbers(3, 3, 256, 256)
    network, wide = (
        runtime.load(networks["hyperswap_1a_256"], threads=threads) for threads in (1, 2)
    )
    together = network.run(source, target)
    for row in range(3):
        alone = wide.run(source[row : row + 1], target[row : row + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            if runtime is Onnx:
                assert np.array_equal(one[0], all_of_them[row])
            else:
                assert one[0] == pytest.approx(all_of_them[row], abs=1e-5)


@BOTH
def test_results_belong_to_the_caller(runtime: Kind, networks: dict[str, Path]) -> None:
    network = runtime.load(networks["inswapper_128"])
    first = network.run(numbers(1, 3, 128, 128), numbers(1, 512))
    kept = first[0].copy()
    first_again = network.run(numbers(1, 3, 128, 128, seed=1), numbers(1, 512))
    assert np.array_equal(first[0], kept)
    assert not np.array_equal(first_again[0], kept)
    assert first[0].flags.writeable


@BOTH
def test_a_file_that_takes_one_row_is_run_row_by_row(
    runtime: Kind, networks: dict[str, Path]
) -> None:
    network = runtime.load(networks["scrfd_2.5g"])
    canvas = numbers(2, 3, 640, 640)
    scores = network.run(canvas)[0]
    assert scores.shape == (2 * 12800, 1)
    assert scores[12800:] == pytest.approx(network.run(canvas[1:])[0], abs=1e-6)


@BOTH
def test_other_types_are_cast_at_the_edge(runtime: Kind, networks: dict[str, Path]) -> None:
    codeformer = runtime.load(networks["codeformer"])
    assert codeformer.inputs[1].dtype == ("float64" if runtime is Onnx else "float32")
    picture = numbers(1, 3, 512, 512)
    strict, free = (
        codeformer.run(picture, np.array([weight], np.float32))[0] for weight in (1.0, 0.0)
    )
    assert strict.dtype == np.float32
    assert abs(strict - picture).mean() < abs(free - picture).mean()
    race = runtime.load(networks["fairface"]).run(numbers(2, 3, 224, 224))[0]
    assert (race.dtype, race.shape) == (np.float32, (2,))


@BOTH
def test_what_is_no_network(runtime: Kind, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(ModelCorrupt, match=r"net\.onnx"):
        runtime.load(path)
    path.write_bytes(b"rubbish" * 100)
    with pytest.raises(ModelCorrupt, match=r"net\.onnx"):
        runtime.load(path)


def test_a_stand_in_says_so(networks: dict[str, Path], tmp_path: Path) -> None:
    assert Onnx.load(networks["fairface"]).standin
    model = build("fairface")
    model.ClearField("metadata_props")
    path = tmp_path / "other.onnx"
    path.write_bytes(model.SerializeToString())
    assert not Onnx.load(path).standin


def test_the_runtimes_agree(networks: dict[str, Path]) -> None:
    source, target = numbers(1, 512), numbers(1, 3, 256, 256)
    ours, theirs = (
        runtime.load(networks["hyperswap_1a_256"]).run(source, target)
        for runtime in (Onnx, OpenVino)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
