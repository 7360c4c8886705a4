from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scheduler.identities import SPACES, TrackLooks, find_identities, letters


def seen(track: int, at: float, frames: int = 50, quality: float = 0.8) -> TrackLooks:
    """A track whose looks lie at a place on a line."""
    embedding = np.zeros(128)
    embedding[0] = at
    return TrackLooks(
        track=track, frames=frames, first=10 * track, quality=quality, embedding=embedding
    )


def tracks_of(*tracks: TrackLooks, together: list[tuple[int, int]] | None = None) -> list[str]:
    return [
        f"{i.letter}:{','.join(map(str, i.tracks))}"
        for i in find_identities(tracks, dict.fromkeys(together or [], 3))
    ]


@pytest.mark.parametrize(
    ("number", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")]
)
def test_letters(number: int, name: str) -> None:
    assert letters(number) == name


def test_the_same_person_before_and_after_a_cut() -> None:
    assert tracks_of(seen(0, 0.0), seen(1, 1.0), seen(2, 0.1), seen(3, 1.2, 80)) == [
        "A:1,3",
        "B:0,2",
    ]


def test_a_group_is_as_near_as_its_members_on_average() -> None:
    # A chain of small steps is not one person: 0.0 and 0.9 are far apart.
    chain = [seen(n, at) for n, at in enumerate((0.0, 0.3, 0.6, 0.9))]
    assert tracks_of(*chain) == ["A:0,1", "B:2,3"]


def test_two_in_one_frame_are_two_people_however_alike() -> None:
    twins = (seen(0, 0.0), seen(1, 0.01), seen(2, 0.02))
    assert tracks_of(*twins) == ["A:0,1,2"]
    assert tracks_of(*twins, together=[(0, 1)]) == ["A:1,2", "B:0"]
    assert tracks_of(*twins, together=[(0, 1), (1, 2), (0, 2)]) == ["A:0", "B:1", "C:2"]


def test_a_bad_picture_joins_but_makes_nobody() -> None:
    bad = seen(2, 0.55, quality=0.05)
    lost = seen(3, 5.0, quality=0.05)
    none = TrackLooks(track=4, frames=5, first=0, quality=0.0, embedding=None)
    found = find_identities([seen(0, 0.0), seen(1, 2.0), bad, lost, none], {})
    assert [i.tracks for i in found] == [(0, 2), (1,)]
    assert found[0].embedding[0] == 0.0, "it does not blur what is known of the person"
    assert found[0].frames == 100
    assert tracks_of(seen(0, 0.0), bad, together=[(0, 2)]) == ["A:0"]
    once = find_identities([seen(0, 0.0), seen(1, 0.1), bad], {(0, 1): 1, (0, 2): 1})
    assert [i.tracks for i in once] == [(0, 1)], "a face found twice once is one person"


def test_nobody() -> None:
    assert find_identities([], {}) == ()


def test_as_slow_but_plain_clustering() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(0, 0.09, (60, 128)) + rng.normal(0, 0.05, (6, 128)).repeat(10, axis=0)
    tracks = [
        TrackLooks(track=n, frames=60 - n, first=n, quality=0.9, embedding=p)
        for n, p in enumerate(points)
    ]
    apart = [(0, 1), (10, 25), (33, 34)]
    threshold = 1.3
    groups = [[n] for n in range(60)]
    while True:
        best = (threshold, -1, -1)
        for a in range(len(groups)):
            for b in range(a):
                pairs = [(x, y) for x in groups[a] for y in groups[b]]
                if any(p in apart or p[::-1] in apart for p in pairs):
                    continue
                far = float(np.mean([np.linalg.norm(points[x] - points[y]) for x, y in pairs]))
                best = min(best, (far, a, b))
        if best[1] < 0:
            break
        groups[best[2]] += groups.pop(best[1])
    space = replace(SPACES["dlib"], cluster=threshold)
    found = find_identities(tracks, dict.fromkeys(apart, 3), space)
    assert len(groups) > 3
    assert sorted(i.tracks for i in found) == sorted(tuple(sorted(g)) for g in groups)


def test_of_unit_vectors_only_the_direction_counts() -> None:
    def at(degrees: float) -> list[float]:
        return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]

    space = SPACES["arcface"]
    assert space.mean(np.array([at(20), at(40)])) == pytest.approx(at(30))
    assert np.linalg.norm(SPACES["dlib"].mean(np.array([at(20), at(80)]))) < 0.9
    # Strangers are at right angles, 1.41 apart; the mean of one's pictures stays as far.
    mean = space.mean(np.array([at(-30), at(30)]))
    assert np.linalg.norm(mean - at(90)) == pytest.approx(np.sqrt(2))
    looks = [
        TrackLooks(track=n, frames=9, first=n, quality=0.9, embedding=np.array(at(angle)))
        for n, angle in enumerate((0, 40, 140, 100))
    ]
    assert [i.tracks for i in find_identities(looks, {}, space)] == [(0, 1), (2, 3)]


def test_what_facefusion_calls_a_distance() -> None:
    """Half of 1 - cosine."""
    for degrees in (10, 60, 90):
        one, other = np.array([1.0, 0.0]), np.array([np.cos(np.radians(degrees)), 0.0])
        other[1] = np.sin(np.radians(degrees))
        share = (1 - one @ other) / 2
        assert SPACES["arcface"].euclidean(share) == pytest.approx(np.linalg.norm(one - other))
    assert SPACES["arcface"].euclidean(0.3) == pytest.approx(SPACES["arcface"].same, abs=1e-3)
    assert SPACES["dlib"].euclidean(0.3) == pytest.approx(SPACES["dlib"].same)
