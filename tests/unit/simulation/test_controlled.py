"""The real control loop on a simulated fleet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known
from controller.domain.signals import MEASURED, Signal
from controller.errors import BadInputError
from controller.policy.load import LoadedPolicy
from controller.policy.model import Policy
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.outcome import Objectives
from controller.simulation.past import read_past
from controller.window.history import DemandHistory
from tests.simulated import cluster_of, steady

POLICY = LoadedPolicy(
    policy=Policy.model_validate(
        {
            "version": 1,
            "deployments": [
                {
                    "application": "chat",
                    "deployment": "LLMServer:llama",
                    "limits": {"max_replicas": 100},
                    "capacity": {"target_ongoing_requests": 20},
                    "stabilisation": {"downscale_delay_s": 120},
                }
            ],
        }
    ),
    version="test",
    path=Path("policy.yaml"),
)


class Records:
    def __init__(self) -> None:
        self.taken = []

    def export(self, record) -> None:
        self.taken.append(record)


def run(demand: Demand, *, seed: int = 1, initial: int = 1):
    records = Records()
    outcome = run_control_loop(
        POLICY,
        demand,
        cluster_of(replica__startup_s=[30, 60]),
        name="foreserve",
        seed=seed,
        initial=initial,
        objectives=Objectives(),
        exporters=(records,),
    )
    return outcome, records.taken


@pytest.fixture(scope="module")
def hump():
    parts = [steady(1, 300), steady(14, 600, seed=1), steady(1, 600, seed=2)]
    starts = (0, 300, 900)
    return Demand(
        arrival_s=np.concatenate([part.arrival_s + start for part, start in zip(parts, starts, strict=True)]),
        prompt_tokens=np.concatenate([part.prompt_tokens for part in parts]),
        output_tokens=np.concatenate([part.output_tokens for part in parts]),
        length_s=1500.0,
    )


def test_the_loop_sees_the_fleet_whole(hump):
    _, records = run(hump)
    late = [record.deployments[0].snapshot for record in records[10:]]
    assert all(not snapshot.blind_spots for snapshot in late)
    assert all(isinstance(snapshot.reading(signal), Known) for snapshot in late for signal in MEASURED)
    assert all(not record.degraded for record in records)


def test_what_the_loop_measures_is_what_was_sent(hump):
    _, records = run(hump, initial=8)
    middle = [record.deployments[0].snapshot for record in records if 400 <= record.at - records[0].at < 880]
    rates = [snapshot.reading(Signal.REQUESTS).value for snapshot in middle]
    tokens = [snapshot.reading(Signal.PREFILL_TOKENS).value for snapshot in middle]
    assert np.mean(rates) == pytest.approx(14, rel=0.1)
    assert np.mean(tokens) == pytest.approx(14 * hump.prompt_tokens.mean(), rel=0.07)


def test_the_loop_scales_up_with_demand_and_down_after_it(hump):
    outcome, records = run(hump)
    targets = [record.deployments[0].decision.desired for record in records]
    assert max(targets) >= 4
    assert targets[-1] <= 3
    assert (outcome.scale_ups > 0, outcome.scale_downs > 0) == (True, True)
    assert not any(record.conflicts for record in records)


def test_the_loop_learns_its_lead_time_from_the_starts_it_sees(hump):
    _, records = run(hump)
    lead = records[-1].deployments[0].decision.lead
    assert lead.samples > 0
    assert 30 <= lead.p90_s <= 75


def test_the_same_seed_gives_the_same_run(hump):
    once, _ = run(hump)
    again, _ = run(hump)
    assert (once.cost, once.service) == (again.cost, again.service)


def write_past(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "past.csv"
    path.write_text(text)
    return path


def test_history_ends_where_the_demand_begins(tmp_path):
    rows = "".join(f"{minute * 60},{minute},{minute * 100},{minute * 10}\n" for minute in range(30))
    past = read_past(write_past(tmp_path, "t_s,n,prompt_tokens,output_tokens\n" + rows), scale=2)
    history = DemandHistory(step_s=5.0)
    deployment = DeploymentId("chat", "LLMServer:llama")
    history.restore(past.entries(deployment, 18_000.0, history))
    known = history.history(deployment, Signal.REQUESTS)
    assert (known.end, len(known.values)) == (18_000.0, 360)
    assert known.values[-1] == pytest.approx(29 * 2 / 60, rel=0.01)
    assert known.values[0] == 0.0
    assert known.values[12] == pytest.approx(1 * 2 / 60, rel=0.02)
    tokens = history.history(deployment, Signal.PREFILL_TOKENS)
    assert tokens.values[-1] == pytest.approx(2900 * 2 / 60, rel=0.01)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("t_s,n\n0,1\n60,2\n", ":1: expected the header"),
        ("t_s,n,prompt_tokens,output_tokens\n0,1,2,3\n60,x,2,3\n", ":3: expected 4 numbers"),
        ("t_s,n,prompt_tokens,output_tokens\n0,1,2,3\n60,1,2,3\n180,1,2,3\n", ":4: t_s must rise"),
    ],
)
def test_a_wrong_history_is_told_by_line(tmp_path, text, told):
    with pytest.raises(BadInputError, match=told):
        read_past(write_past(tmp_path, text), scale=1)
