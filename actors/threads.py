"""Threads that libraries start behind our back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import cv2
import numpy  # noqa: F401  (its BLAS must be loaded before it can be limited)
from threadpoolctl import threadpool_limits


def limit_threads(threads: int) -> None:
    """Called once by each process that hosts stages, before its first task.

    BLAS always gets one thread: unlike those of OpenCV and of the networks its results change with
    their number (a solved system in its last bits), and a frame must not depend on a machine's
    cores. Its matrices are small here; on a busy machine threads made them ten times slower.

    Args:
        threads: for OpenCV.
    """
    cv2.setNumThreads(threads)
    threadpool_limits(limits=1, user_api="blas")


@contextlib.contextmanager
def usual_scheduling() -> Iterator[None]:
    """Whatever happens in the block, this process's threads run as the calling one did before.

    SVT-AV1 gives itself the highest real-time priority where it may, as root in a container: the
    thread that opens it and all of its own then stop everything else on the machine while they
    work, other lanes and Ray's servers too, and the caller's thread for good.
    """
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                if os.sched_getscheduler(int(thread)) != policy:
                    os.sched_setscheduler(int(thread), policy, param)
