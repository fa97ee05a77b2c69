"""What the real loop learns from a simulated fleet, and whether the fleet carries what is predicted."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.capacity_ramp import compare, predicted_full_load
from controller.domain.plan import CapacitySource
from controller.domain.signals import Signal
from controller.load.trace import Trace
from controller.policy.load import LoadedPolicy
from controller.policy.model import Policy
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.outcome import Objectives
from tests.simulated import cluster_of

POLICY = {
    "application": "chat",
    "deployment": "llama",
    "limits": {"max_replicas": 40},
    "capacity": {"learn": True, "target_ongoing_requests": 12, "kv_cache_tokens": 41_900},
    "forecast": {"enabled": False},
}


class Records:
    def __init__(self) -> None:
        self.taken = []

    def export(self, record) -> None:
        self.taken.append(record)


def sizes(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    prompt = 1 + rng.exponential(1000, count)
    output = 1 + rng.exponential(200, count)
    return np.minimum(prompt, 4000).astype(np.int64), np.minimum(output, 1200).astype(np.int64)


@pytest.mark.parametrize("replicas", [1, 8])
def test_the_fleet_carries_what_is_predicted_within_a_fifth(replicas):
    prompt, output = sizes(20_000)
    trace = Trace(
        name="exponential", t_s=np.arange(20_000.0), prompt_tokens=prompt, output_tokens=output, length_s=20_000.0
    )

    row = compare(trace, cluster_of(), replicas, Objectives(), requests=2500)

    assert row.error == pytest.approx(0.0, abs=0.2)


def test_the_loop_learns_the_fleet_and_sizes_by_work_ever_after():
    prompt, output = sizes(16_000)
    rng = np.random.default_rng(1)
    arrival = np.cumsum(rng.exponential(1 / 8.0, 16_000))
    demand = Demand(arrival_s=arrival, prompt_tokens=prompt, output_tokens=output, length_s=float(arrival[-1]) + 1.0)
    records = Records()
    loaded = LoadedPolicy(
        policy=Policy.model_validate({"version": 1, "deployments": [POLICY]}), version="t", path=Path("p.yaml")
    )

    run = run_control_loop(
        loaded,
        demand,
        cluster_of(),
        name="foreserve",
        seed=1,
        initial=4,
        objectives=Objectives(),
        exporters=(records,),
    )

    last = records.taken[-1].deployments[0].decision
    assert last.capacity.source is CapacitySource.LEARNED
    trace = Trace(name="t", t_s=arrival, prompt_tokens=prompt, output_tokens=output, length_s=demand.length_s)
    true = predicted_full_load(trace, cluster_of(), Objectives()).requests_per_s
    learned = last.capacity.per_replica[Signal.REQUESTS] / last.capacity.per_replica[Signal.WORK]
    assert learned == pytest.approx(true, rel=0.15)
    assert "work" in last.steps[0].detail
    assert run.service.slo_attainment > 0.99
