"""A simulated fleet goes to zero, is woken by the first request, and serves it; the real loop runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from controller.domain.plan import Reason
from controller.domain.record import TickRecord
from controller.policy.load import LoadedPolicy
from controller.policy.model import Policy
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.driver import Run
from controller.simulation.outcome import Objectives
from tests.simulated import cluster_of


class Kept:
    def __init__(self) -> None:
        self.records: list[TickRecord] = []

    def export(self, record: TickRecord) -> None:
        self.records.append(record)

    def reasons(self) -> list[Reason]:
        """The binding reasons, each once while it lasts."""
        found = [record.deployments[0].decision.binding for record in self.records]
        return [reason for index, reason in enumerate(found) if index == 0 or found[index - 1] is not reason]


def visit(at: float, count: int = 60) -> np.ndarray:
    return at + np.linspace(0, 120, count)


def run(promise_s: float) -> tuple[Run, Kept]:
    arrival_s = np.concatenate([visit(0.0), visit(3000.0)])
    demand = Demand(
        arrival_s=arrival_s,
        prompt_tokens=np.full(len(arrival_s), 500),
        output_tokens=np.full(len(arrival_s), 100),
        length_s=3600.0,
    )
    policy = Policy.model_validate(
        {
            "version": 1,
            "deployments": [
                {
                    "application": "chat",
                    "deployment": "llm",
                    "limits": {"min_replicas": 0, "max_replicas": 4},
                    "capacity": {"target_ongoing_requests": 16},
                    "scale_to_zero": {"after_idle_s": 300, "cold_start_promise_s": promise_s},
                    "lead_time": {"assumed_s": 100},
                }
            ],
        }
    )
    kept = Kept()
    cluster = cluster_of(limits__min_replicas=0, replica__startup_s=[40, 40])
    outcome = run_control_loop(
        LoadedPolicy(policy, "0" * 12, Path("policy.yaml")),
        demand,
        cluster,
        name="zero",
        seed=0,
        initial=1,
        objectives=Objectives(),
        exporters=(kept,),
    )
    return outcome, kept


def test_a_fleet_sleeps_while_nobody_comes_and_wakes_for_the_first_request() -> None:
    outcome, kept = run(promise_s=150)

    targets = {sample.at: sample.target for sample in outcome.samples}
    asleep = [at for at, target in targets.items() if target == 0]
    assert 420 <= min(asleep) <= 600
    assert 2980 <= max(asleep) <= 3015
    assert Reason.ASLEEP in kept.reasons()
    assert kept.reasons()[kept.reasons().index(Reason.ASLEEP) + 1] in (Reason.WAKE, Reason.FORECAST)
    assert outcome.service.unserved == 0


def test_a_start_that_is_slower_than_promised_keeps_one_replica() -> None:
    outcome, kept = run(promise_s=90)

    assert min(sample.target for sample in outcome.samples) == 1
    assert Reason.COLD_START in kept.reasons()
    assert Reason.ASLEEP not in kept.reasons()
