"""Which node gets how many lanes, and how much each of them has."""

from __future__ import annotations

from collections import Counter

import pytest

from cluster.layout import NodeRoom, Share, deal


def node(name: str, cpus: float, gpus: float = 0.0) -> NodeRoom:
    return NodeRoom(name=name, cpus=cpus, gpus=gpus)


def counts(*shares: Share) -> dict[str, int]:
    return dict(Counter(share.node for share in shares))


def test_one_lane_for_each_gpu_and_for_each_core_where_there_is_none() -> None:
    shares = deal([node("gpu", 16, 2), node("cpu", 3), node("head", 0)])
    assert counts(*shares) == {"gpu": 2, "cpu": 3}
    assert [share for share in shares if share.node == "gpu"] == [
        Share(node="gpu", cpus=1.0, gpus=1.0)
    ] * 2
    assert {share.cpus for share in shares if share.node == "cpu"} == {1.0}


def test_a_lane_with_a_gpu_takes_a_core_for_each_of_its_processes() -> None:
    (lane,) = deal([node("gpu", 16, 1)], processes=4)
    assert lane.cpus == 4.0
    (lane,) = deal([node("gpu", 2, 1)], processes=4)
    assert lane.cpus == 2.0


@pytest.mark.parametrize(
    ("gpus", "lanes", "each"),
    [
        (0.5, 0, [0.5]),
        (2.5, 0, [1.0, 1.0, 0.5]),
        (1, 3, [0.3333] * 3),
        (2, 3, [0.5] * 3),
        (2, 1, [1.0]),
    ],
)
def test_parts_of_gpus(gpus: float, lanes: int, each: list[float]) -> None:
    shares = deal([node("gpu", 8, gpus)], lanes)
    assert [share.gpus for share in shares] == each
    assert sum(each) <= gpus


def test_fewer_lanes_than_nodes_bear_are_spread() -> None:
    nodes = [node("a", 4), node("b", 4), node("c", 2)]
    assert counts(*deal(nodes, 2)) == {"a": 1, "b": 1}
    assert counts(*deal(nodes, 5)) == {"a": 2, "b": 2, "c": 1}
    eight = [node(str(n), 1, 1) for n in range(8)]
    assert counts(*deal(eight, 8)) == {str(n): 1 for n in range(8)}


def test_more_lanes_than_nodes_bear_share_their_cores() -> None:
    shares = deal([node("a", 2), node("b", 1)], 6)
    assert counts(*shares) == {"a": 4, "b": 2}
    assert {share.cpus for share in shares} == {0.5}
    assert deal([node("a", 1)], 3)[0].cpus == 0.3333, "all of them must fit"


def test_no_node_no_lane() -> None:
    assert deal([], 3) == deal([node("head", 0)], 3) == deal([]) == ()
