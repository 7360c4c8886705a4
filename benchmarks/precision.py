"""INT8 against FP32: CPU milliseconds of a network in one run, and how near the pictures are.

    python benchmarks/precision.py [--quick] [--json FILE] [--network NAME] [--threads N]

The network is a stand-in (benchmarks/standins.py), at its full cost or with --quick a twentieth.
It is quantised as `farm models quantize` does it, on faces of the sample clip, and held to the same
limits. Runs of the versions take turns, so that whatever else the machine does meets all of them
alike; the ratio of one round is one answer, and the median of the rounds is told.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import onnx

from actors.calibration import calibration_rows
from actors.fidelity import compare, demand
from actors.inference.onnx import Onnx
from actors.inference.openvino import OpenVino
from actors.inference.runtime import Runtime
from actors.models import ModelStore
from actors.quantizer import Row, quantize
from actors.swapper_specs import RECOGNISER, SWAPPERS
from actors.toolbox import LaneKit, Toolbox
from benchmarks.standin_graph import count_macs
from benchmarks.standins import standin_store
from farm.config import load_settings

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
"""What decides how fast INT8 is, as /proc/cpuinfo names it."""


def cpu_flags() -> list[str]:
    """Those of FLAGS that this CPU has."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    said = next((line for line in lines if line.startswith("flags")), "")
    return [flag for flag in FLAGS if flag in said.split()]


def milliseconds(network: Runtime, row: Row) -> float:
    inputs = [row[tensor.name] for tensor in network.inputs]
    began = time.process_time()
    network.run(*inputs)
    return (time.process_time() - began) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the network")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--network", default="hyperswap_1a_256", choices=SWAPPERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clip", type=Path, help="faces to calibrate with; default: the sample")
    arguments = parser.parse_args()
    name, rounds = arguments.network, 5 if arguments.quick else 9
    known = ModelStore(load_settings().cache_dir)
    clip = arguments.clip or known.path("wolfgang_langer")
    with tempfile.TemporaryDirectory() as scratch:
        size = "small" if arguments.quick else "full"
        converter = SWAPPERS[name].converter
        names = [name, RECOGNISER, *([converter] if converter else [])]
        store = standin_store(Path(scratch), names=names, size=size, beside=known)
        tools = Toolbox(LaneKit(cache_dir=store.cache))
        rows = calibration_rows(name, clip, store, tools, 20)
        path, quantised = store.path(name), Path(scratch, "int8.onnx")
        began = time.perf_counter()
        convolutions = quantize(path, rows[:16], quantised)
        seconds = time.perf_counter() - began
        versions: dict[str, Runtime] = {
            "onnxruntime fp32": Onnx.load(path, threads=arguments.threads),
            "openvino fp32": OpenVino.load(path, threads=arguments.threads),
            "onnxruntime int8": Onnx.load(quantised, threads=arguments.threads),
            "openvino int8": OpenVino.load(quantised, threads=arguments.threads),
        }
        signed = store.registry[name].range[0] < 0
        fidelity = compare(
            versions["onnxruntime fp32"], versions["openvino int8"], rows[16:], signed=signed
        )
        demand(fidelity, name)
        times: dict[str, list[float]] = {version: [] for version in versions}
        for turn in range(rounds + 1):
            for version, network in versions.items():
                taken = milliseconds(network, rows[turn % len(rows)])
                if turn:  # the first only warms up
                    times[version].append(taken)
        gmac = count_macs(onnx.load(path)) / 1e9
    best = {version: min(taken) for version, taken in times.items()}
    ratio = median(
        whole / small
        for whole, small in zip(times["onnxruntime fp32"], times["openvino int8"], strict=True)
    )
    print(f"{name}, a stand-in of {gmac:.2f} GMAC, {arguments.threads} thread(s), CPU ms a face")
    for version, taken in times.items():
        print(f"  {version:18} best {min(taken):8.1f}  median {median(taken):8.1f}")
    print(f"  {convolutions} convolutions quantised in {seconds:.0f} s; {fidelity}")
    print(f"  INT8 (OpenVINO) does {ratio:.2f} times what FP32 (ONNX Runtime) does")
    if arguments.json:
        facts = {
            "network": name,
            "standin": True,
            "gmac": round(gmac, 3),
            "threads": arguments.threads,
            "cpu": platform.processor() or platform.machine(),
            "cpu_flags": cpu_flags(),
            "cores": len(os.sched_getaffinity(0)),
            "best_ms": {version: round(ms, 2) for version, ms in best.items()},
            "median_ms": {version: round(median(taken), 2) for version, taken in times.items()},
            "int8_ratio": round(ratio, 3),
            "fidelity": asdict(fidelity),
        }
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
