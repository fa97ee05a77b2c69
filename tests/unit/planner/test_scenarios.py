"""The planner over time, with a deployment whose replicas take 35 s to start."""

from collections.abc import Callable

from controller.domain.plan import OrderStatus, Reason
from tests.planning import SimulatedDeployment, policy

DELAYS = {"upscale_delay_s": 0, "downscale_delay_s": 60}
PATIENT = {"upscale_delay_s": 0, "downscale_delay_s": 300}


def burst(low: float, high: float, begin_s: float, end_s: float) -> Callable[[float], float]:
    return lambda at: high if begin_s <= at < end_s else low


def ramp(at: float) -> float:
    """4 requests, and from 300 s on 24 more within 60 s."""
    return min(28.0, 4 + 24 * max(0.0, at - 300) / 60)


def ready_at(deployment: SimulatedDeployment, replicas: int) -> float:
    return next(tick * deployment.tick_s for tick, ready in enumerate(deployment.ready) if ready >= replicas)


def test_a_burst_is_served_and_given_back_once() -> None:
    rules = policy(stabilisation=DELAYS, forecast={"enabled": False})

    deployment = SimulatedDeployment(burst(4, 30, 120, 240), rules).run(600)

    assert deployment.changes == [(120, 4), (300, 1)]
    assert ready_at(deployment, 4) == 160


def test_a_burst_with_a_forecast_is_served_as_soon_and_given_back_for_good() -> None:
    rules = policy(stabilisation=DELAYS)

    deployment = SimulatedDeployment(burst(4, 30, 120, 240), rules).run(1800)

    assert deployment.changes[0] == (120, 4)
    assert deployment.targets[-1] == 1
    assert len(deployment.changes) <= 4


def test_a_ramp_is_ordered_earlier_with_a_forecast() -> None:
    reactive = SimulatedDeployment(ramp, policy(stabilisation=DELAYS, forecast={"enabled": False})).run(600)
    ahead = SimulatedDeployment(ramp, policy(stabilisation=DELAYS)).run(600)

    assert ready_at(ahead, 4) <= ready_at(reactive, 4) - 15
    assert max(ahead.targets) <= 6


def test_an_order_is_pending_until_it_arrives() -> None:
    rules = policy(stabilisation=DELAYS, forecast={"enabled": False})

    deployment = SimulatedDeployment(burst(4, 30, 120, 240), rules).run(230)
    statuses = [plan.ledger[0].status for plan in deployment.plans if plan.ledger]

    assert statuses == [OrderStatus.PENDING] * 7 + [OrderStatus.ARRIVED] * 14


def test_a_blackout_in_a_burst_lowers_nothing() -> None:
    rules = policy(stabilisation=DELAYS)

    deployment = SimulatedDeployment(burst(4, 30, 120, 200), rules).run(400, blind=lambda at: 150 <= at < 390)
    dark = deployment.decisions[30:78]

    assert {decision.desired for decision in dark} == {4}
    assert {decision.binding for decision in dark} == {Reason.NO_DATA}


def test_somebody_elses_target_is_left_for_a_while_and_then_taken_back() -> None:
    rules = policy(stabilisation=PATIENT, forecast={"enabled": False})

    deployment = SimulatedDeployment(lambda _at: 14.0, rules, target=1, foreign={600.0: 6}).run(1500)

    assert deployment.changes == [(0, 2), (900, 2)]
    assert sum(len(plan.conflicts) for plan in deployment.plans) == 1


def test_scale_to_zero_and_back() -> None:
    rules = policy(limits={"min_replicas": 0}, stabilisation=DELAYS, forecast={"enabled": False})

    deployment = SimulatedDeployment(lambda at: 0.0 if 100 <= at < 400 else 4.0, rules).run(600)

    assert deployment.changes == [(160, 0), (400, 1)]
