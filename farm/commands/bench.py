"""``farm bench``: how well a farm would be used."""

from __future__ import annotations

import json
from typing import Annotated

import typer

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
    from farm.simulating import lines, measure

    result = measure(nodes, jobs, seed)
    print(json.dumps(result) if as_json else "\n".join(lines(result)))
