"""Laws of the simulated fleet, for any requests on any small cluster."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulation.cluster import ClusterSpec
from controller.simulation.demand import Demand
from controller.simulation.fleet import Fleet
from controller.simulation.state import ABANDONED, GENERATION_TOKENS, REFUSED, SERVED
from tests.reference_fleet import ReferenceFleet

pytestmark = pytest.mark.timeout(240)  # compiles the simulator, where nobody has yet

LONG_AFTER_S = 100_000.0

requests = st.lists(
    st.tuples(st.floats(0, 20, width=32), st.integers(1, 90), st.integers(1, 40)), min_size=1, max_size=40
).map(sorted)


@st.composite
def clusters(draw: st.DrawFn) -> ClusterSpec:
    return ClusterSpec.model_validate(
        {
            "replica": {
                "iteration_base_s": draw(st.sampled_from([0.016, 0.2])),
                "per_sequence_s": 0.0011,
                "per_context_token_s": draw(st.sampled_from([0.0, 0.000013])),
                "per_prefill_token_s": 0.0007,
                "max_num_batched_tokens": draw(st.sampled_from([9, 64])),
                "max_num_seqs": draw(st.sampled_from([1, 4, 8])),
                "kv_cache_tokens": draw(st.integers(60, 400)),
                "startup_s": [1, 5],
                "overhead_s": draw(st.sampled_from([0.0, 0.3])),
            },
            "limits": {"min_replicas": 0, "max_replicas": 6},
            "clients": {"abandon_s": draw(st.sampled_from([0.5, 4.0, 1000.0]))},
            "routing": draw(st.sampled_from(["least_connections", "round_robin"])),
        }
    )


def demand_of(rows: list[tuple[float, int, int]]) -> Demand:
    times, prompts, outputs = zip(*rows, strict=True)
    return Demand(
        arrival_s=np.array(times),
        prompt_tokens=np.array(prompts),
        output_tokens=np.array(outputs),
        length_s=max(times) + 1.0,
    )


@settings(max_examples=150, deadline=None)
@given(requests, clusters(), st.integers(1, 3), st.booleans())
def test_agrees_with_stepping_through_every_iteration(rows, cluster, replicas, macro):
    reference = ReferenceFleet(rows, cluster, replicas)
    reference.run()
    fleet = Fleet(demand_of(rows), cluster, seed=0, initial=replicas, macro=macro)
    fleet.advance(LONG_AFTER_S)
    expected_first = [-1.0 if one.first is None else one.first for one in reference.requests]
    expected_finish = [-1.0 if one.finish is None else one.finish for one in reference.requests]
    np.testing.assert_allclose(fleet.requests.first, expected_first, atol=1e-6)
    np.testing.assert_allclose(fleet.requests.finish, expected_finish, atol=1e-6)
    assert max(replica.most_kv for replica in reference.replicas) <= cluster.replica.kv_cache_tokens


@st.composite
def orders(draw: st.DrawFn) -> list[tuple[float, int]]:
    return sorted(draw(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 6)), max_size=8)))


def run_with_orders(rows, cluster, scaling, seed, *, look=True) -> Fleet:
    fleet = Fleet(demand_of(rows), cluster, seed=seed, initial=1)
    for at, target in scaling:
        fleet.advance(at)
        if look:
            check_books(fleet, cluster)
        fleet.set_target(target)
    fleet.advance(50.0)
    fleet.set_target(1)
    fleet.advance(LONG_AFTER_S)
    check_books(fleet, cluster)
    return fleet


def check_books(fleet: Fleet, cluster: ClusterSpec) -> None:
    seen, replicas = fleet.observe(), fleet.replicas()
    assert seen.served + seen.unserved + seen.in_flight == seen.arrived
    assert seen.in_flight == seen.at_the_door + sum(replica.in_flight for replica in replicas)
    assert seen.waiting == sum(replica.waiting for replica in replicas)
    assert all(0.0 <= replica.kv_usage <= 1.0 for replica in replicas)
    assert all(replica.running <= cluster.replica.max_num_seqs for replica in replicas)
    assert seen.ready + seen.starting == fleet.target


@settings(max_examples=100, deadline=None)
@given(requests, clusters(), orders(), st.integers(0, 3))
def test_no_request_is_lost_whatever_is_ordered(rows, cluster, scaling, seed):
    fleet = run_with_orders(rows, cluster, scaling, seed)
    assert set(np.unique(fleet.requests.status)) <= {SERVED, ABANDONED, REFUSED}


@settings(max_examples=50, deadline=None)
@given(requests, clusters(), st.integers(1, 3))
def test_every_token_is_generated_once(rows, cluster, replicas):
    fleet = Fleet(demand_of(rows), cluster, seed=0, initial=replicas)
    fleet.advance(LONG_AFTER_S)
    seen, served = fleet.replicas(), fleet.requests[fleet.requests.status == SERVED]
    generated = sum(int(replica.counters[GENERATION_TOKENS]) for replica in seen)
    assert generated == int(served.output.sum())
    assert sum(int(replica.ttft.sum()) for replica in seen) == len(served)
    assert sum(int(replica.tpot.sum()) for replica in seen) == np.count_nonzero(served.output > 1)
    gaps = sum(int(replica.itl.sum()) for replica in seen)
    assert gaps == int((served.output - 1).sum())


@settings(max_examples=50, deadline=None)
@given(requests, clusters(), orders(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_run_and_looking_changes_nothing(rows, cluster, scaling, seed):
    once = run_with_orders(rows, cluster, scaling, seed)
    again = run_with_orders(rows, cluster, scaling, seed, look=False)
    np.testing.assert_allclose(once.requests.finish, again.requests.finish, atol=1e-6)
    assert [life.gone_at is None for life in once.lifetimes] == [life.gone_at is None for life in again.lifetimes]


@settings(max_examples=50, deadline=None)
@given(requests, clusters(), orders(), st.integers(0, 3))
def test_no_first_token_comes_before_its_prompt_can_be_read(rows, cluster, scaling, seed):
    fleet = run_with_orders(rows, cluster, scaling, seed)
    spec, done = cluster.replica, fleet.requests[fleet.requests.first >= 0]
    iterations = np.ceil(done.prompt / spec.max_num_batched_tokens)
    least = iterations * spec.iteration_base_s + done.prompt * spec.per_prefill_token_s
    assert np.all(done.first - done.arrival >= least - 1e-9)
    assert np.all(done.finish - done.first >= (done.output - 1) * spec.iteration_base_s - 1e-9)
