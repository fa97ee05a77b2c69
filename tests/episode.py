"""A whole run, made up: load rises and falls, a replica is ordered ahead of it and given back.

Nothing here is random, and nothing of the planner is used: what is shown must not depend on how it
was decided.
"""

from __future__ import annotations

import math

from controller.domain.forecast import Forecast
from controller.domain.plan import Action, Capacity, CapacitySource, Order, OrderStatus, Outcome, OutcomeStatus, Step
from controller.domain.plan import Reason as Why
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.scrape import SourceHealth
from controller.domain.signals import Signal
from controller.domain.snapshot import Latency, ReplicaCounts
from controller.load.result import LoadResult
from controller.load.row import RequestRow
from tests.records import CHAT, FRESH, decision, deployment_record, record, snapshot

START = 1_790_000_000.0
INTERVAL_S = 5.0
LEAD_S = 30.0
CARRIES = 8.0
TICKS = 54
_BLIND = range(20, 24)


def in_flight(t_s: float) -> float:
    """Requests in flight, ``t_s`` seconds into the run: 5, up to 14, back to 5."""
    rise = 1 / (1 + math.exp(-(t_s - 80) / 8))
    fall = 1 / (1 + math.exp(-(t_s - 180) / 6))
    return 5.0 + 9.0 * (rise - fall) + 0.7 * math.sin(t_s / 3.1)


def episode() -> tuple[TickRecord, ...]:
    """Every tick of the run, oldest first."""
    records: list[TickRecord] = []
    target, ordered_at = 1, -math.inf
    ledger: tuple[Order, ...] = ()
    for tick in range(TICKS):
        t_s = tick * INTERVAL_S
        band = _band(t_s)
        ready = 1 if target == 1 or t_s < ordered_at + LEAD_S else 2
        needed = 2 if max(in_flight(t_s), band[-1][1]) > CARRIES else 1
        held = needed < target and t_s < 215.0
        wanted = target if held or tick in _BLIND else needed
        if wanted > target:
            ordered_at = t_s
            ledger = (_order(t_s),)
        ledger = tuple(_arrived(order, t_s) for order in ledger if t_s < ordered_at + LEAD_S + 20)
        records.append(
            record(
                _deployment(tick, target=target, ready=ready, wanted=wanted, band=band, held=held),
                tick=tick + 1,
                at=START + t_s,
                ledger=ledger,
                sources=_sources(tick),
                degraded=("haproxy/10.0.0.3:9101 is stale: nothing is lowered",) if tick in _BLIND else (),
                step_seconds=(("collect", 0.11 + 0.002 * (tick % 7)), ("decide", 0.004), ("record", 0.006)),
            )
        )
        target = wanted
    return tuple(records)


def episode_load() -> LoadResult:
    """What a load generator saw of the same run; a burst of refusals at the peak."""
    rows: list[RequestRow] = []
    t_s = 0.0
    while t_s < TICKS * INTERVAL_S:
        slow = in_flight(t_s) / CARRIES
        refused = 112 < t_s < 116
        rows.append(
            RequestRow(
                index=len(rows),
                at=START + t_s,
                scheduled_s=t_s,
                prompt_tokens=120,
                output_tokens=24,
                status="http_503" if refused else "ok",
                lag_s=0.001,
                http_status=503 if refused else 200,
                ttft_s=None if refused else 0.12 * slow**2 + 0.02,
                total_s=0.01 if refused else 0.4 * slow + 0.2,
                itl_s=() if refused else (0.012 * slow, 0.016 * slow, 0.011 * slow),
                chunks=0 if refused else 24,
            )
        )
        t_s += 2.0 / in_flight(t_s)
    return LoadResult.of(rows)


def _band(t_s: float) -> tuple[tuple[float, float], ...]:
    ahead = max(in_flight(t_s + s) for s in range(0, int(LEAD_S) + 1, 5))
    return ((0.1, 0.9 * ahead), (0.5, ahead), (0.9, 1.12 * ahead))


def _deployment(
    tick: int, *, target: int, ready: int, wanted: int, band: tuple[tuple[float, float], ...], held: bool
) -> DeploymentRecord:
    t_s = tick * INTERVAL_S
    now = in_flight(t_s)
    slow = now / (CARRIES * ready)
    blind = tick in _BLIND
    demand: Reading = Unknown("haproxy is stale") if blind else Known(now, 0.4)
    moving = wanted != target
    return deployment_record(
        snapshot=snapshot(
            at=START + t_s,
            target_replicas=target,
            replicas=ReplicaCounts(ready=ready, starting=target - ready, stopping=0),
            demand={Signal.ONGOING_REQUESTS: demand, Signal.REQUESTS: Known(now * 0.5, 0.4)},
            latency=Latency(
                ttft_p50_s=Known(0.1 * slow),
                ttft_p95_s=Known(0.3 * slow**2 + 0.05),
                itl_p50_s=Known(0.01 * slow),
                itl_p95_s=Known(0.03 * slow) if slow > 0.2 else Unknown("idle"),
            ),
            sources=_sources(tick),
            blind_spots=("haproxy/10.0.0.3:9101",) if blind else (),
        ),
        decision=decision(
            current=target,
            desired=wanted,
            action=_action(target, wanted),
            binding=_why(target, wanted, held=held, blind=blind),
            steps=_steps(target, wanted, now, band[-1][1], held=held, blind=blind),
            capacity=Capacity(per_replica={Signal.ONGOING_REQUESTS: CARRIES}, source=CapacitySource.POLICY),
            forecasts=(
                Forecast(
                    signal=Signal.ONGOING_REQUESTS,
                    at=START + t_s,
                    horizon_s=LEAD_S,
                    quantiles=band,
                    method="damped_trend",
                    history_s=t_s,
                ),
            ),
        ),
        outcome=Outcome(
            id=CHAT,
            status=OutcomeStatus.APPLIED if moving else OutcomeStatus.NOTHING_TO_DO,
            attempts=int(moving),
            duration_s=0.04 if moving else 0.0,
        ),
    )


def _action(target: int, wanted: int) -> Action:
    if wanted == target:
        return Action.NONE
    return Action.SCALE_UP if wanted > target else Action.SCALE_DOWN


def _why(target: int, wanted: int, *, held: bool, blind: bool) -> Why:
    if blind:
        return Why.BLIND_SPOT
    if held:
        return Why.DOWNSCALE_DELAY
    if wanted > target:
        return Why.FORECAST
    return Why.DEMAND if wanted < target else Why.STEADY


def _steps(target: int, wanted: int, now: float, ahead: float, *, held: bool, blind: bool) -> tuple[Step, ...]:
    size = Step(
        "size",
        2 if max(now, ahead) > CARRIES else 1,
        Why.DEMAND if wanted < target else Why.FORECAST,
        f"{now:.1f} in flight now, {ahead:.1f} within {LEAD_S:.0f} s (p90); one replica carries {CARRIES:.0f}",
    )
    stable = Step(
        "stabilise",
        wanted,
        _why(target, wanted, held=held, blind=blind),
        "lower for less than 45 s: keep" if held else "",
    )
    return size, stable, Step("limit", wanted, _why(target, wanted, held=held, blind=blind), "within 1 and 2")


def _order(t_s: float) -> Order:
    return Order(id=CHAT, ordered_at=START + t_s, from_replicas=1, to_replicas=2, deadline=START + t_s + 45)


def _arrived(order: Order, t_s: float) -> Order:
    if START + t_s < order.ordered_at + LEAD_S:
        return order
    return Order(
        id=order.id,
        ordered_at=order.ordered_at,
        from_replicas=order.from_replicas,
        to_replicas=order.to_replicas,
        deadline=order.deadline,
        status=OrderStatus.ARRIVED,
        closed_at=order.ordered_at + LEAD_S,
    )


def _sources(tick: int) -> tuple[SourceHealth, ...]:
    if tick not in _BLIND:
        return FRESH
    haproxy = FRESH[0]
    age_s = (tick - _BLIND.start + 1) * INTERVAL_S + 30
    stale = SourceHealth(source=haproxy.source, kind=haproxy.kind, age_s=age_s, stale=True, error="connection refused")
    return (stale, *FRESH[1:])
