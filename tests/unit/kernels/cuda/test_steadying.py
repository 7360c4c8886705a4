"""The temporal filters' steps against their float64 definitions, and against the CPU's own."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kernels import filters, metrics
from kernels import reference_flow as oracle
from kernels.colour import TransferTables
from kernels.cuda import steadying, steps
from kernels.cuda.device import Texture
from kernels.cuda.launcher import Launcher, pitch_of
from kernels.cuda.pastes import Pastes, Pixels


@pytest.fixture(params=range(3))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def launcher(cuda):
    return Launcher(cuda())


def held(launcher, name, array):
    """A crop [h, w, c] in device memory, its rows as far apart as chance wants."""
    row = array.shape[1] * array.shape[2] + 7
    wide = np.full((len(array), row), np.nan, np.float32)
    wide[:, :-7] = array.reshape(len(array), -1)
    # Behind the last pixel there is nothing.
    pointer = launcher.sent(name, wide.ravel()[:-7])
    return Pixels(pointer=pointer, row=row, step=array.shape[2])


def smooth(rng, *shape, deviation=3.0):
    noise = rng.normal(0, 1, shape).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), deviation)
    return np.asarray(soft / np.abs(soft).max(), np.float32).reshape(shape)


def small_flow(launcher, rng, size, most=4.0):
    """A flow at half as many pixels, and where it lies."""
    shape = max(1, size[1] // 2), max(1, size[0] // 2), 2
    flow = most * smooth(rng, *shape)
    pointer = launcher.sent("flow", flow)
    return flow, steps.SmallPicture(pointer=pointer, width=shape[1], height=shape[0])


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_look(launcher, rng, channels, k):
    w, h = (int(rng.integers(1, 40)) for _ in range(2))
    crop = rng.uniform(-0.1, 1.1, (h * k, w * k, channels)).astype(np.float32)
    row = w + int(rng.integers(0, 5))
    luma = launcher.sent("luma", np.full(h * row - (row - w), 99, np.uint8))
    mask = launcher.memory("mask", 4 * w * h) if channels == 4 else 0
    pixels = held(launcher, "crop", crop)
    steadying.look(launcher, pixels, k, luma, (w, h), luma_row=row, mask=mask)
    found = np.full(h * row, 99, np.uint8)
    found[: h * row - (row - w)] = launcher.fetched(luma, (h * row - (row - w),), "uint8")
    found = found.reshape(h, row)
    assert (found[:, w:] == 99).all()
    wanted = oracle.luma(oracle.means(crop.astype(np.float64), k))
    assert_allclose(found[:, :w], wanted, rtol=0, atol=0.501)
    theirs = filters.luma(filters.shrunk(crop, k))
    assert (found[:, :w] != theirs).mean() < 0.01
    if mask:
        means = oracle.means(crop[..., 3].astype(np.float64), k)
        assert_allclose(launcher.fetched(mask, (h, w), "float32"), means, rtol=0, atol=1e-6)


@pytest.mark.parametrize("curve", ["bt709", "srgb"])
def test_colour_transfer(launcher, scene, rng, curve):
    size = 4 * int(rng.integers(9, 40))
    original = np.clip(0.5 + 0.3 * smooth(rng, size, size, 3), 0, 1)
    swapped = np.dstack([original**1.3 + 0.05, scene.mask(size)]).astype(np.float32)
    found = steadying.colour_transfer(
        launcher,
        held(launcher, "original", original),
        held(launcher, "swapped", swapped),
        size,
        Pastes(launcher).curves(curve),
    )
    wanted = oracle.colour_transfer(original.astype(float), swapped.astype(float), curve)
    assert_allclose(found, wanted, rtol=0, atol=1e-3)
    theirs = filters.colour_transfer(original, swapped, swapped[..., 3], TransferTables(curve))
    # The filter has it on steps of 1/256.
    assert_allclose(found, theirs, rtol=0, atol=1e-3)


def test_colour_transfer_of_even_faces_and_of_none(launcher, scene):
    """Nothing is lost where light hardly differs; an empty mask asks for no change."""
    size, rng = 128, np.random.default_rng(1)
    original = (0.9 + 1e-3 * smooth(rng, size, size, 3)).astype(np.float32)
    swapped = np.dstack([0.9 + 2e-3 * smooth(rng, size, size, 3), scene.mask(size)])
    swapped = swapped.astype(np.float32)
    pixels = [held(launcher, name, each) for name, each in (("a", original), ("b", swapped))]
    curves = Pastes(launcher).curves("bt709")
    found = steadying.colour_transfer(launcher, *pixels, size, curves)
    tables = TransferTables("bt709")
    theirs = filters.colour_transfer(original, swapped, swapped[..., 3], tables)
    assert_allclose(found, theirs, rtol=0, atol=2e-3)
    swapped[..., 3] = 0
    pixels[1] = held(launcher, "b", swapped)
    found = steadying.colour_transfer(launcher, *pixels, size, curves)
    assert np.array_equal(found, [[1.0] * 3, [0.0] * 3])
    with pytest.raises(ValueError, match="126 pixels"):
        steadying.colour_transfer(launcher, *pixels, 126, curves)


def lumas(launcher, rng, w, h):
    """Two pictures and those before them, and where they lie."""
    pictures = [
        np.rint(128 + 100 * smooth(rng, h, w) + rng.normal(0, 2, (h, w))).clip(0, 255)
        for _ in range(4)
    ]
    pictures[3] = pictures[1]
    pictures = [each.astype(np.uint8) for each in pictures]
    names = ("original", "swapped", "original before", "swapped before")
    at = [launcher.sent(name, each) for name, each in zip(names, pictures, strict=True)]
    pairs = [steadying.Lumas(original=at[k], swapped=at[k + 1]) for k in (0, 2)]
    return pictures, pairs


def test_likeness(launcher, rng):
    w, h = (int(rng.integers(4, 60)) for _ in range(2))
    pictures, pairs = lumas(launcher, rng, w, h)
    flow, small = small_flow(launcher, rng, (w, h))
    followed, alike = (launcher.memory(name, 4 * w * h) for name in ("followed", "alike"))
    steadying.likeness(launcher, *pairs, small, followed, alike, (w, h))
    for at, now, before in ((followed, 0, 2), (alike, 1, 3)):
        a, b = (pictures[k].astype(np.float64) for k in (now, before))
        found = launcher.fetched(at, (h, w), "float32")
        assert_allclose(found, oracle.likeness(a, b, flow.astype(float)), rtol=0, atol=1e-4)


def test_likeness_without_motion_is_the_cpus(launcher, rng):
    w, h = 41, 35
    pictures, pairs = lumas(launcher, rng, w, h)
    still = steps.SmallPicture(
        pointer=launcher.sent("flow", np.zeros(2, np.float32)), width=1, height=1
    )
    followed, alike = (launcher.memory(name, 4 * w * h) for name in ("followed", "alike"))
    steadying.likeness(launcher, *pairs, still, followed, alike, (w, h))
    for at, now, before in ((followed, 0, 2), (alike, 1, 3)):
        found = launcher.fetched(at, (h, w), "float32")
        theirs = metrics.similarity(pictures[now], pictures[before])
        assert_allclose(found, theirs, rtol=0, atol=2e-4)


def test_means(launcher, rng):
    w, h = (int(rng.integers(1, 60)) for _ in range(2))
    a, b, weight = rng.random((3, h, w), np.float32)
    weight *= rng.random((h, w)) < 0.5
    at = [launcher.sent(name, each) for name, each in (("a", a), ("b", b), ("w", weight))]
    found = steadying.means(launcher, *at, (w, h))
    wanted = [metrics.weighted_mean(each, weight) for each in (a, b)]
    assert_allclose(found, wanted, rtol=1e-5)
    at[2] = launcher.sent("w", np.zeros((h, w), np.float32))
    assert steadying.means(launcher, *at, (w, h)) == (0.0, 0.0)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_flow_amounts(launcher, rng, k):
    w, h = (k * int(rng.integers(1, 70 // k)) for _ in range(2))
    row = w + int(rng.integers(0, 9))
    before = rng.normal(0, 0.1, (h, w, 4)).astype(np.float32)
    change = rng.normal(0, 0.1, (h, row, 4)).astype(np.float32)
    flow, small = small_flow(launcher, rng, (w, h))
    pitch = pitch_of(w, 16)
    at = launcher.memory("before", pitch * (h - 1) + 16 * w)
    launcher.device.write(at, pitch, before.reshape(h, -1))
    texture = Texture(
        pointer=at, pitch=pitch, width=w, height=h, dtype="float32", channels=4, zero_beyond=True
    )
    out = launcher.memory("amounts", 4 * (w // k) * (h // k))
    cut = h * row - (row - w)
    sent = launcher.sent("change", change.reshape(-1, 4)[:cut])
    steadying.flow_amounts(launcher, texture, small, sent, row, k, out, (w, h))
    found = launcher.fetched(out, (h // k, w // k), "float32")
    wanted = oracle.flow_amounts(*(e.astype(float) for e in (before, flow, change[:, :w])), k)
    assert_allclose(found, wanted, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="divisor of 16"):
        steadying.flow_amounts(launcher, texture, small, sent, row, 3, out, (w, h))


FILTERS = [(True, False, False), (True, True, False), (False, True, False), (True, True, True)]


@pytest.mark.parametrize("switches", FILTERS)
@pytest.mark.parametrize("banded", [False, True])
def test_hold(launcher, rng, switches, banded):
    w, h = (int(rng.integers(3, 60)) for _ in range(2))
    followed, alike = rng.uniform(-0.2, 1, (2, h, w)).astype(np.float32)
    amounts = (rng.random((h, w), np.float32) ** 4 * 0.15).astype(np.float32)
    band = (rng.random((h, w)) < 0.3).astype(np.float32)
    names = ("followed", "alike", "amounts", "band")
    at = [
        launcher.sent(name, each)
        for name, each in zip(names, (followed, alike, amounts, band), strict=True)
    ]
    weight, edge = (launcher.memory(name, 4 * w * h) for name in ("weight", "edge"))
    shares = steadying.Shares(
        held=0.7,
        anomaly=0.9,
        alike=0.9,
        flow=switches[0],
        snap=switches[1],
        out_of_line=switches[2],
    )
    at[3] = at[3] if banded else 0
    steadying.hold(launcher, *at, shares, weight, edge, (w, h))
    doubles = [each.astype(np.float64) for each in (followed, alike, amounts)]
    wanted = oracle.hold(
        *doubles, band.astype(np.float64) if banded else None, (0.7, 0.9, 0.9), switches
    )
    for pointer, right in zip((weight, edge), wanted, strict=True):
        assert_allclose(launcher.fetched(pointer, (h, w), "float32"), right, rtol=0, atol=3e-5)


def test_agreement_is_the_cpus(launcher):
    """Where only the flow filter works and all is followed, what holds is `agreement`."""
    amounts = np.repeat(np.linspace(0, 0.2, 200, dtype=np.float32)[None], 9, 0)
    at = launcher.sent("amounts", amounts)
    ones = launcher.sent("ones", np.ones_like(amounts))
    weight, edge = (launcher.memory(name, amounts.nbytes) for name in ("weight", "edge"))
    shares = steadying.Shares(held=1, anomaly=1, alike=2, flow=True, snap=False, out_of_line=False)
    steadying.hold(launcher, ones, ones, at, 0, shares, weight, edge, (200, 9))
    off = cv2.blur(amounts, (5, 5))
    wanted = filters.trust(filters.agreement(off)) * filters.worth(off)
    found = launcher.fetched(weight, amounts.shape, "float32")
    assert_allclose(found, wanted, rtol=0, atol=3e-5)


@pytest.mark.parametrize("empty", [False, True])
def test_lift(launcher, rng, empty):
    size = int(rng.integers(5, 50))
    crop = rng.random((size, size, 4)).astype(np.float32)
    crop[..., 3] *= 0 if empty else rng.random((size, size)) < 3 / size**2
    original = rng.random((size, size, 3)).astype(np.float32)
    at = [launcher.sent(name, each) for name, each in (("crop", crop), ("original", original))]
    outs = [launcher.memory(name, crop.nbytes) for name in ("change", "settled")]
    box = steadying.lift(launcher, *at, *outs, size)
    rows, columns = (np.flatnonzero((crop[..., 3] > 0).any(axis)) for axis in (1, 0))
    wanted = (0, 0, 0, 0)
    if len(rows):
        wanted = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert box == wanted
    crop[..., :3] -= original
    for out in outs:
        assert np.array_equal(launcher.fetched(out, crop.shape, "float32"), crop)


def test_part_texture(launcher, rng):
    picture = rng.random((20, 31, 4)).astype(np.float32)
    pointer = launcher.sent("picture", picture)
    part = steadying.part_texture(launcher, pointer, 31, (5, 7), (26, 13))
    launcher.device.texture(part)
    found = np.empty((13, 26 * 4), np.float32)
    launcher.device.read(part.pointer, part.pitch, found)
    assert np.array_equal(found.reshape(13, 26, 4), picture[7:, 5:])
