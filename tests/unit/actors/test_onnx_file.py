"""Reading a constant out of an ONNX file, against the package that writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from actors.inference.onnx_file import last_matrix
from scheduler.errors import ModelCorrupt


def write(path: Path, *constants: onnx.TensorProto) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "g", [value], [end], list(constants), doc_string="d" * 200)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def numbers(seed: int, rows: int = 6, columns: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_the_last_of_that_shape(tmp_path: Path, kind: type) -> None:
    wanted = numbers(2).astype(kind)
    path = write(
        tmp_path / "m.onnx",
        numpy_helper.from_array(numbers(1), "first"),
        numpy_helper.from_array(wanted, "second"),
        numpy_helper.from_array(numbers(3, 5, 6), "another shape"),
        numpy_helper.from_array(np.arange(30).reshape(6, 5), "whole numbers"),
    )
    found = last_matrix(path, 6, 5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_numbers_kept_as_a_list(tmp_path: Path) -> None:
    wanted = numbers(4)
    tensor = helper.make_tensor("m", TensorProto.FLOAT, (6, 5), wanted.ravel().tolist())
    assert tensor.float_data
    np.testing.assert_array_equal(last_matrix(write(tmp_path / "m.onnx", tensor), 6, 5), wanted)


def test_what_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", numpy_helper.from_array(numbers(1), "m"))
    whole = path.read_bytes()
    with pytest.raises(ModelCorrupt, match="no such constant"):
        last_matrix(path, 512, 512)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelCorrupt, match="cut off"):
        last_matrix(path, 6, 5)
    for broken in (b"<html>not found</html>", b"\xff" * 40, b""):
        path.write_bytes(broken)
        with pytest.raises(ModelCorrupt, match="does not give its embedding matrix"):
            last_matrix(path, 6, 5)
    with pytest.raises(ModelCorrupt, match="No such file"):
        last_matrix(tmp_path / "none.onnx", 6, 5)
