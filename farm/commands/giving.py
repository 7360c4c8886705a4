"""How a command gives a job to the farm that is up."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final, Protocol

import typer

from farm.commands.service import farm_folder
from farm.config import Settings
from scheduler.jobs import JobSpec

DETACHED: Final = "On a farm that is up"

Priority = Annotated[
    int,
    typer.Option(
        "--priority",
        min=0,
        max=100,
        metavar="0..100",
        help="On a farm: jobs of a higher one go first.",
        rich_help_panel=DETACHED,
    ),
]


def give(
    context: typer.Context,
    settings: Settings,
    steps: Sequence[JobSpec],
    *,
    name: str = "",
    key: str = "",
    group: str = "",
    priority: int = 50,
) -> str:
    """Give a job to the farm; the name under which the farm knows it.

    Raises:
        NoFarm: none is up.
        SwapfarmError: what of the job it cannot take.
    """
    with giving(context, settings) as give_one:
        return give_one(steps, name=name, key=key, group=group, priority=priority)


class Give(Protocol):
    """As ``give``, to a farm that was found before."""

    def __call__(
        self,
        steps: Sequence[JobSpec],
        *,
        name: str = "",
        key: str = "",
        group: str = "",
        priority: int = 50,
    ) -> str: ...


@contextmanager
def giving(context: typer.Context, settings: Settings) -> Iterator[Give]:
    """Give one job after the other.

    Raises:
        NoFarm: none is up.
    """
    from cluster import farm_place
    from cluster.job_shelf import entry_of

    in_force: Settings = context.obj
    with farm_place.farm_of(farm_folder(in_force)) as farm:

        def give_one(
            steps: Sequence[JobSpec],
            *,
            name: str = "",
            key: str = "",
            group: str = "",
            priority: int = 50,
        ) -> str:
            entry = entry_of(
                [prepared(step, settings) for step in steps],
                user=getpass.getuser(),
                name=name,
                key=key,
                group=group,
                priority=priority,
            )
            given: str = farm.ask("submit", entry=entry)
            return given

        yield give_one


def prepared(step: JobSpec, settings: Settings) -> JobSpec:
    """A step of which nothing is left to choose.

    Raises:
        SettingInvalid: it asks for what does not go together.
    """
    from actors.models import ModelStore
    from cluster.preparation import settled

    return settled(step, ModelStore(settings.cache_dir))
