"""The real ledger under virtual nodes: how well a farm is used, and how fast the ledger decides.

    python benchmarks/simulate.py [--nodes 1000] [--jobs 200] [--seed 0] [--times FILE] [--quick]
                                  [--json FILE]

A queue of films of 10 s to 2 h is worked off on a virtual clock, with heavy-tailed chunk times
(measured ones; with ``--times`` those of a report of benchmarks/chunk_times.py) and 1 % of the
nodes failing an hour. ``efficiency`` is the lane seconds of the attempts that counted over the
lane seconds of all lanes that were up, while there was a queue: from the first submission to the
last moment at which a chunk waited for a lane. ``efficiency_to_the_end`` goes on to the end of the
last job; in that run-out the slowest chunks decide alone. ``decisions_per_s`` counts the tasks that
the ledger gave out over the CPU seconds it spent on all its events.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from farm.simulating import lines, measure, read_times
from scheduler.chunk_times import MEASURED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=Path, help="of chunks; default: those that were measured")
    parser.add_argument("--quick", action="store_true", help="50 nodes under 20 films")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    nodes, jobs = (50, 20) if args.quick else (args.nodes, args.jobs)
    times = read_times(args.times) if args.times else MEASURED
    result = measure(nodes, jobs, args.seed, times)
    print("\n".join(lines(result)))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
