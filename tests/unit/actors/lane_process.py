"""One process of a lane as a program of its own: what a Ray shell does, without Ray.

Arguments: a pickled (task, kit, processes, process, name), and where the pickled report goes.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from actors.pipeline import StageRun
from actors.toolbox import Toolbox

if __name__ == "__main__":
    task, kit, processes, process, name = pickle.loads(Path(sys.argv[1]).read_bytes())
    report = StageRun(task, Toolbox(kit), processes, process, name).run()
    Path(sys.argv[2]).write_bytes(pickle.dumps(report))
