"""``farm bench``: how well a farm would be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from farm.config import Settings
from scheduler.errors import SettingInvalid

app = typer.Typer(help="Measure the farm.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure the farm."""


@app.command()
def simulate(
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=10_000, metavar="N")] = 1000,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=10_000, metavar="N")] = 200,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed gives the same history.")
    ] = 0,
    times: Annotated[
        Path | None,
        typer.Option(
            "--times",
            metavar="FILE",
            show_default=False,
            help="How long chunks take: a report of benchmarks/chunk_times.py on your films."
            " [our own, measured]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Work off a queue of films on virtual nodes with the real ledger.

    Films of 10 s to 2 h, heavy-tailed chunk times, 1 % of the nodes failing an hour; nothing is
    rendered. `efficiency`: lane seconds of attempts that counted over those of all lanes, while
    there was a queue; `decisions_per_s`: tasks given out a CPU second of the ledger;
    `wasted_fraction`: of the work, done for nothing. 1,000 nodes under 200 films take minutes.

    - `farm bench simulate --nodes 50 --jobs 20`
    - `farm bench simulate --nodes 1000 --jobs 200 --json | jq .efficiency`
    """
    from farm.simulating import lines, measure, read_times
    from scheduler.chunk_times import MEASURED

    result = measure(nodes, jobs, seed, read_times(times) if times else MEASURED)
    print(json.dumps(result) if as_json else "\n".join(lines(result)))


@app.command()
def scaling(
    context: typer.Context,
    nodes: Annotated[
        str, typer.Option("--nodes", metavar="N,N,...", help="Numbers of nodes to compare.")
    ] = "1,2,4,8",
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=100, metavar="N", help="Films for each number.")
    ] = 3,
    chunks: Annotated[
        int,
        typer.Option("--chunks", min=1, max=10_000, metavar="N", help="Chunks of the film a node."),
    ] = 40,
    wait: Annotated[
        int,
        typer.Option(
            "--wait",
            min=0,
            max=60_000,
            metavar="MS",
            help="How long the stand-in waits for each face. A chunk has 12 of them.",
        ),
    ] = 200,
    film: Annotated[
        Path | None,
        typer.Option(
            "--film",
            metavar="FILM",
            show_default=False,
            help="Instead of a small one that is made of a sample.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            "-s",
            metavar="FACE",
            show_default=False,
            help="Measure real swapping: put on this face, instead of the stand-in.",
        ),
    ] = None,
    swap: Annotated[
        str | None,
        typer.Option(
            "--swap",
            metavar="SWAPPER",
            show_default=False,
            help="Which swapper, as of `farm submit --swapper`. [mesh]",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            show_default=False,
            help="A Ray cluster with at least as many nodes. [nodes emulated on this machine]",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FOLDER", help="For scaling.csv, .json and .png."),
    ] = Path("scaling"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A few chunks on 1 and 2 nodes, once: does it work?")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """How much faster is a film on more nodes, and where does the rest go?

    Each number of nodes gets a film with as many chunks a node. Without `--address` nodes are
    emulated on this machine, and without `--source` a stand-in waits instead of swapping, as a core
    waits for a GPU: so two cores carry eight lanes. It names itself in all that comes out of it.
    Lanes are up and the film is analysed before the clock starts. Columns: `chunk`: seconds of a
    lane for one; `idle`: lanes without a chunk while others render; `sched.`: from a chunk to the
    next on a lane, over a chunk's time; `halo`: warm-up frames; `film`: probe, stitch, join and
    publish; `start`: until all lanes were up.

    - `farm bench scaling`: 8 nodes, three films each, about 20 minutes
    - `farm bench scaling --nodes 1,2 --chunks 10 --repeats 2`
    - `farm bench scaling --address 10.0.0.1:6379 --nodes 1,4,16 --film film.mp4 -s face.jpg
      --swap inswapper_128`

    What the figures mean, and some of ours: docs/scaling.md.
    """
    from farm.scaling import ScalingPlan, measure, parse_nodes
    from farm.scaling_figures import lines, result_of, write_files
    from farm.scaling_progress import Progress

    settings: Settings = context.obj
    if swap is not None:
        if source is None:
            raise SettingInvalid("--swap without --source", "a face to put on", "add --source FACE")
        swapper = settings.face_swapper.model_copy(update={"model": swap})
        settings = settings.model_copy(update={"face_swapper": swapper})
    for path in (film, source):
        if path is not None and not path.exists():
            raise SettingInvalid(f"no file {str(path)!r}", "one that is there", "correct its name")
    plan = ScalingPlan(
        nodes=(1, 2) if quick else parse_nodes(nodes),
        repeats=1 if quick else repeats,
        chunks=4 if quick else chunks,
        wait_ms=wait,
        film=film,
        source=source,
        address=address,
    )
    with Progress(sys.stderr) as progress:
        rows, about = measure(plan, settings, progress.tell)
    files = write_files(out, rows, about)
    if as_json:
        print(json.dumps(result_of(rows, about)))
        return
    print("\n".join(lines(rows, about)))
    print("wrote " + ", ".join(map(str, files)))
