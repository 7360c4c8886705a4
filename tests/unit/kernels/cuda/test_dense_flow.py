"""Dense flow in device memory: against its definition, against known motion, against the CPU's."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kernels import reference_flow as oracle
from kernels.cuda import dense_flow
from kernels.cuda.dense_flow import CudaFlow, HostFlow
from kernels.cuda.device import DevicePlane
from kernels.cuda.launcher import Launcher
from kernels.dense_flow import DisFlow


@pytest.fixture
def launcher(cuda):
    return Launcher(cuda())


def textured(step=(0.0, 0.0), size=(160, 128), noise=1.5, seed=5):
    """A picture of `size` (width, height) whose content lies `step` further on."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.random((size[1] + 64, size[0] + 64)), (0, 0), 4)
    field = (field - field.min()) / np.ptp(field) * 120 + 60
    move = np.array([[1, 0, step[0]], [0, 1, step[1]]])
    moved = cv2.warpAffine(field, move, field.shape[::-1], flags=cv2.INTER_CUBIC)
    moved = moved[32:-32, 32:-32]
    grain = np.random.default_rng(int(abs(step[0]) * 100)).normal(0, noise, moved.shape)
    return np.clip(np.rint(moved + grain), 0, 255).astype(np.uint8)


def plane(launcher, name, picture, gap=0):
    height, width = picture.shape
    wide = np.zeros((height, width + gap), np.uint8)
    wide[:, :width] = picture
    pointer = launcher.sent(name, wide.ravel()[: wide.size - gap])
    return DevicePlane(
        pointer=pointer, pitch=width + gap, width=width, height=height, dtype="uint8"
    )


def found(launcher, small):
    return launcher.fetched(small.pointer, (small.height, small.width, 2), "float32")


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("size", [(33, 47), (64, 40), (97, 128)])
def test_flow_is_as_defined(launcher, small, size):
    now, before = textured(size=size), textured((1.7, -0.6), size)
    planes = plane(launcher, "now", now, 5), plane(launcher, "before", before, 9)
    flow = found(launcher, CudaFlow(launcher, small=small).flow(*planes))
    wanted = oracle.dense_flow(
        *(each.astype(np.float64) for each in (now, before)),
        *(1 if small else 2, dense_flow.ROUNDS, dense_flow.COARSEST, dense_flow.FIRM),
    )
    assert_allclose(flow, wanted, rtol=0, atol=2e-3)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("step", [(0.0, 0.0), (0.3, -0.4), (1.7, 0.6), (-5.0, 3.0), (9.0, -7.0)])
def test_a_pixel_is_found_where_it_was(step, small):
    """By the definition, which the kernels follow: as well as on a CPU."""
    now, before = textured(), textured(step)
    flow = oracle.dense_flow(
        *(each.astype(np.float64) for each in (now, before)),
        *(1 if small else 2, dense_flow.ROUNDS, dense_flow.COARSEST, dense_flow.FIRM),
    )
    error = oracle.scaled(flow, now.shape)[16:-16, 16:-16] - np.array(step)
    assert np.sqrt(np.square(error).sum(-1).mean()) < 0.2
    theirs = DisFlow(small=small).flow(now, before)[16:-16, 16:-16] - np.array(step)
    assert np.sqrt(np.square(theirs).sum(-1).mean()) < 0.2


def test_calls_before_do_not_change_a_byte(launcher):
    flow = CudaFlow(launcher)
    planes = plane(launcher, "now", textured()), plane(launcher, "before", textured((1.2, 0.8)))
    first = found(launcher, flow.flow(*planes))
    others = [plane(launcher, f"other {k}", textured((4.0, k), (64, 64))) for k in (0.0, 2.0)]
    flow.flow(*others)
    assert found(launcher, flow.flow(*planes)).tobytes() == first.tobytes()


def test_flow_by_the_host_is_the_hosts_and_counts_its_copies(launcher):
    now, before = textured(), textured((1.2, 0.8))
    flow = HostFlow(launcher, DisFlow())
    small = flow.flow(plane(launcher, "now", now, 3), plane(launcher, "before", before))
    assert np.array_equal(found(launcher, small), DisFlow().flow(now, before))
    assert flow.copied == 2 * now.size + 8 * now.size


def test_pictures_that_do_not_fit_are_refused(launcher):
    flow, whole = CudaFlow(launcher), plane(launcher, "now", textured())
    short = plane(launcher, "short", textured()[:100])
    with pytest.raises(ValueError, match="of a size"):
        flow.flow(whole, short)
    thin = plane(launcher, "thin", textured()[:31])
    with pytest.raises(ValueError, match="at least 32"):
        flow.flow(thin, thin)
    pairs = DevicePlane(
        pointer=whole.pointer, pitch=160, width=80, height=64, dtype="uint8", channels=2
    )
    with pytest.raises(ValueError, match="2 x uint8"):
        flow.flow(pairs, pairs)


def test_vectors_of_the_engine_and_moved_bytes(launcher):
    rng = np.random.default_rng(3)
    vectors = rng.integers(-(2**15), 2**15, (9, 20, 2), np.int16)
    out = launcher.memory("out", 8 * 9 * 17)
    at = launcher.sent("vectors", vectors.reshape(-1, 2)[:-3])
    launcher.run("short_flow", 17, 9, at, 20, 1 / 128, out, 17, 9)
    assert np.array_equal(
        launcher.fetched(out, (9, 17, 2), "float32"), vectors[:, :17].astype(np.float32) / 128
    )
    picture = rng.integers(0, 256, (9, 21), np.uint8)
    moved = launcher.sent("moved", np.full(12 * 40 - 8, 7, np.uint8))
    at = launcher.sent("picture", picture.ravel()[:-4])
    launcher.run("move_bytes", 32, 12, at, 21, 17, 9, moved, 40, 32, 12)
    found = np.full(12 * 40, 7, np.uint8)
    found[:-8] = launcher.fetched(moved, (12 * 40 - 8,), "uint8")
    wanted = np.pad(picture[:, :17], [(0, 3), (0, 15)], mode="edge")
    assert np.array_equal(found.reshape(12, 40)[:, :32], wanted)
    assert (found.reshape(12, 40)[:, 32:] == 7).all()
