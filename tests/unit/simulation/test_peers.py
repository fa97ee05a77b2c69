"""Published rules of other autoscalers, on observations made by hand."""

from __future__ import annotations

import itertools

import pytest

from controller.errors import BadInputError
from controller.simulation.observation import Observation
from controller.simulation.peers.catalogue import EVERY_PEER, parse_peers
from controller.simulation.peers.hpa import Hpa
from controller.simulation.peers.keda import keda
from controller.simulation.peers.kpa import Kpa
from controller.simulation.peers.ray_serve import RayServe, rays_own


def seen(at: float, in_flight: float, replicas: int, *, waiting: int = 0, seconds: float | None = None) -> Observation:
    return Observation(
        at=at,
        target=replicas,
        arrived=0,
        served=0,
        unserved=0,
        in_flight=int(in_flight),
        at_the_door=0,
        waiting=waiting,
        in_flight_seconds=in_flight * at if seconds is None else seconds,
        waiting_seconds=0.0,
        ready=replicas,
        starting=0,
        stopping=0,
    )


def follow(policy, levels: list[tuple[float, float]], *, start: int = 4) -> list[tuple[float, int]]:
    """Drive a policy with (until, requests in flight), its orders met at once. Returns each change."""
    at, replicas, seconds, changes = 0.0, start, 0.0, []
    for until, in_flight in levels:
        while at < until:
            target = policy.target(seen(at, in_flight, replicas, seconds=seconds), at)
            if target != replicas:
                changes.append((at, target))
                replicas = target
            seconds += in_flight * policy.interval_s
            at += policy.interval_s
    return changes


def test_ray_serve_waits_its_delays_before_it_follows():
    changes = follow(RayServe(2), [(120, 8), (400, 20), (1400, 4)])
    (up_at, up), (down_at, down) = changes[0], changes[-1]
    assert up > 4
    assert changes[-2][1] == 10
    assert 120 + 30 <= up_at <= 120 + 45
    assert (down, 400 + 600 <= down_at <= 400 + 645) == (2, True)


@pytest.mark.skipif(rays_own(2.0) is None, reason="Ray is not installed")
@pytest.mark.parametrize("levels", [[(300, 8), (600, 21), (1500, 3), (1600, 40)], [(200, 0), (900, 1), (2000, 9)]])
def test_the_rules_written_down_here_are_those_of_ray(levels):
    own, same = RayServe(2), RayServe(2, use_ray=False)
    assert (own.uses_ray, same.uses_ray) == (True, False)
    assert follow(own, levels) == follow(same, levels)


def test_hpa_ignores_what_is_within_its_tolerance():
    assert follow(Hpa(10), [(300, 43), (600, 37)]) == []


def test_hpa_adds_twice_as_many_at_most_and_gives_up_after_its_stabilisation():
    changes = follow(Hpa(10), [(60, 40), (120, 400), (600, 60)])
    assert [target for _, target in changes] == [8, 16, 32, 40, 6]
    assert changes[-1][0] - changes[-2][0] >= 300


def test_keda_sees_only_what_waits():
    policy = keda(5)
    assert policy.target(seen(0.0, 500, 4), 0.0) == 4
    assert policy.target(seen(15.0, 500, 4, waiting=31), 15.0) == 7
    assert policy.target(seen(315.1, 500, 7), 315.1) == 0


def test_kpa_panics_on_a_jump_and_does_not_step_down_meanwhile():
    policy = Kpa(10)
    changes = follow(policy, [(400, 40), (460, 160), (520, 10)])
    assert changes
    assert all(later >= earlier for (_, earlier), (_, later) in itertools.pairwise(changes))
    assert changes[-1][1] >= 10


def test_every_peer_is_known_by_name():
    names = [peer.policy(7).name for peer in parse_peers(EVERY_PEER)]
    assert names == ["ray-serve-2", "ray-serve-12", "hpa-12", "hpa-20", "kpa-28", "keda-waiting-5", "static-7"]


@pytest.mark.parametrize("text", ["nobody", "hpa:x", "hpa:-1", "ray-serve:0", "static:3", "hpa:inf"])
def test_an_unknown_peer_is_refused_by_name(text):
    with pytest.raises(BadInputError, match=f"{text}.*choose from"):
        parse_peers(text)
