"""One process of a row over a fake GPU: what a stage of a lane does there, without pictures.

Arguments: the GPU's folder, the row's name, this process's place in it and how many there are, how
many frames, and "hang" if it shall stop in the middle and wait to be killed, or "real" if it shall
use the first real GPU.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from actors.transport.chain import Chain
from actors.transport.cuda_ipc import Arenas
from tests.support.fake_gpu import FakeDriver
from tests.support.rings import GpuPlace, RealDriver

if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    position, processes, wanted = map(int, sys.argv[3:6])
    hangs = sys.argv[6:] == ["hang"]
    driver = RealDriver() if sys.argv[6:] == ["real"] else FakeDriver(folder)
    place = GpuPlace(folder)
    place.stream = driver.create_stream()
    place._arenas[position] = arenas = Arenas(driver, patience=60.0)
    with Chain(name, position, processes, patience=60.0, open_ring=arenas.open) as chain:
        ring = chain.open(lambda: place.ring(3, process=position))
        frames = (ring.acquire(n, n) for n in range(wanted)) if chain.first else chain.frames()
        for count, frame in enumerate(frames):
            if hangs and count == 5:
                print("hangs", flush=True)
                time.sleep(600)
            if chain.first:
                place.fill(frame, count)
            place.add(frame, 1)
            if chain.last:
                assert (place.samples(frame)[0] == count + processes).all()
                place.done(frame)
            chain.pass_on(frame)
        chain.end()
    arenas.close()
    print("done", flush=True)
