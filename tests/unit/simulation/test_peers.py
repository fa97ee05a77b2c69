"""Published rules of other autoscalers, on observations made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadInputError
from controller.simulation.driver import run_policy
from controller.simulation.observation import Observation, ReplicaLoad
from controller.simulation.outcome import Objectives
from controller.simulation.peers.catalogue import EVERY_PEER, parse_peers
from controller.simulation.peers.hpa import Hpa
from controller.simulation.peers.keda import keda
from controller.simulation.peers.kpa import AIBRIX, KNATIVE, Kpa
from controller.simulation.peers.ray_serve import RayServe, Report, mean_of_the_sum, rays_own
from tests.simulated import cluster_of, steady

needs_ray = pytest.mark.skipif(rays_own(2.0) is None, reason="Ray is not installed")


def load(replica: int, in_flight: int = 0, **more: int) -> ReplicaLoad:
    values = dict.fromkeys(ReplicaLoad._fields, 0) | {"replica": replica, "in_flight": in_flight} | more
    return ReplicaLoad(**values)


def _shares(in_flight: int, ready: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(in_flight), ready)] if ready else []


def seen(at: float, in_flight: float, target: int, *, ready: int | None = None, **more: object) -> Observation:
    ready = target if ready is None else ready
    values: dict[str, object] = {
        "at": at,
        "target": target,
        "arrived": 0,
        "served": 0,
        "unserved": 0,
        "in_flight": int(in_flight),
        "at_the_door": 0,
        "waiting": 0,
        "in_flight_seconds": in_flight * at,
        "waiting_seconds": 0.0,
        "ready": ready,
        "starting": target - ready,
        "stopping": 0,
        "replicas": tuple(load(n, share) for n, share in enumerate(_shares(int(in_flight), ready))),
    }
    return Observation(**(values | more))


def follow(policy, levels: list[tuple[float, float]], *, start: int = 4) -> list[tuple[float, int]]:
    """Drive a policy with (until, requests in flight), its orders met at once. Returns each change."""
    at, replicas, seconds, changes = 0.0, start, 0.0, []
    for until, in_flight in levels:
        while at < until:
            target = policy.target(seen(at, in_flight, replicas, in_flight_seconds=seconds), at)
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


def test_ray_serve_averages_the_sum_from_when_every_series_has_begun():
    """The example in Ray's own documentation of ``get_total_num_requests``."""
    report = Report(
        times=np.array([0.2, 0.8, 1.5, 0.1, 0.9, 1.4, 0.3, 1.0]),
        values=np.array([5.0, 7.0, 6.0, 3.0, 4.0, 8.0, 2.0, 3.0]),
        offsets=np.array([0, 3, 6, 8]),
    )
    assert mean_of_the_sum(report, 2.0) == pytest.approx(23.4 / 1.7)


@needs_ray
@given(
    st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=16), min_size=1, max_size=6),
    st.floats(0.0, 12.0, allow_nan=False),
)
def test_the_average_written_down_here_is_that_of_ray(series, later):
    times = [np.arange(len(values)) * 2.0 + (32.0 - 2.0 * len(values)) for values in series]
    report = Report(
        times=np.concatenate(times),
        values=np.concatenate(series).astype(float),
        offsets=np.concatenate(([0], np.cumsum([len(values) for values in series]))),
    )
    aggregate, _ = rays_own(2.0)
    assert mean_of_the_sum(report, 30.0 + later) == pytest.approx(aggregate(report, 30.0 + later))


@needs_ray
@pytest.mark.parametrize("levels", [[(300, 8), (600, 21), (1500, 3), (1600, 40)], [(200, 0), (900, 1), (2000, 9)]])
def test_the_rules_written_down_here_are_those_of_ray(levels):
    own, same = RayServe(2), RayServe(2, use_ray=False)
    assert (own.uses_ray, same.uses_ray) == (True, False)
    assert follow(own, levels) == follow(same, levels)


@needs_ray
def test_a_whole_run_is_the_same_with_rays_code_and_without():
    demand, cluster = steady(6, 900), cluster_of()
    runs = [
        run_policy(RayServe(6, use_ray=use_ray), demand, cluster, seed=1, initial=2, objectives=Objectives())
        for use_ray in (True, False)
    ]
    assert runs[0] == runs[1]
    assert runs[0].scale_ups > 0


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


@pytest.mark.parametrize(
    ("settings", "at", "replicas"),
    [
        # Wishes are ceil(average / (target * utilisation)) within [ready / 2, ready * rate]; 160 at once over 4 ready.
        pytest.param(KNATIVE, 404.0, 17, id="knative: 116 over 6 s / 7"),
        pytest.param(AIBRIX, 420.0, 8, id="aibrix: 72 over 60 s / 10"),
    ],
)
def test_kpa_follows_its_panic_window_upwards(settings, at, replicas):
    policy = Kpa(10, settings=settings, name="kpa")
    at_once = dict(follow(policy, [(400, 28), (at + settings.interval_s, 160)]))
    assert max(at_once.values()) == replicas
    assert max(at_once) >= 400


def test_kpa_keeps_between_half_and_the_most_of_what_is_ready():
    policy = Kpa(10, settings=AIBRIX, name="kpa")
    for at in (0.0, 10.0, 500.0):
        target = policy.target(seen(at, 500, 8, ready=2, in_flight_seconds=500 * at), at)
    assert target == 4


def test_kpa_panics_on_a_jump_and_does_not_step_down_meanwhile():
    policy = Kpa(10, settings=AIBRIX, name="kpa")
    changes = follow(policy, [(800, 30), (860, 160), (920, 10)])
    late = [change for change in changes if change[0] > 800]
    assert late
    assert all(later >= earlier for (_, earlier), (_, later) in itertools.pairwise(late))


def test_kpa_gives_up_only_what_was_not_wished_for_during_the_delay():
    policy = Kpa(10, settings=AIBRIX, name="kpa")
    changes = follow(policy, [(1000, 80), (3000, 20)], start=8)
    assert changes[-1][1] == 2
    assert all(at >= 1000 + 300 for at, _ in changes)


def test_every_peer_is_known_by_name():
    cluster = cluster_of()
    names = [peer.policy(7, cluster, Objectives()).name for peer in parse_peers(EVERY_PEER)]
    assert len(set(names)) == len(names)
    assert {"ray-serve-2", "hpa-12", "kpa-28", "keda-waiting-5", "wva-1", "static-7"} <= set(names)


@pytest.mark.parametrize("text", ["nobody", "hpa:x", "hpa:-1", "ray-serve:0", "static:3", "hpa:inf", "wva:1.5"])
def test_an_unknown_peer_is_refused_by_name(text):
    with pytest.raises(BadInputError, match=f"{text}.*choose from"):
        parse_peers(text)


@pytest.mark.parametrize("peer", parse_peers(EVERY_PEER), ids=lambda peer: f"{peer.kind}-{peer.setting}")
def test_every_peer_serves_a_steady_demand_within_the_limits(peer):
    demand, cluster = steady(4, 600), cluster_of()
    policy = peer.policy(3, cluster, Objectives())
    run = run_policy(policy, demand, cluster, seed=1, initial=3, objectives=Objectives())
    assert all(1 <= sample.target <= 12 for sample in run.samples)
    assert run.service.requests == len(demand)


@pytest.mark.parametrize("text", ["wva", "wva-v1", "dynamo-kalman", "dynamo-constant", "kpa", "aibrix", "hpa", "keda"])
def test_no_peer_moves_before_it_has_seen_a_replica(text):
    policy = parse_peers(text)[0].policy(3, cluster_of(), Objectives())
    nothing = seen(0.0, 0, 3, ready=0, replicas=()) if text != "keda" else seen(0.0, 0, 3)
    assert policy.target(nothing, 0.0) == 3
