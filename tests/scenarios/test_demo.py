"""What `foreserve up` shows in five minutes, in virtual time: its policy and traffic on its cluster as profiled."""

from __future__ import annotations

from itertools import groupby, takewhile
from pathlib import Path

import numpy as np
import pytest

from controller.load.bundled import named_trace
from controller.load.schedule import ScheduleOptions, arrivals
from controller.local.traffic import TrafficOptions
from controller.policy.load import load_policy
from controller.simulation.cluster import load_cluster
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.outcome import Objectives

MANIFESTS = Path(__file__).parents[2] / "manifests"
FIVE_MINUTES_S = 300.0


def traffic() -> Demand:
    asked = TrafficOptions()
    options = ScheduleOptions(
        speed=asked.speed,
        rate_scale=asked.rate_scale,
        prompt_tokens_max=asked.prompt_tokens_max,
        output_tokens_max=asked.output_tokens_max,
        loop=True,
    )
    sent = list(takewhile(lambda one: one.at_s < FIVE_MINUTES_S, arrivals(named_trace(asked.trace)[0], options)))
    return Demand(
        arrival_s=np.array([one.at_s for one in sent]),
        prompt_tokens=np.array([one.prompt_tokens for one in sent]),
        output_tokens=np.array([one.output_tokens for one in sent]),
        length_s=FIVE_MINUTES_S,
    )


@pytest.mark.timeout(240)  # compiles the simulator where nothing is cached
@pytest.mark.parametrize("slower", [1.0, 1.15])
def test_five_minutes_show_the_way_up_and_the_way_down(slower):
    """The adaptive forecaster once kept the second replica for so long after the fall that nobody saw it go."""
    cluster = load_cluster(MANIFESTS / "clusters/local-cpu.yaml")
    replica = cluster.replica.model_copy(update={"iteration_base_s": slower * cluster.replica.iteration_base_s})

    run = run_control_loop(
        load_policy(MANIFESTS / "policies/local.yaml"),
        traffic(),
        cluster.model_copy(update={"replica": replica}),
        name="demo",
        seed=1,
        initial=1,
        objectives=Objectives(ttft_s=1.0, tpot_s=0.05),
    )

    targets = [target for target, _ in groupby(sample.target for sample in run.samples)]
    assert targets[:3] == [1, 2, 1]
    assert run.service.slo_attainment > 0.95
