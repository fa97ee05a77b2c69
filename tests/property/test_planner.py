"""Laws every plan obeys, whatever the inputs."""

import datetime as dt
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.override import Override, OverrideAction
from controller.domain.plan import Action, Decision, Reason
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import ReplicaCounts
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import PlanInput, decide
from tests.planning import NOW, SimulatedDeployment, applied, forecast, given, policy, seen

MOST = 12
STAGES = ("reactive", "forecast", "schedule", "stabilise", "drain", "zero", "override", "limit")
known = st.floats(0, 150).map(Known)
readings: st.SearchStrategy[Reading] = st.one_of(known, st.just(Unknown("stale")))
times = st.floats(NOW - 1000, NOW)
memories = st.builds(
    DeploymentMemory,
    recommendations=st.lists(st.tuples(times, st.integers(0, MOST)), max_size=4).map(
        lambda found: tuple(sorted(found))
    ),
    known_since=st.none() | times,
    above_since=st.none() | times,
    dips=st.integers(0, 1),
    last_set=st.none() | st.integers(0, MOST),
    last_set_digest=st.sampled_from([None, "d1", "d2"]),
    usual_load=st.none() | st.floats(0, MOST),
    usual_load_at=st.none() | times,
    drain_since=st.none() | times,
    idle_since=st.none() | times,
    unseen_since=st.none() | times,
    slo_debt=st.floats(0, 1),
    attempted=st.none() | st.integers(0, MOST),
    foreign_since=st.none() | times,
    unlearned_since=st.none() | times,
    run_s=st.none() | st.floats(0.1, 100),
    places=st.none() | st.tuples(times, st.integers(0, MOST)),
)
delays = st.sampled_from([0, 30, 300])
moments = st.floats(NOW - 700, NOW + 200)
events = st.fixed_dictionaries(
    {
        "name": st.just("e"),
        "start": moments.map(lambda at: dt.datetime.fromtimestamp(at, dt.UTC).isoformat()),
        "duration_s": st.sampled_from([60, 600]),
        "min_replicas": st.integers(1, MOST),
    },
    optional={
        "demand_multiple": st.sampled_from([1.5, 4]),
        "extra_load": st.floats(0.5, 80).map(lambda load: {"ongoing_requests": load}),
    },
)
overrides = st.lists(
    st.builds(
        Override,
        id=st.sampled_from(["ov-1", "ov-2"]),
        action=st.sampled_from(OverrideAction),
        deployment=st.none(),
        began_at=times,
        until=st.floats(NOW - 10, NOW + 1000),
        owner=st.just("alice"),
        reason=st.just("launch"),
        replicas=st.integers(0, 2 * MOST),
    ),
    max_size=2,
).map(tuple)
doors = st.sampled_from([Known(0.0), Known(0.0), Known(2.0), Unknown("stale")])
streams = st.lists(st.none() | st.integers(0, 20).map(float), max_size=MOST).map(tuple)


@st.composite
def situations(draw: st.DrawFn, demand: st.SearchStrategy[Reading] = readings) -> tuple[PlanInput, PlannerState]:
    """Any deployment with a known target inside its bounds."""
    least = draw(st.integers(0, 3))
    target = draw(st.integers(least, MOST))
    name = DeploymentId("app", draw(st.sampled_from("abcdef")))
    rules = policy(
        name,
        limits={
            "min_replicas": least,
            "max_replicas": MOST,
            "max_step_up": draw(st.integers(1, MOST)),
            "max_step_down": draw(st.integers(1, MOST)),
        },
        per_replica={"decode_tokens_per_s": 10} if draw(st.booleans()) else {},
        stabilisation={
            "upscale_delay_s": draw(delays),
            "downscale_delay_s": draw(delays),
            "max_drain_wait_s": draw(delays),
        },
        paused=draw(st.integers(0, 9)) == 0,
        events=draw(st.lists(events, max_size=2)),
    )
    observed = seen(
        {Signal.ONGOING_REQUESTS: draw(demand), Signal.DECODE_TOKENS: draw(demand)},
        target=target,
        deployment=name,
        replicas=draw(
            st.none()
            | st.builds(ReplicaCounts, ready=st.integers(0, MOST), starting=st.just(0), stopping=st.integers(0, 1))
        ),
        blind_spots=draw(st.sampled_from([(), (), ("haproxy/a is stale",)])),
        config_digest=draw(st.sampled_from([None, "d1"])),
        at_the_door=draw(doors),
        stop_streams=draw(streams),
    )
    forecasts: list[Forecast] = draw(st.lists(st.floats(0, 150).map(forecast), max_size=1))
    memory = draw(memories)
    one = replace(given(observed, rules, forecasts), overrides=draw(overrides))
    return one, PlannerState(deployments=((name, memory),))


def decision_of(one: PlanInput, state: PlannerState) -> Decision:
    return decide([one], state, now=NOW)[0].decisions[0]


def changed(one: PlanInput, **changes: Any) -> PlanInput:
    return replace(one, snapshot=replace(one.snapshot, **changes))


def wanted(one: PlanInput, state: PlannerState) -> int:
    desired = decision_of(one, state).desired
    assert desired is not None
    return desired


def current(one: PlanInput) -> int:
    assert one.snapshot.target_replicas is not None
    return one.snapshot.target_replicas


@for_all(situations())
def test_nothing_exceeds_the_bounds_or_the_steps(situation: tuple[PlanInput, PlannerState]) -> None:
    one, state = situation
    limits = one.policy.limits

    desired = wanted(one, state)

    assert limits.min_replicas <= desired <= limits.max_replicas
    assert -limits.max_step_down <= desired - current(one) <= limits.max_step_up


@for_all(situations())
def test_the_last_step_is_the_decision(situation: tuple[PlanInput, PlannerState]) -> None:
    decision = decision_of(*situation)

    assert decision.desired == decision.steps[-1].replicas
    assert decision.binding is decision.steps[-1].reason
    assert (decision.action is Action.NONE) == (decision.desired == decision.current)


@for_all(situations())
def test_every_step_says_its_stage_and_why_in_words(situation: tuple[PlanInput, PlannerState]) -> None:
    steps = decision_of(*situation).steps

    stages = [step.stage for step in steps]
    assert stages == [stage for stage in STAGES if stage in stages], "each once, in their order"
    assert all(isinstance(step.reason, Reason) and isinstance(step.detail, str) and step.detail for step in steps)


@for_all(situations())
def test_the_forecast_never_takes_from_what_demand_needs_now(situation: tuple[PlanInput, PlannerState]) -> None:
    reactive, forecasted = decision_of(*situation).steps[:2]

    assert forecasted.replicas >= reactive.replicas


@for_all(situations(known), st.floats(0, 100), st.sampled_from(list(Signal)[:1]))
def test_more_demand_never_means_fewer_replicas(
    situation: tuple[PlanInput, PlannerState], more: float, signal: Signal
) -> None:
    one, state = situation
    reading = one.snapshot.demand[signal]
    assert isinstance(reading, Known)
    demand = {**one.snapshot.demand, signal: Known(reading.value + more)}
    idle = all(reading == Known(0.0) for reading in demand.values())

    busier = changed(one, demand=demand, idle=idle)

    assert wanted(busier, state) >= wanted(one, state)


@for_all(situations())
def test_unknown_demand_never_lowers(situation: tuple[PlanInput, PlannerState]) -> None:
    one, state = situation
    blind = changed(one, demand=dict.fromkeys(Signal, Unknown("stale")), idle=False)

    assert wanted(blind, state) >= current(one)


@for_all(situations())
def test_one_unknown_sizing_signal_never_lowers(situation: tuple[PlanInput, PlannerState]) -> None:
    one, state = situation
    partial = changed(one, demand={**one.snapshot.demand, Signal.ONGOING_REQUESTS: Unknown("stale")}, idle=False)

    assert wanted(partial, state) >= current(one)


@for_all(situations())
def test_a_blind_spot_never_lowers(situation: tuple[PlanInput, PlannerState]) -> None:
    one, state = situation

    assert wanted(changed(one, blind_spots=("ray/a is stale",)), state) >= current(one)


@for_all(situations())
def test_a_blind_spot_never_stops_a_raise(situation: tuple[PlanInput, PlannerState]) -> None:
    one, state = situation
    clear = wanted(changed(one, blind_spots=()), state)

    assert clear <= max(current(one), wanted(changed(one, blind_spots=("ray/a is stale",)), state))


@for_all(situations())
def test_the_same_inputs_give_the_same_plan(situation: tuple[PlanInput, PlannerState]) -> None:
    one, state = situation

    assert decide([one], state, now=NOW) == decide([one], state, now=NOW)


@for_all(situations(known))
def test_a_decision_that_was_applied_is_not_made_again(situation: tuple[PlanInput, PlannerState]) -> None:
    one, state = situation
    unhurried = one.policy.model_copy(
        update={"limits": one.policy.limits.model_copy(update=dict.fromkeys(("max_step_up", "max_step_down"), MOST))}
    )
    one = replace(one, policy=unhurried)
    plan, planned = decide([one], state, now=NOW)
    after = applied(plan, planned, [one.snapshot])

    again = decision_of(changed(one, target_replicas=plan.decisions[0].desired), after)

    assert again.action is Action.NONE


@settings(max_examples=50)
@for_all(st.lists(situations(), min_size=1, max_size=4, unique_by=lambda one: one[0].snapshot.id), st.randoms())
def test_deployments_do_not_influence_each_other(
    found: list[tuple[PlanInput, PlannerState]], chance: random.Random
) -> None:
    alone = {one.snapshot.id: decision_of(one, state) for one, state in found}
    together = PlannerState(deployments=tuple(sorted(entry for _, state in found for entry in state.deployments)))
    shuffled = chance.sample(found, len(found))

    plan, after = decide([one for one, _ in found], together, now=NOW)
    other, other_after = decide([one for one, _ in shuffled], together, now=NOW)

    assert {decision.id: decision for decision in plan.decisions} == alone
    assert {decision.id: decision for decision in other.decisions} == alone
    assert after == other_after
    assert (plan.ledger, plan.conflicts) == (other.ledger, other.conflicts)


@pytest.mark.parametrize("mean", [2.0, 7.2, 13.4, 20.0, 39.3, 55.0])
@pytest.mark.parametrize("foresight", [True, False])
def test_constant_demand_with_noise_does_not_oscillate(mean: float, *, foresight: bool) -> None:
    noise = random.Random(mean)
    rules = policy(stabilisation={"upscale_delay_s": 0, "downscale_delay_s": 300}, forecast={"enabled": foresight})
    deployment = SimulatedDeployment(lambda _at: mean * noise.uniform(0.8, 1.2), rules, tick_s=15)

    deployment.run(900 + 7200)

    assert len([at for at, _ in deployment.changes if at >= 900]) <= 2
