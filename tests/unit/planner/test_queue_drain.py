"""The reactive size leaves room to drain a queue within the objective for the first token."""

import numpy as np
import pytest

from controller.planner.capacity.mix import TokenMix
from controller.planner.capacity.safety import evidence_for, replicas_for, safe_utilisation
from controller.planner.capacity.sustainable import EngineLimits, full_load
from controller.simulation.demand import Demand
from controller.simulation.fleet import Fleet
from controller.simulation.outcome import TPOT_OBJECTIVE_S, TTFT_OBJECTIVE_S, ttft_s
from tests.simulated import cluster_of
from tests.synthetic_engine import RTX_4090

BURST_AT_S, END_S = 120.0, 240.0
PROMPT, OUTPUT = 1000, 200
FULL = full_load(
    RTX_4090,
    TokenMix(prompt_tokens=PROMPT, output_tokens=OUTPUT),
    EngineLimits(kv_cache_tokens=41_900, max_num_seqs=256),
    ttft_s=TTFT_OBJECTIVE_S,
    tpot_s=TPOT_OBJECTIVE_S,
)
PRIOR = evidence_for((), 0)


def late_after_a_burst(replicas: int, work: float, burst: int) -> tuple[float, float]:
    """Shares late: of the burst, and of what arrives from one objective after it."""
    rng = np.random.default_rng(5)
    usual = np.sort(rng.uniform(0, END_S, round(work * FULL.requests_per_s * END_S)))
    arrivals = np.sort(np.concatenate([usual, np.full(burst, BURST_AT_S)]))
    demand = Demand(
        arrival_s=arrivals,
        prompt_tokens=rng.integers(PROMPT // 2, PROMPT * 3 // 2, arrivals.size),
        output_tokens=rng.integers(OUTPUT // 2, OUTPUT * 3 // 2, arrivals.size),
        length_s=END_S,
    )
    fleet = Fleet(demand, cluster_of(), seed=0, initial=replicas)
    fleet.advance(END_S + 60.0)
    late = ttft_s(fleet.requests) > TTFT_OBJECTIVE_S
    return float(late[arrivals == BURST_AT_S].mean()), float(late[arrivals > BURST_AT_S + TTFT_OBJECTIVE_S].mean())


@pytest.mark.parametrize("work", [2.0, 5.0, 9.0])
def test_a_queue_that_fills_the_room_left_is_gone_within_the_objective(work: float) -> None:
    replicas = replicas_for(work, PRIOR, FULL)
    room = replicas - work
    burst = int(room * FULL.requests_per_s * TTFT_OBJECTIVE_S)
    assert burst >= 1

    of_the_burst, afterwards = late_after_a_burst(replicas, work, burst)

    assert work <= replicas * safe_utilisation(PRIOR, FULL, replicas)
    assert of_the_burst == 0.0
    assert afterwards <= 0.01


def test_a_fleet_without_that_room_stays_late_for_long() -> None:
    replicas = 5
    burst = int(2 * replicas * FULL.requests_per_s * TTFT_OBJECTIVE_S)

    _, afterwards = late_after_a_burst(replicas, float(replicas), burst)

    assert afterwards > 0.2
