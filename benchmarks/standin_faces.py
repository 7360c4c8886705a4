"""Stand-ins for the networks that look at faces: detectors, landmarkers, recogniser, classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from benchmarks.standin_graph import Graph, Value
from benchmarks.standin_parts import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MARKERS,
    NONE,
    OCCLUDER,
    ONE,
    POINTS_5,
    Effort,
    Sight,
    chroma,
    flavour,
    look,
    normal_to_plain,
    points_68,
)

CANVAS = 640
STRIDES = (8, 16, 32)
KINDS = len(MARKERS)


def scrfd(g: Graph, effort: Effort) -> None:
    """An SCRFD head: two anchors a cell, distances in strides, nine outputs."""
    x = g.input("input", 3, CANVAS, CANVAS)
    rgb = normal_to_plain(g, x, (127.5 / 255,) * 3, (128 / 255,) * 3, bgr=True)
    taste = g.mul(flavour(g, x, CANVAS, 8, effort), 1e-4)
    faces = _faces(g, look(g, rgb, CANVAS, 8))
    found = [_cells(g, faces, stride, anchors=2, offset=0.0) for stride in STRIDES]
    for (score, _, anchors), stride in zip(found, STRIDES, strict=True):
        score = g.clip(g.add(score, taste), 0.0, 1.0)
        g.output(f"score_{stride}", score, len(anchors), 1)
    for (_, values, anchors), stride in zip(found, STRIDES, strict=True):
        low = g.sub(anchors, g.slice(values, 1, 0, 2))
        high = g.sub(g.slice(values, 1, 2, 4), g.weight(anchors))
        g.output(f"bbox_{stride}", g.div(g.concat([low, high], 1), stride), len(anchors), 4)
    for (_, values, anchors), stride in zip(found, STRIDES, strict=True):
        off = g.sub(g.slice(values, 1, 4, 14), g.weight(np.tile(anchors, 5)))
        g.output(f"kps_{stride}", g.div(off, stride), len(anchors), 10)


def yolo(g: Graph, effort: Effort) -> None:
    """A YOLOv8 face head: [1, 20, 8400], boxes and points in pixels of the canvas."""
    x = g.input("input", 3, CANVAS, CANVAS)
    taste = g.mul(flavour(g, x, CANVAS, 8, effort), 1e-4)
    faces = _faces(g, look(g, normal_to_plain(g, x, NONE, ONE, bgr=True), CANVAS, 8))
    rows, cells = [], 0
    for stride in STRIDES:
        score, values, anchors = _cells(g, faces, stride, anchors=1, offset=0.5)
        low, high = g.slice(values, 1, 0, 2), g.slice(values, 1, 2, 4)
        points = [
            part
            for number in range(5)
            for part in (g.slice(values, 1, 4 + 2 * number, 6 + 2 * number), score)
        ]
        centre, size = g.mul(g.add(low, high), 0.5), g.sub(high, low)
        score = g.clip(g.add(score, taste), 0.0, 1.0)
        rows.append(g.concat([centre, size, score, *points], 1))
        cells += len(anchors)
    table = g.op("Transpose", g.concat(rows, 0), perm=[1, 0])
    g.output("output0", g.reshape(table, 1, 20, cells), 1, 20, cells)


def yunet(g: Graph, effort: Effort) -> None:
    """YuNet's head: the score is the product of two outputs, sizes are logarithms."""
    x = g.input("input", 3, CANVAS, CANVAS)
    taste = g.mul(flavour(g, g.mul(x, 1 / 255), CANVAS, 8, effort), 1e-4)
    rgb = normal_to_plain(g, x, NONE, (1 / 255,) * 3, bgr=True)
    faces = _faces(g, look(g, rgb, CANVAS, 8))
    found = [_cells(g, faces, stride, anchors=1, offset=0.0) for stride in STRIDES]
    for name in ("cls", "obj"):
        for (score, _, anchors), stride in zip(found, STRIDES, strict=True):
            root = g.op("Sqrt", g.clip(g.add(score, taste), 0.0, 1.0))
            cells = len(anchors)
            g.output(f"{name}_{stride}", g.reshape(root, 1, cells, 1), 1, cells, 1)
    for (_, values, anchors), stride in zip(found, STRIDES, strict=True):
        low, high = g.slice(values, 1, 0, 2), g.slice(values, 1, 2, 4)
        centre = g.div(g.sub(g.mul(g.add(low, high), 0.5), g.weight(anchors)), stride)
        size = g.op("Log", g.div(g.op("Max", g.sub(high, low), g.weight(1e-3)), g.weight(stride)))
        cells = len(anchors)
        box = g.reshape(g.concat([centre, size], 1), 1, cells, 4)
        g.output(f"bbox_{stride}", box, 1, cells, 4)
    for (_, values, anchors), stride in zip(found, STRIDES, strict=True):
        off = g.sub(g.slice(values, 1, 4, 14), g.weight(np.tile(anchors, 5)))
        cells = len(anchors)
        g.output(f"kps_{stride}", g.reshape(g.div(off, stride), 1, cells, 10), 1, cells, 10)


def _faces(g: Graph, sight: Sight) -> tuple[Value, Value]:
    """Sureness [1, markers], and box and five points of each [markers, 14] in canvas pixels."""
    flat = [
        g.reshape(value, KINDS, 1)
        for value in (sight.x, sight.y, sight.half_width, sight.half_height)
    ]
    unit = np.concatenate([[[0.0, 0.0], [1.0, 1.0]], POINTS_5]) * 2 - 1
    columns = []
    for across, down in unit:
        columns += [g.add(flat[0], g.mul(flat[2], across)), g.add(flat[1], g.mul(flat[3], down))]
    return g.reshape(sight.sure, 1, KINDS), g.concat(columns, 1)


def _cells(
    g: Graph, faces: tuple[Value, Value], stride: int, anchors: int, offset: float
) -> tuple[Value, Value, NDArray[np.float64]]:
    """Scores [a, 1] and values [a, 14] of one stride's anchors, and where these are [a, 2]."""
    sure, values = faces
    side = CANVAS // stride
    down, across = np.divmod(np.repeat(np.arange(side * side), anchors), side)
    place = (np.stack([across, down], axis=1) + offset) * stride
    here = []
    for axis in (0, 1):
        low, high = g.slice(values, 1, axis, axis + 1), g.slice(values, 1, axis + 2, axis + 3)
        centre = g.reshape(g.mul(g.add(low, high), 0.5), 1, KINDS)
        off = g.op("Abs", g.sub(place[:, axis : axis + 1], centre))
        here.append(g.clip(g.sub(1.5, g.div(off, stride)), 0.0, 1.0))
    each = g.mul(g.mul(here[0], here[1]), sure)
    score = g.op("ReduceMax", each, axes=[1], keepdims=1)
    weights = g.div(each, g.add(g.sum(each, 1), 1e-6))
    return score, g.op("MatMul", weights, values), place


def fan(g: Graph, effort: Effort) -> None:
    """2DFAN4: 68 points on a 64 x 64 grid, and a heat map of each."""
    x = g.input("input", 3, 256, 256)
    points, sure, taste = _points(g, x, effort)
    score = g.op("Expand", sure, g.weight(np.array([1, 68, 1])))
    g.output("landmarks", g.concat([points, score], 2), g.batch, 68, 3)
    place = np.arange(64.0)
    bells = []
    for axis in (0, 1):
        centre = g.reshape(g.slice(points, 2, axis, axis + 1), 0, 68, 1, 1)
        row = place[None, None, None, :] if axis == 0 else place[None, None, :, None]
        off = g.sub(g.weight(row), centre)
        bells.append(g.op("Exp", g.mul(g.mul(off, off), -0.5 / 1.5**2)))
    heat = g.mul(g.mul(bells[0], bells[1]), g.reshape(g.add(sure, taste), -1, 1, 1, 1))
    g.output("heatmaps", heat, g.batch, 68, 64, 64)


def peppa_wutz(g: Graph, effort: Effort) -> None:
    """68 points with a score each, on a 64 x 64 grid, in one output."""
    x = g.input("input", 3, 256, 256)
    points, sure, taste = _points(g, x, effort)
    score = g.op("Expand", g.add(sure, taste), g.weight(np.array([1, 68, 1])))
    g.output("output", g.concat([points, score], 2), g.batch, 68, 3)


def _points(g: Graph, x: Value, effort: Effort) -> tuple[Value, Value, Value]:
    """Points [n, 68, 2] on the grid of 64, sureness [n, 1, 1], and a tiny number [n, 1, 1]."""
    taste = g.reshape(g.mul(flavour(g, x, 256, 4, effort), 1e-3), -1, 1, 1)
    sight = look(g, normal_to_plain(g, x, NONE, ONE, bgr=True), 256, 4)
    weight = g.mul(sight.mass, sight.sure)
    weight = g.div(weight, g.add(g.sum(weight, 1), 1e-3))
    sure = g.op("ReduceMax", sight.sure, axes=[1], keepdims=1)
    missing = g.sub(1.0, g.sum(weight, 1))
    # Without a marker the face fills as much of the crop as a detector's box would.
    values = [
        g.reshape(g.add(g.sum(g.mul(value, weight), 1), g.mul(missing, otherwise)), -1, 1, 1)
        for value, otherwise in (
            (sight.x, 127.5),
            (sight.y, 127.5),
            (sight.half_width, 97.5),
            (sight.half_height, 97.5),
        )
    ]
    unit = points_68() * 2 - 1
    across = g.add(values[0], g.mul(values[2], unit[None, :, :1]))
    down = g.add(values[1], g.mul(values[3], unit[None, :, 1:]))
    points = g.div(g.concat([across, down], 2), 4.0)
    return points, g.reshape(g.add(g.mul(sure, 0.85), 0.1), -1, 1, 1), taste


def fan_68_5(g: Graph, effort: Effort) -> None:
    """68 points from five: the similarity that fits them best."""
    del effort
    x = g.input("input", 5, 2)

    def system(points: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = points.T
        one, none = np.ones_like(u), np.zeros_like(u)
        rows = np.stack([[u, -v, one, none], [v, u, none, one]])
        return rows.transpose(2, 0, 1).reshape(-1, 4)

    matrix = system(points_68()) @ np.linalg.pinv(system(POINTS_5))
    g.output("output", g.reshape(g.dense(g.reshape(x, 0, 10), matrix.T), 0, 68, 2), g.batch, 68, 2)


def arcface(g: Graph, effort: Effort) -> None:
    """512 numbers that are near for one face's crops and far for another's: colour and texture."""
    x = g.input("input", 3, 112, 112)
    taste = flavour(g, x, 112, 4, effort)
    rgb = g.clip(normal_to_plain(g, x, (0.5,) * 3, (0.5,) * 3), 0.0, 1.0)
    colour, _ = chroma(g, g.op("AveragePool", rgb, kernel_shape=[16, 16], strides=[16, 16]))
    skin = np.reshape(MARKERS["skin"], (1, 3, 1, 1))
    tones = g.reshape(g.mul(g.sub(colour, g.weight(skin)), 3.0), 0, 147)
    luma = g.sum(g.op("AveragePool", rgb, kernel_shape=[8, 8], strides=[8, 8]), 1)
    smooth = g.op(
        "AveragePool", luma, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4, count_include_pad=0
    )
    edges = g.reshape(g.sub(luma, smooth), 0, 196)
    size = g.op("Sqrt", g.add(g.sum(g.mul(edges, edges), 1), 0.02))
    texture = g.mul(g.div(edges, size), 4.0)
    both = g.concat([tones, texture, g.mul(taste, 0.05)], 1)
    spread = g.random(344, 512) * np.sqrt(512) * 0.2
    g.output("embedding", g.dense(both, spread), g.batch, 512)


def fairface(g: Graph, effort: Effort) -> None:
    """Race by the hue of the middle of the picture, gender by its green, age by its brightness."""
    x = g.input("input", 3, 224, 224)
    taste = g.mul(flavour(g, x, 224, 4, effort), 1e-6)
    rgb = g.clip(normal_to_plain(g, x, IMAGENET_MEAN, IMAGENET_STD), 0.0, 1.0)
    middle = g.slice(g.slice(rgb, 2, 56, 168), 3, 56, 168)
    colour, light = chroma(g, g.op("GlobalAveragePool", middle))
    colour = g.reshape(colour, 0, 3)
    hues = np.array(
        [
            MARKERS["skin"],  # white
            MARKERS["red"],  # black
            MARKERS["green"],  # latino
            MARKERS["magenta"],  # east asian
            OCCLUDER,  # southeast asian
            (0.06, 0.47, 0.47),  # indian
            (0.47, 0.47, 0.06),  # arabic
        ]
    )
    races = g.dense(colour, 2 * hues.T, -np.square(hues).sum(axis=1))
    genders = g.dense(colour, np.array([[0.0, -1.0], [0.0, 1.0], [0.0, 0.0]]))
    ages = (np.arange(9) + 0.5) / 9 * 3
    old = g.dense(g.reshape(light, 0, 1), 2 * ages[None, :], -np.square(ages))
    for name, scores, count in (("race", races, 7), ("gender", genders, 2), ("age", old, 9)):
        # The body's number must count, or a runtime may leave the body out.
        scores = g.add(scores, g.mul(taste, np.arange(count)[None, :]))
        best = g.op("ArgMax", scores, axis=1, keepdims=0)
        g.output(name, best, g.batch, kind=TensorProto.INT64)
