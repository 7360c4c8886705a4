"""Stand-ins for the networks that make pictures and masks: swappers, enhancers, maskers.

What they give is their input plus a small term of the network, so that the picture stays sane.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from benchmarks.standin_graph import Graph, Value
from benchmarks.standin_parts import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NONE,
    OCCLUDER,
    ONE,
    Effort,
    body,
    chroma,
    ellipse,
    normal_to_plain,
    width_for,
)

Triple = tuple[float, float, float]
Build = Callable[[Graph, Effort], None]
TERM = 0.06
"""Largest share of the network in a picture of 0..1."""
TINT = 0.1
"""Largest share of the source's identity."""


def swapper(
    size: int,
    *,
    mean: Triple = NONE,
    std: Triple = ONE,
    signed: bool = False,
    source: str = "embedding",
    length: float = 1.0,
    mask: bool = False,
    last: type | None = None,
) -> Build:
    """A swapper.

    Args:
        size: side of its pictures.
        mean, std: of the target's normalisation.
        signed: it gives -1..1, not 0..1.
        source: "embedding" of 512 numbers, or the side of a source picture ("112").
        length: of the embeddings it is meant for.
        mask: it also gives a mask.
        last: dtype of a [512, 512] matrix at the end of the file's constants.
    """

    def build(g: Graph, effort: Effort) -> None:
        if last is not None:
            target = g.input("target", 3, size, size)  # InsightFace's file has them in this order
        if source == "embedding":
            who = g.mul(g.input("source", 512), 1.0 / length)
        else:
            side = int(source)
            picture = g.input("source", 3, side, side)
            seen = g.op(
                "AveragePool", picture, kernel_shape=[side // 4] * 2, strides=[side // 4] * 2
            )
            who = g.dense(g.reshape(seen, 0, 48), g.random(48, 512) * np.sqrt(48 / 512))
        if last is None:
            target = g.input("target", 3, size, size)
        patch = size // 64 if size > 128 else 4
        grid = size // patch
        width = width_for(grid, effort.target)
        stem = g.conv(target, 3, width, patch, patch)
        styled = g.add(
            stem,
            g.reshape(g.dense(who, g.random(512, width) * 0.5 * np.sqrt(width)), 0, width, 1, 1),
        )
        found = body(g, g.op("Relu", styled), width, grid, effort.spend)
        term = g.mul(_paint(g, found, width, patch, 3), TERM)
        tint = g.op("Tanh", g.dense(who, g.random(512, 3) * np.sqrt(3)))
        plain = normal_to_plain(g, target, mean, std)
        swapped = g.add(g.add(plain, term), g.mul(g.reshape(tint, 0, 3, 1, 1), TINT))
        swapped = g.clip(swapped, 0.0, 1.0)
        if signed:
            swapped = g.sub(g.mul(swapped, 2.0), 1.0)
        g.output("output", swapped, g.batch, 3, size, size)
        if mask:
            oval = np.clip(ellipse(32, (0.5, 0.5), (0.46, 0.49)) * 4, 0, 1)
            whole = g.resize(g.weight(oval[None, None]), size // 32, "linear")
            term = g.mul(_paint(g, found, width, patch, 1), 0.02)
            g.output("mask", g.clip(g.add(whole, term), 0.0, 1.0), g.batch, 1, size, size)
        if last is not None:
            g.weight(g.random(512, 512).astype(last), "emap")

    return build


def enhancer(size: int, *, weighted: bool = False) -> Build:
    """A face enhancer: sharper, plus a term of the network; ``weighted`` takes a fidelity."""

    def build(g: Graph, effort: Effort) -> None:
        x = g.input("input", 3, size, size)
        patch = max(size // 64, 4)
        width = width_for(size // patch, effort.target)
        stem = g.op("Relu", g.conv(x, 3, width, patch, patch))
        found = body(g, stem, width, size // patch, effort.spend)
        term = g.mul(_paint(g, found, width, patch, 3), TERM)
        if weighted:
            fidelity = g.plain_input("weight", 1, kind=TensorProto.DOUBLE)
            term = g.mul(term, g.sub(1.5, g.op("Cast", fidelity, to=TensorProto.FLOAT)))
        smooth = g.op(
            "AveragePool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4, count_include_pad=0
        )
        sharp = g.add(x, g.mul(g.op("Sub", x, smooth), 0.5))
        g.output("output", g.clip(g.add(sharp, term), -1.0, 1.0), g.batch, 3, size, size)

    return build


def xseg(g: Graph, effort: Effort) -> None:
    """Where nothing is before the face: an oval without what is blue."""
    x = g.input("input", 256, 256, 3)
    nchw = g.op("Transpose", x, perm=[0, 3, 1, 2])
    width = width_for(64, effort.target)
    stem = g.op("Relu", g.conv(nchw, 3, width, 4, 4))
    term = _paint(g, body(g, stem, width, 64, effort.spend), width, 4, 1)
    oval = np.clip(ellipse(32, (0.5, 0.5), (0.48, 0.52)) * 6, 0, 1)
    whole = g.resize(g.weight(oval[None, None]), 8, "linear")
    free = g.sub(1.0, _blue(g, normal_to_plain(g, nchw, NONE, ONE, bgr=True)))
    mask = g.clip(g.add(g.mul(free, whole), g.mul(term, 0.02)), 0.0, 1.0)
    g.output("output", g.op("Transpose", mask, perm=[0, 2, 3, 1]), g.batch, 256, 256, 1)


def bisenet(g: Graph, effort: Effort) -> None:
    """Classes of a face's parts at their places in a crop; what is blue is background."""
    x = g.input("input", 3, 512, 512)
    width = width_for(64, effort.target)
    stem = g.op("Relu", g.conv(x, 3, width, 8, 8))
    term = _paint(g, body(g, stem, width, 64, effort.spend), width, 8, 19)
    classes = _classes(64)
    scores = (classes[None] == np.arange(19)[:, None, None]) * 6.0
    whole = g.resize(g.weight(scores[None]), 8)
    blue = _blue(g, normal_to_plain(g, x, IMAGENET_MEAN, IMAGENET_STD))
    back = g.mul(blue, (np.arange(19) == 0).reshape(1, 19, 1, 1) * 20.0)
    g.output("output", g.add(g.add(whole, g.mul(term, 0.5)), back), g.batch, 19, 512, 512)


def converter(g: Graph, effort: Effort) -> None:
    """Another recogniser's embedding: almost turned, with a little of a hidden layer."""
    del effort
    x = g.input("input", 512)
    turned = g.dense(x, g.random(512, 512))
    hidden = g.op("Tanh", g.dense(x, g.random(512, 64)))
    g.output("output", g.add(turned, g.mul(g.dense(hidden, g.random(64, 512)), 0.1)), g.batch, 512)


def _paint(g: Graph, found: Value, width: int, patch: int, channels: int) -> Value:
    """[n, width, grid, grid] -> [n, channels, size, size] in -1..1."""
    cells = g.conv(found, width, channels * patch * patch, 1, gain=1.0)
    return g.op("Tanh", g.op("DepthToSpace", cells, blocksize=patch))


def _blue(g: Graph, rgb: Value) -> Value:
    """[n, 1, h, w]: 1 where a picture has the colour of an occluder."""
    colour, light = chroma(g, g.clip(rgb, 0.0, 1.0))
    off = g.sub(colour, g.weight(np.reshape(OCCLUDER, (1, 3, 1, 1))))
    near = g.mul(g.sub(1.0, g.div(g.sum(g.mul(off, off), 1), 0.25**2)), 3.0)
    return g.mul(g.clip(near, 0.0, 1.0), g.clip(g.mul(light, 4.0), 0.0, 1.0))


def _classes(size: int) -> NDArray[np.int64]:
    """[size, size]: classes of CelebAMask-HQ where a crop's face has them."""
    parts = (
        (17, (0.5, 0.2), (0.48, 0.3)),  # hair
        (14, (0.5, 0.98), (0.2, 0.15)),  # neck
        (1, (0.5, 0.55), (0.38, 0.44)),  # skin
        (2, (0.36, 0.32), (0.1, 0.03)),
        (3, (0.64, 0.32), (0.1, 0.03)),
        (4, (0.36, 0.42), (0.08, 0.04)),
        (5, (0.64, 0.42), (0.08, 0.04)),
        (10, (0.5, 0.56), (0.07, 0.12)),
        (12, (0.5, 0.73), (0.13, 0.04)),  # upper lip
        (13, (0.5, 0.79), (0.12, 0.04)),  # lower lip
        (11, (0.5, 0.76), (0.1, 0.02)),  # mouth
    )
    classes = np.zeros((size, size), np.int64)
    for number, centre, radii in parts:
        classes[ellipse(size, centre, radii) > 0] = number
    return classes
