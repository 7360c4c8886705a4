"""One process of a lane whose frames stay on a played GPU, as a program of its own.

Arguments: a pickled (task, kit, processes, process, name, folder of the GPU, program of the
kernels), and where the pickled report goes. Says each frame that it is done with.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from actors.pipeline import StageRun
from tests.integration.played_lane import played_tools
from tests.support.played_gpu import PlayedGpu

if __name__ == "__main__":
    task, kit, processes, process, name, folder, program = pickle.loads(
        Path(sys.argv[1]).read_bytes()
    )
    played = PlayedGpu(folder, program)
    tools = played_tools(kit, played)
    run = StageRun(task, tools, processes, process, name)
    for number, _ in enumerate(run.steps()):
        print("frame", number, flush=True)
    Path(sys.argv[2]).write_bytes(pickle.dumps(run.report()))
    tools.close()
    played.close()
