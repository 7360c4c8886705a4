"""The stand-ins: their signatures, what they cost, and that what they say follows the picture."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.inference.ort import onnxruntime
from actors.models import ModelStore
from actors.registry import Registry
from benchmarks.standin_graph import STANDIN, count_macs
from benchmarks.standin_parts import MARKERS, POINTS_5
from benchmarks.standins import PLANS, build, standin_store

Picture = NDArray[np.float32]


def session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # a constant that no node reads is meant to be there
    content = build(name).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def disc(
    side: int, x: float, y: float, across: float, down: float, marker: str, light: float = 0.0
) -> Picture:
    """R'G'B' [side, side, 3]: grey, with an ellipse of a marker; ``light``: brighter above."""
    rows, columns = np.mgrid[:side, :side].astype(np.float64)
    inside = ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1
    picture = np.full((side, side, 3), 0.4)
    colour = np.array(MARKERS[marker])
    shade = 0.9 * (1 - light * (rows - y) / down)
    picture[inside] = (colour / colour.max() * shade[..., None])[inside]
    return picture.astype(np.float32)


def test_every_network_of_the_registry_has_one() -> None:
    named = {spec.name for spec in Registry.load().values() if spec.source.endswith(".onnx")}
    assert set(PLANS) == named


@pytest.mark.parametrize("name", PLANS)
def test_signature(name: str) -> None:
    """Inputs, outputs and values are as the registry says, and the file names itself."""
    spec = Registry.load()[name]
    network = session(name)
    assert network.get_modelmeta().custom_metadata_map[STANDIN] == "1"
    numbers = np.random.default_rng(0)
    feed = {}
    for (wanted, shape), found in zip(spec.inputs, network.get_inputs(), strict=True):
        assert found.name == wanted
        assert [1 if isinstance(size, str) else size for size in found.shape] == list(shape)
        kind = {"tensor(float)": np.float32, "tensor(double)": np.float64}[found.type]
        feed[wanted] = numbers.random(shape).astype(kind)
    results = network.run(None, feed)
    assert [result.shape for result in results] == list(spec.outputs)
    assert spec.range[0] <= float(results[0].min())
    assert float(results[0].max()) <= spec.range[1]


# One of each builder; the true count of the rest is not another one.
@pytest.mark.parametrize(
    ("name", "gmac"),
    [
        ("hyperswap_1a_256", 69),
        ("inswapper_128", 23),
        ("2dfan4", 25.2),
        ("retinaface_10g", 9.6),
        ("yoloface_8n", 4.1),
        ("arcface_w600k_r50", 6.3),
        ("fairface", 3.7),
        ("xseg_1", 10.9),
        ("bisenet_resnet_34", 19.5),
        ("gfpgan_1.4", 60),
    ],
)
def test_cost(name: str, gmac: float) -> None:
    assert PLANS[name].gmac == gmac
    assert count_macs(build(name, "full")) == pytest.approx(gmac * 1e9, rel=0.01)
    assert count_macs(build(name, "small")) == pytest.approx(gmac / 20 * 1e9, rel=0.05)
    assert count_macs(build(name)) < 0.06e9


def test_counting_by_hand() -> None:
    """inswapper's stem: 32 x 32 places, each 4 x 4 x 3 numbers of each of its channels."""
    model = build("inswapper_128")
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    weights = next(each for each in model.graph.initializer if each.name == stem.input[1])
    alone = type(model)()
    alone.CopyFrom(model)
    alone.graph.ClearField("node")
    alone.graph.node.append(stem)
    alone.graph.ClearField("output")
    assert count_macs(alone) == 32 * 32 * weights.dims[0] * 4 * 4 * 3


def test_same_bytes_each_time() -> None:
    assert build("xseg_1").SerializeToString() == build("xseg_1").SerializeToString()
    assert build("xseg_1").SerializeToString() != build("xseg_2").SerializeToString()


def scrfd_faces(picture: Picture) -> list[tuple[float, NDArray[np.float64], NDArray[np.float64]]]:
    """Score, box and five points of each anchor above 0.5, best first."""
    found = session("scrfd_2.5g").run(
        None, {"input": ((picture[..., ::-1] * 255 - 127.5) / 128).transpose(2, 0, 1)[None]}
    )
    faces = []
    for level, stride in enumerate((8, 16, 32)):
        scores, boxes, points = (found[level + 3 * part] for part in range(3))
        for anchor in np.flatnonzero(scores[:, 0] >= 0.5):
            side = 640 // stride
            centre = np.array([anchor // 2 % side, anchor // 2 // side]) * stride
            off = boxes[anchor] * stride
            box = np.concatenate([centre - off[:2], centre + off[2:]])
            at = centre + points[anchor].reshape(5, 2) * stride
            faces.append((float(scores[anchor, 0]), box, at))
    return sorted(faces, key=lambda face: -face[0])


def test_boxes_follow_the_marker() -> None:
    for x, y, across, down in ((200, 150, 60, 80), (430, 400, 90, 110)):
        faces = scrfd_faces(disc(640, x, y, across, down, "green"))
        assert faces
        box = np.array([x - across, y - down, x + across, y + down])
        assert abs(faces[0][1] - box).max() < 6
        five = box[:2] + POINTS_5 * (box[2:] - box[:2])
        assert abs(faces[0][2] - five).max() < 6
    assert not scrfd_faces(np.full((640, 640, 3), 0.4, np.float32))


def test_a_wrong_channel_order_finds_nothing() -> None:
    assert not scrfd_faces(disc(640, 300, 300, 80, 90, "red")[..., ::-1])


def test_two_markers_are_two_faces() -> None:
    both = disc(640, 160, 200, 60, 70, "red")
    other = disc(640, 480, 400, 60, 70, "green")
    both[:, 320:] = other[:, 320:]
    centres = {tuple(np.round((box[:2] + box[2:]) / 2, -1)) for _, box, _ in scrfd_faces(both)}
    assert centres == {(160, 200), (480, 400)}


def test_a_lit_marker_is_found_upright_only() -> None:
    upright = disc(640, 320, 320, 80, 90, "red", light=0.3)
    assert scrfd_faces(upright)
    for turns in (1, 2, 3):
        assert not scrfd_faces(np.rot90(upright, turns).copy())


def test_landmarks_follow_the_marker() -> None:
    network = session("2dfan4")
    for x, y in ((128, 128), (110, 140)):
        crop = disc(256, x, y, 70, 90, "magenta")[..., ::-1].transpose(2, 0, 1)[None]
        points, heat = network.run(None, {"input": np.ascontiguousarray(crop)})
        eyes = points[0, 36:42, :2].mean(axis=0) * 4
        assert eyes == pytest.approx([x - 70 + 0.3 * 140, y - 90 + 0.4 * 180], abs=3)
        peak = np.unravel_index(heat[0, 30].argmax(), (64, 64))
        assert peak[::-1] == pytest.approx(points[0, 30, :2], abs=0.6)
        assert 0.6 < heat.max() < 1


def test_faces_have_embeddings_of_their_own() -> None:
    network = session("arcface_w600k_r50")

    def embed(picture: Picture) -> NDArray[np.float32]:
        plane = (picture * 255 / 127.5 - 1).transpose(2, 0, 1)[None].astype(np.float32)
        row: NDArray[np.float32] = network.run(None, {"input": plane})[0][0]
        return row / np.linalg.norm(row)

    red, again = disc(112, 56, 56, 50, 55, "red"), disc(112, 57, 55, 50, 55, "red")
    assert embed(red) @ embed(red * 0.9) > 0.95
    assert embed(red) @ embed(again) > 0.9
    for other in ("green", "magenta", "skin"):
        assert embed(red) @ embed(disc(112, 56, 56, 50, 55, other)) < 0.6


def test_the_classifier_follows_the_picture() -> None:
    network = session("fairface")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def classify(picture: Picture) -> list[int]:
        plane = ((picture - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
        return [int(each[0]) for each in network.run(None, {"input": plane})]

    red, green = (classify(disc(224, 112, 112, 90, 100, each)) for each in ("red", "green"))
    assert red[:2] == [1, 0]
    assert green[:2] == [2, 1]
    dark = classify(disc(224, 112, 112, 90, 100, "red") * 0.3)
    assert dark[2] < red[2]


def test_masks_leave_out_what_is_blue() -> None:
    free = disc(256, 128, 128, 100, 120, "skin")
    hidden = free.copy()
    hidden[100:150, 60:200] = (0.05, 0.05, 0.9)
    network = session("xseg_1")
    before, after = (
        network.run(None, {"input": each[None, :, :, ::-1]})[0][0, ..., 0]
        for each in (free, hidden)
    )
    assert before[128, 128] > 0.95
    assert after[128, 128] < 0.05
    assert abs(before - after)[200:].max() < 0.05
    assert before[2, 2] < 0.05


def test_a_swap_stays_a_picture_and_bears_its_source() -> None:
    network = session("hyperswap_1a_256")
    target = disc(256, 128, 128, 100, 120, "skin").transpose(2, 0, 1)[None]
    who = np.random.default_rng(1).standard_normal((2, 512)).astype(np.float32)
    who /= np.linalg.norm(who, axis=1, keepdims=True)
    first, second = (
        network.run(None, {"source": each[None], "target": (target - 0.5) / 0.5})[0] / 2 + 0.5
        for each in who
    )
    assert abs(first - target).max() < 0.17
    assert abs(first - second).mean() > 0.002


def test_a_store_of_stand_ins_for_any_process(tmp_path: Path) -> None:
    names = ("inswapper_128", "scrfd_2.5g")
    store = standin_store(tmp_path, names=names)
    elsewhere = ModelStore(tmp_path)
    for name in names:
        assert elsewhere.path(name) == store.path(name)
        assert elsewhere.verify(name)
        spec = elsewhere.registry[name]
        assert spec.standin
        assert spec.licence == "stand-in"
        assert spec.inputs == Registry.load()[name].inputs
    assert not elsewhere.registry["ghost_1_256"].standin
