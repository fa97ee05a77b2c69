"""Perfect foresight keeps the promise for less than anything that cannot see ahead."""

from __future__ import annotations

import numpy as np
import pytest

from controller.simulation.demand import Demand
from controller.simulation.driver import run_policy
from controller.simulation.oracle import find_oracle, least_static, look_back
from controller.simulation.outcome import Objectives
from controller.simulation.peers.static import Static
from tests.simulated import cluster_of, steady

OBJECTIVES = Objectives()


def hill() -> Demand:
    """A low, a high and a low half hour."""
    parts = [steady(2, 1800, seed=1), steady(14, 1800, seed=2), steady(2, 1800, seed=3)]
    return Demand(
        arrival_s=np.concatenate([part.arrival_s + 1800 * place for place, part in enumerate(parts)]),
        prompt_tokens=np.concatenate([part.prompt_tokens for part in parts]),
        output_tokens=np.concatenate([part.output_tokens for part in parts]),
        length_s=5400.0,
    )


@pytest.fixture(scope="module")
def found():
    demand, cluster = hill(), cluster_of()
    hindsight = look_back(demand, cluster, objectives=OBJECTIVES)
    static = least_static(hindsight, demand, cluster, objectives=OBJECTIVES, attainment=0.99)
    oracle = find_oracle(hindsight, demand, cluster, seed=1, objectives=OBJECTIVES, attainment=0.99)
    return demand, cluster, static, oracle


def test_the_oracle_keeps_the_promise_with_fewer_gpu_hours_than_a_static_fleet(found):
    demand, cluster, static, oracle = found
    fixed = run_policy(Static(static), demand, cluster, seed=1, initial=static, objectives=OBJECTIVES)
    assert oracle.run.service.slo_attainment >= 0.99
    assert fixed.service.slo_attainment >= 0.99
    assert oracle.run.cost.gpu_hours < 0.8 * fixed.cost.gpu_hours


def test_the_least_static_fleet_is_the_least(found):
    demand, cluster, static, _ = found
    smaller = run_policy(Static(static - 1), demand, cluster, seed=1, initial=static - 1, objectives=OBJECTIVES)
    assert smaller.service.slo_attainment < 0.99


def test_the_oracle_has_its_replicas_ready_when_the_hill_begins(found):
    *_, oracle = found
    before = [sample for sample in oracle.run.samples if 1600 <= sample.at < 1800]
    after = [sample for sample in oracle.run.samples if 1800 <= sample.at <= 1860]
    assert max(sample.starting for sample in before) > 0
    assert after[-1].ready > oracle.initial
