from __future__ import annotations

import pytest

from scheduler.admission import Demand, Room, admit, admit_on_gpus
from scheduler.errors import DoesNotFit

GB = 2**30
SMALL = Room(node="small", shm=GB, shm_free=GB)
LARGE = Room(node="large", shm=4 * GB, shm_free=4 * GB, gpu_memory=24 * GB, gpu_memory_free=24 * GB)


def test_what_fits_is_admitted() -> None:
    demand = Demand(disk=10 * GB, shm=GB, gpu_memory=8 * GB)
    admission = admit(
        demand, disk=100 * GB, disk_free=50 * GB, reserved=40 * GB, nodes=[SMALL, LARGE]
    )
    assert admission.admitted
    assert admit(demand, disk=100 * GB, disk_free=50 * GB, reserved=0, nodes=[]).admitted


def test_what_others_leave_no_room_for_waits_and_says_why() -> None:
    demand = Demand(disk=10 * GB, shm=GB)
    admission = admit(demand, disk=100 * GB, disk_free=50 * GB, reserved=41 * GB, nodes=[SMALL])
    assert not admission.admitted
    assert admission.reason == "needs 10.0 GiB of disk, 9.0 GiB are left beside the others"
    busy = Room(node="busy", shm=GB, shm_free=0)
    admission = admit(demand, disk=100 * GB, disk_free=50 * GB, reserved=0, nodes=[busy])
    assert admission.reason == "no node has the memory of one lane free"


def test_memory_on_different_nodes_does_not_add_up() -> None:
    demand = Demand(disk=0, shm=2 * GB, gpu_memory=8 * GB)
    gpu = Room(node="gpu", shm=GB, shm_free=GB, gpu_memory=24 * GB, gpu_memory_free=24 * GB)
    cpu = Room(node="cpu", shm=9 * GB, shm_free=9 * GB)
    with pytest.raises(DoesNotFit, match="largest node"):
        admit(demand, disk=GB, disk_free=GB, reserved=0, nodes=[gpu, cpu])


@pytest.mark.parametrize(
    ("demand", "found"),
    [
        (Demand(disk=101 * GB, shm=GB), "101.0 GiB of disk where 100.0 GiB"),
        (Demand(disk=0, shm=5 * GB), "5.0 GiB of shared memory"),
        (Demand(disk=0, shm=GB, gpu_memory=25 * GB), "25.0 GiB of GPU memory"),
    ],
)
def test_what_can_never_fit_is_refused_at_once(demand: Demand, found: str) -> None:
    with pytest.raises(DoesNotFit, match=found):
        admit(demand, disk=100 * GB, disk_free=0, reserved=0, nodes=[SMALL, LARGE])


def test_a_job_for_gpus_waits_for_a_lane_that_has_enough() -> None:
    assert admit_on_gpus(8 * GB, {"a": 0, "b": 8 * GB}).admitted
    answer = admit_on_gpus(9 * GB, {"a": 0, "b": 8 * GB})
    assert (answer.admitted, answer.lacks) == (False, "memory")
    assert answer.reason == (
        "needs 9.0 GiB of GPU memory for a lane; the most that one has is 8.0 GiB (on b)"
    )
