"""ONNX Runtime, told not to report home. Nobody else imports it.

From 1.29 on its Linux wheels send events to their maker from the moment the library is loaded,
and leave a file with the machine's number in the temporary folder. What faces a studio works on is
nobody else's business, and farms often have no way out to the internet.
"""

from __future__ import annotations

import os

# The library reads it once, when it is loaded: a call to disable_telemetry_events comes too late.
os.putenv("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
