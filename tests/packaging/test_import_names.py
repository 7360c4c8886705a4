"""Five common words are ours alone: no other installed distribution may own them."""

from importlib.metadata import packages_distributions

import pytest

ROOMS = ("farm", "cluster", "actors", "scheduler", "kernels")


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_distribution_owns_the_name(room: str) -> None:
    owners = set(packages_distributions().get(room, ()))
    assert owners <= {"swapfarm"}, f"{room} also belongs to {owners - {'swapfarm'}}"
