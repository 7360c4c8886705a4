"""Stand-ins: networks with the signatures of the models that users bring, and random weights.

    python benchmarks/standins.py --cache FOLDER [--size full|small|tiny] [NAME]...

writes the ONNX files into a cache folder of the program, with a local registry that names them;
``SWAPFARM_CACHE_DIR=FOLDER farm ...`` then works with them. They cost what the true ones cost
("full"), a twentieth ("small") or next to nothing ("tiny"), but they know no faces: detectors
follow painted markers and skin, swappers tint. Each says in its metadata what it is.
"""

from __future__ import annotations

import argparse
import hashlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from actors.models import LOCAL, ModelStore
from actors.registry import Registry
from benchmarks.standin_faces import (
    arcface,
    fairface,
    fan,
    fan_68_5,
    peppa_wutz,
    scrfd,
    yolo,
    yunet,
)
from benchmarks.standin_graph import Graph, count_macs
from benchmarks.standin_parts import HALF, IMAGENET_MEAN, IMAGENET_STD, Effort
from benchmarks.standin_pictures import bisenet, converter, enhancer, swapper, xseg

SIZES: Final = ("full", "small", "tiny")
SMALLER: Final = 20
TINY: Final = 12_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a stand-in is built and what it costs."""

    build: Callable[[Graph, Effort], None]
    gmac: float
    """Of the full size; 0: what its few layers cost."""
    batch: str | int = "batch"
    """1: the true one's file fixes it, and the outputs have no batch dimension."""

    def macs(self, size: str) -> int:
        """Multiply-accumulates that a size should cost."""
        full = int(self.gmac * 1e9)
        return {"full": full, "small": full // SMALLER, "tiny": min(TINY, full)}[size]


PLANS: Final = {
    "retinaface_10g": Plan(build=scrfd, gmac=9.6, batch=1),
    "scrfd_2.5g": Plan(build=scrfd, gmac=2.5, batch=1),
    "yoloface_8n": Plan(build=yolo, gmac=4.1, batch=1),
    "yunet_2023_mar": Plan(build=yunet, gmac=0.5, batch=1),
    "2dfan4": Plan(build=fan, gmac=25.2),
    "peppa_wutz": Plan(build=peppa_wutz, gmac=0.6),
    "fan_68_5": Plan(build=fan_68_5, gmac=0),
    "arcface_w600k_r50": Plan(build=arcface, gmac=6.3),
    "fairface": Plan(build=fairface, gmac=3.7),
    **{
        f"hyperswap_1{letter}_256": Plan(
            build=swapper(256, mean=HALF, std=HALF, signed=True, mask=True), gmac=69
        )
        for letter in "abc"
    },
    "inswapper_128": Plan(build=swapper(128, last=np.float32), gmac=23),
    "inswapper_128_fp16": Plan(build=swapper(128, last=np.float16), gmac=23),
    "simswap_256": Plan(build=swapper(256, mean=IMAGENET_MEAN, std=IMAGENET_STD), gmac=55),
    "simswap_unofficial_512": Plan(build=swapper(512), gmac=75),
    **{
        f"ghost_{number}_256": Plan(
            build=swapper(256, mean=HALF, std=HALF, signed=True, length=20.0), gmac=45
        )
        for number in (1, 2, 3)
    },
    "hififace_unofficial_256": Plan(build=swapper(256, mean=HALF, std=HALF, signed=True), gmac=50),
    "blendswap_256": Plan(build=swapper(256, source="112"), gmac=40),
    "uniface_256": Plan(
        build=swapper(256, mean=HALF, std=HALF, signed=True, source="256"), gmac=50
    ),
    "crossface_simswap": Plan(build=converter, gmac=0),
    "crossface_ghost": Plan(build=converter, gmac=0),
    "crossface_hififace": Plan(build=converter, gmac=0),
    **{f"gfpgan_1.{number}": Plan(build=enhancer(512), gmac=60) for number in (2, 3, 4)},
    "codeformer": Plan(build=enhancer(512, weighted=True), gmac=80),
    "restoreformer_plus_plus": Plan(build=enhancer(512), gmac=80),
    **{
        f"gpen_bfr_{size}": Plan(build=enhancer(size), gmac=gmac)
        for size, gmac in ((256, 15), (512, 35), (1024, 60), (2048, 90))
    },
    **{f"xseg_{number}": Plan(build=xseg, gmac=10.9) for number in (1, 2, 3)},
    "bisenet_resnet_18": Plan(build=bisenet, gmac=14.6),
    "bisenet_resnet_34": Plan(build=bisenet, gmac=19.5),
}
"""Every network of the registry that is in ONNX format. Where a true cost is not published it is
assumed (swappers but inswapper, enhancers, yunet, peppa_wutz)."""


def build(name: str, size: str = "tiny") -> onnx.ModelProto:
    """The stand-in of a model: the same bytes for the same arguments."""
    plan, target = PLANS[name], PLANS[name].macs(size)
    seed = zlib.crc32(f"{name}/{size}".encode())
    spend = 0
    while True:
        graph = Graph(name, seed, plan.batch)
        plan.build(graph, Effort(target=target, spend=spend))
        model = graph.model(f"stand-in for {name}, {size}: random weights, knows no faces")
        if spend or not target:
            return model
        # What the rest costs is known from a network without a body.
        spend = max(1, target - count_macs(model))


def standin_store(
    cache: Path,
    *,
    size: str = "tiny",
    names: Iterable[str] = (),
    beside: ModelStore | None = None,
) -> ModelStore:
    """A store whose ONNX models are stand-ins; any process that opens ``cache`` finds them.

    Args:
        cache: the program's cache folder; files go to ``cache/models`` beside a ``local.toml``
            that lays these models over the program's registry.
        size: "full", "small" or "tiny" (milliseconds; for tests).
        names: of ``PLANS``; default all. 40 tiny ones take a few seconds.
        beside: another store, whose files of other models are linked, so that jobs which also
            need the embedded ones find them.
    """
    folder = cache / "models"
    folder.mkdir(parents=True, exist_ok=True)
    own, entries = Registry.load(), {}
    for name in names or PLANS:
        content = build(name, size).SerializeToString(deterministic=True)
        digest = hashlib.sha256(content).hexdigest()
        entries[name] = replace(
            own[name],
            about=f"stand-in ({size}) for {name}: random weights, knows no faces",
            source=f"file:{folder / name}.onnx",
            sha256=digest,
            bytes=len(content),
            licence="stand-in",
            use="unknown",
            credit="benchmarks/standins.py",
            standin=True,
        )
        (folder / entries[name].filename).write_bytes(content)
    (folder / LOCAL).write_text(Registry(entries).text(), encoding="utf-8")
    if beside is not None:
        for path in (beside.cache / "models").iterdir():
            if path.suffix in (".tflite", ".dat") and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path.resolve())
    return ModelStore(cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; default all")
    parser.add_argument("--cache", type=Path, required=True, help="a cache folder of its own")
    parser.add_argument("--size", choices=SIZES, default="full")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in PLANS]
    if unknown:
        parser.error(f"no stand-in for {', '.join(unknown)}; there are {', '.join(PLANS)}")
    store = standin_store(arguments.cache.absolute(), size=arguments.size, names=arguments.names)
    for name in arguments.names or PLANS:
        path = store.path(name)
        macs = count_macs(onnx.load(path))
        print(f"{name:26} {macs / 1e9:8.3f} GMAC {path.stat().st_size / 1e6:8.1f} MB  {path.name}")


if __name__ == "__main__":
    main()
