"""Threads that libraries start behind our back."""

from __future__ import annotations

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
