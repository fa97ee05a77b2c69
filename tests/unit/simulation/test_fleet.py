"""Replicas that come and go, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from controller.simulation.cluster import Routing
from controller.simulation.demand import Demand
from controller.simulation.fleet import Fleet
from controller.simulation.outcome import cost_of
from controller.simulation.state import ABANDONED, REFUSED, SERVED, TTFT_BOUNDS
from tests.simulated import cluster_of, steady

NOTHING = Demand(
    arrival_s=np.array([]), prompt_tokens=np.array([], int), output_tokens=np.array([], int), length_s=1000.0
)


def one_request(at: float, prompt: int, output: int) -> Demand:
    return Demand(
        arrival_s=np.array([at]), prompt_tokens=np.array([prompt]), output_tokens=np.array([output]), length_s=100.0
    )


def test_a_lone_request_takes_its_prefill_and_one_iteration_per_further_token(cluster):
    fleet = Fleet(one_request(5.0, 3000, 11), cluster, seed=0, initial=1)
    fleet.advance(100.0)
    (first,) = fleet.requests.first
    (finish,) = fleet.requests.finish
    # 3000 tokens take two iterations of at most 2048.
    assert first - 5.0 == pytest.approx(2 * 0.0163 + 3000 * 0.00008)
    contexts = np.arange(3000, 3010)
    assert finish - first == pytest.approx(np.sum(0.0163 + 0.000095 + contexts * 0.000000124))


def test_what_a_request_takes_outside_the_engine_is_felt_by_its_client_and_not_counted_by_the_engine():
    fleet = Fleet(one_request(5.0, 1000, 2), cluster_of(replica__overhead_s=0.4), seed=0, initial=1)
    fleet.advance(100.0)
    (first,) = fleet.requests.first
    assert first - 5.0 == pytest.approx(0.4 + 0.0163 + 1000 * 0.00008)
    (replica,) = fleet.replicas()
    assert np.flatnonzero(replica.ttft).tolist() == [TTFT_BOUNDS.index(0.1)]


def test_round_robin_does_not_look_at_how_busy_a_replica_is():
    long_then_short = Demand(
        arrival_s=np.array([0.0, 0.1, 1.0, 1.1]),
        prompt_tokens=np.full(4, 10),
        output_tokens=np.array([2000, 2, 2, 2]),
        length_s=200.0,
    )
    clusters = [cluster_of().model_copy(update={"routing": one}) for one in Routing]
    fleets = [Fleet(long_then_short, one, seed=0, initial=2) for one in clusters]
    for fleet in fleets:
        fleet.advance(200.0)
    # The first replica is busy with the long answer; only least connections avoids it.
    assert [fleet.requests.replica.tolist() for fleet in fleets] == [[0, 1, 1, 1], [0, 1, 0, 1]]


def test_replicas_start_within_their_range_and_serve_no_sooner(cluster):
    fleet = Fleet(steady(2, 400), cluster, seed=3, initial=0)
    fleet.set_target(5)
    fleet.advance(59.9)
    assert (fleet.observe().ready, fleet.observe().starting) == (0, 5)
    fleet.advance(180.0)
    assert fleet.observe().ready == 5
    ready = [life.ready_at for life in fleet.lifetimes]
    assert len(set(ready)) == 5
    assert fleet.requests.first[fleet.requests.first >= 0].min() > min(ready)


def test_clients_of_a_fleet_that_is_not_there_give_up():
    fleet = Fleet(one_request(5.0, 10, 5), cluster_of(limits__min_replicas=0), seed=0, initial=0)
    fleet.advance(64.9)
    assert fleet.observe().at_the_door == 1
    fleet.advance(65.1)
    assert fleet.observe().at_the_door == 0
    assert fleet.requests.status.tolist() == [ABANDONED]


def test_a_request_that_can_never_fit_is_refused(cluster):
    fleet = Fleet(one_request(5.0, 41_000, 1000), cluster, seed=0, initial=1)
    fleet.advance(10.0)
    assert fleet.requests.status.tolist() == [REFUSED]
    assert fleet.observe().unserved == 1


def test_starting_replicas_are_given_up_before_ready_ones(cluster):
    fleet = Fleet(NOTHING, cluster, seed=0, initial=2)
    fleet.set_target(5)
    fleet.advance(10.0)
    fleet.set_target(2)
    seen = fleet.observe()
    assert (seen.ready, seen.starting) == (2, 0)
    assert [life.gone_at for life in fleet.lifetimes] == [None, None, 10.0, 10.0, 10.0]


def test_a_replica_that_is_given_up_finishes_what_it_has(cluster):
    fleet = Fleet(steady(3, 20), cluster, seed=0, initial=3)
    fleet.advance(20.0)
    fleet.set_target(1)
    assert (fleet.observe().ready, fleet.observe().stopping) == (1, 2)
    fleet.advance(60.0)
    assert fleet.observe().stopping == 0
    assert set(fleet.requests.status) == {SERVED}
    assert all(life.gone_at > 20.0 for life in fleet.lifetimes[1:])


def test_gpu_time_counts_from_the_order_and_is_split():
    fleet = Fleet(NOTHING, cluster_of(replica__startup_s=[100, 100], replica__gpus=2), seed=0, initial=1)
    fleet.set_target(2)
    fleet.advance(400.0)
    fleet.set_target(1)
    fleet.advance(1000.0)
    fleet.finish()
    cost = cost_of(fleet)
    assert cost.gpu_hours * 3600 == pytest.approx(2 * (1000 + 400))
    assert cost.waste.starting * 3600 == pytest.approx(2 * 100)
    assert cost.waste.idle_ready * 3600 == pytest.approx(2 * (1000 + 300))


@pytest.mark.parametrize(
    ("nodes", "ready_after"),
    [
        ({}, 100.0),
        ({"provision_s": 240}, 340.0),
        ({"provision_s": 240, "stockouts_s": [[0, 50], [50, 70]]}, 410.0),
        ({"stockouts_s": [[10, 50]]}, 100.0),
    ],
)
def test_a_cold_start_waits_for_its_node(nodes, ready_after):
    cluster = cluster_of(replica__startup_s=[100, 100], **{f"nodes__{key}": value for key, value in nodes.items()})
    fleet = Fleet(NOTHING, cluster, seed=0, initial=1)
    fleet.set_target(2)
    fleet.advance(ready_after - 0.1)
    assert fleet.observe().ready == 1
    fleet.advance(ready_after)
    assert fleet.observe().ready == 2


def test_a_node_that_is_kept_empty_is_used_again_and_paid_for():
    cluster = cluster_of(replica__startup_s=[100, 100], nodes__provision_s=240, nodes__idle_timeout_s=500)
    fleet = Fleet(NOTHING, cluster, seed=0, initial=2)
    fleet.set_target(1)
    fleet.advance(200.0)
    fleet.set_target(2)
    fleet.advance(300.0)
    assert fleet.observe().ready == 2
    fleet.finish()
    assert fleet.idle_node_gpu_s == pytest.approx(200.0)


def test_limits_of_the_cluster_hold(cluster):
    fleet = Fleet(NOTHING, cluster, seed=0, initial=1)
    fleet.set_target(1000)
    assert fleet.target == 12
    fleet.set_target(0)
    assert fleet.target == 1


def test_an_excerpt_begins_at_zero():
    part = steady(20, 600).excerpt(100.0, 200.0)
    assert (part.arrival_s[0] < 1.0, part.length_s, 1800 < len(part) < 2200) == (True, 100.0, True)


def test_each_replicas_load_adds_up_to_the_fleets():
    """Two replicas that are asked for far more than they can take; one more comes and takes its share."""
    demand = steady(20, 120, prompt=2000)
    fleet = Fleet(demand, cluster_of(), seed=1, initial=2)
    fleet.set_target(3)
    for at in (10.0, 60.0, 119.0):
        fleet.advance(at)
        seen = fleet.observe(detail=True)
        views = {view.replica: view for view in fleet.replicas()}
        assert len(seen.replicas) == seen.ready
        assert sum(one.in_flight for one in seen.replicas) + seen.at_the_door == seen.in_flight
        assert sum(one.waiting for one in seen.replicas) == seen.waiting
        assert seen.arrived_prompt_tokens == demand.prompt_tokens[: seen.arrived].sum()
        assert seen.arrived_output_tokens == demand.output_tokens[: seen.arrived].sum()
        for one in seen.replicas:
            view = views[one.replica]
            assert (one.in_flight, one.waiting) == (view.in_flight, view.waiting)
            assert one.kv_tokens / 41_900 == view.kv_usage
            assert one.backlog_tokens >= one.waiting * 1000
    assert seen.waiting > 0
    assert not fleet.observe().replicas
