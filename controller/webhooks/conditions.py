"""What one tick's record says is the case: conditions that last, and things that happened. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from alerts.rule import Severity
from alerts.slo import PACES, Pace, seconds
from controller.domain.canary import CanaryPhase
from controller.domain.cluster_record import ClusterRecord
from controller.domain.event import Fact, Gravity, Topic
from controller.domain.identity import DeploymentId
from controller.domain.objective import Objective
from controller.domain.plan import Action, OrderStatus, OutcomeStatus, Reason
from controller.domain.pools import VerdictKind
from controller.domain.record import DeploymentRecord, TickRecord
from controller.webhooks.budgets import Budget, Spending, budgets, burning

_HELD = frozenset({Reason.NO_DATA, Reason.BLIND_SPOT, Reason.PAUSED, Reason.FROZEN, Reason.HELD})
_PROMISES = {
    Objective.TTFT: "time to first token",
    Objective.ITL: "inter-token latency",
    Objective.SUCCESS: "request success",
}
_FAILED = frozenset({OutcomeStatus.REFUSED, OutcomeStatus.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is the case. It begins and ends after it was so, or was not so, for ``hold_s`` seconds."""

    key: str
    topic: Topic
    gravity: Gravity
    summary: str
    deployment: DeploymentId | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a record says. What is ``unknown`` (keys) stays as it was."""

    conditions: tuple[Condition, ...]
    happened: tuple[Condition, ...]
    unknown: frozenset[str]


def situation(record: TickRecord, spent: Mapping[str, Spending] = MappingProxyType({})) -> Situation:
    """Read a record; ``spent`` is what was counted of objectives up to it."""
    lasting = [
        *(one for entry in record.deployments for one in _of_deployment(entry)),
        *_late(record),
        *_verdicts(record),
        *(() if record.cluster is None else _awaited_below(record.cluster)),
        *_overrides(record),
        *_canaries(record),
        *_burning(record, spent),
    ]
    happened = [*(one for entry in record.deployments for one in _applied(entry)), *_fights(record)]
    unknown = frozenset(_burn_key(one, pace) for one in budgets(record) if one.events is None for pace in PACES)
    return Situation(tuple(lasting), tuple(happened), unknown)


def _of_deployment(entry: DeploymentRecord) -> Iterator[Condition]:
    yield from _held(entry)
    yield from _failed(entry)
    yield from _awaited(entry)
    yield from _distrusted(entry)


def _held(entry: DeploymentRecord) -> Iterator[Condition]:
    decision = entry.decision
    if decision.action is not Action.NONE or decision.binding not in _HELD:
        return
    reason = decision.binding.value
    why = next((step.detail for step in decision.steps if step.reason is decision.binding and step.detail), reason)
    blind = decision.binding in {Reason.NO_DATA, Reason.BLIND_SPOT}
    yield Condition(
        key=f"{Topic.DECISION_HELD}/{decision.id}/{reason}",
        topic=Topic.DECISION_HELD,
        gravity=Gravity.WARNING if blind else Gravity.INFO,
        summary=f"{decision.id} is left at {_number(decision.current)} replicas ({reason}): {why}",
        deployment=decision.id,
        facts={"current": decision.current, "reason": reason},
    )


def _failed(entry: DeploymentRecord) -> Iterator[Condition]:
    decision, outcome = entry.decision, entry.outcome
    if outcome.status not in _FAILED:
        return
    change = f"{_number(decision.current)} → {_number(decision.desired)}"
    yield Condition(
        key=f"{Topic.DECISION_FAILED}/{decision.id}",
        topic=Topic.DECISION_FAILED,
        gravity=Gravity.ERROR,
        summary=f"{decision.id}: {change} replicas was {_words(outcome.status)}: {outcome.detail}",
        deployment=decision.id,
        facts={"current": decision.current, "desired": decision.desired, "outcome": outcome.status.value},
    )


def _awaited(entry: DeploymentRecord) -> Iterator[Condition]:
    decision, outcome = entry.decision, entry.outcome
    if outcome.status is not OutcomeStatus.AWAITING or outcome.proposal is None:
        return
    change = f"{_number(decision.current)} → {_number(decision.desired)}"
    yield Condition(
        key=f"{Topic.APPROVAL_AWAITED}/{outcome.proposal}",
        topic=Topic.APPROVAL_AWAITED,
        gravity=Gravity.WARNING,
        summary=f"{decision.id}: {change} replicas waits for a word ({decision.binding.value}): {outcome.proposal}",
        deployment=decision.id,
        facts={
            "proposal": outcome.proposal,
            "current": decision.current,
            "desired": decision.desired,
            "reason": decision.binding.value,
        },
    )


def _awaited_below(cluster: ClusterRecord) -> Iterator[Condition]:
    steps = {(step.layer, step.name): step for step in cluster.steps}
    waiting = {one.proposal: one for one in cluster.outcomes if one.status is OutcomeStatus.AWAITING and one.proposal}
    for proposal, outcome in waiting.items():
        step = steps[outcome.layer, outcome.name]
        yield Condition(
            key=f"{Topic.APPROVAL_AWAITED}/{proposal}",
            topic=Topic.APPROVAL_AWAITED,
            gravity=Gravity.WARNING,
            summary=f"{step.layer.value} {step.name}: {step.found} → {step.wanted} waits for a word: {proposal}",
            deployment=None,
            facts={
                "proposal": proposal,
                "current": step.found,
                "desired": step.wanted,
                "layer": step.layer.value,
                "name": step.name,
            },
        )


def _distrusted(entry: DeploymentRecord) -> Iterator[Condition]:
    for standing in entry.standings:
        if not standing.trusted:
            name = f"{standing.signal.value} {standing.horizon_s:.0f} s ahead"
            yield Condition(
                key=f"{Topic.FORECAST_NOT_TRUSTED}/{entry.decision.id}/{standing.signal.value}",
                topic=Topic.FORECAST_NOT_TRUSTED,
                gravity=Gravity.WARNING,
                summary=f"{entry.decision.id}: the forecast of {name} covers {standing.coverage:.0%} and is not used",
                deployment=entry.decision.id,
                facts={
                    "signal": standing.signal.value,
                    "coverage": standing.coverage,
                    "promised": standing.probability,
                },
            )


def _burning(record: TickRecord, spent: Mapping[str, Spending]) -> Iterator[Condition]:
    for one in budgets(record):
        for pace in PACES:
            burn = burning(spent[one.key], pace, one.promised) if one.key in spent else None
            if burn is None:
                continue
            where = one.application if one.deployment is None else str(one.deployment)
            late = "" if one.threshold_s is None else f" of {one.threshold_s:g} s"
            yield Condition(
                key=_burn_key(one, pace),
                topic=Topic.SLO_BURN,
                gravity=Gravity.CRITICAL if pace.severity is Severity.PAGE else Gravity.WARNING,
                summary=(
                    f"{where} burns its error budget of {_PROMISES[one.objective]}{late} {burn.rate:.3g} times as fast "
                    f"as it may, over {burn.long} and {burn.short}"
                ),
                deployment=one.deployment,
                facts={
                    "application": one.application,
                    "objective": one.objective.value,
                    "threshold_s": one.threshold_s,
                    "promised": one.promised,
                    "pace": pace.name,
                    "burn_rate": burn.rate,
                    "long_window": burn.long,
                    "short_window": burn.short,
                },
                hold_s=seconds(pace.hold),
            )


def _burn_key(one: Budget, pace: Pace) -> str:
    return f"{Topic.SLO_BURN}/{one.key}/{pace.name}"


def _late(record: TickRecord) -> Iterator[Condition]:
    for order in record.ledger:
        if order.status is OrderStatus.LATE:
            what = "to drain" if order.gives_back else "to serve"
            yield Condition(
                key=f"{Topic.CAPACITY_LATE}/{order.id}/{order.ordered_at:.3f}",
                topic=Topic.CAPACITY_LATE,
                gravity=Gravity.WARNING if order.gives_back else Gravity.ERROR,
                summary=f"{order.id}: {order.from_replicas} → {order.to_replicas} replicas are late {what}",
                deployment=order.id,
                facts={"from": order.from_replicas, "to": order.to_replicas, "deadline": order.deadline},
            )


def _verdicts(record: TickRecord) -> Iterator[Condition]:
    """What node pools do not give, and why."""
    for verdict in () if record.cluster is None else record.cluster.verdicts:
        topic = Topic.CAPACITY_LATE if verdict.kind is VerdictKind.LATE else Topic.STOCK_OUT
        place = f"{verdict.pool} in {verdict.zone}" if verdict.zone else verdict.pool
        yield Condition(
            key=f"{topic}/{verdict.pool}/{verdict.zone or ''}/{verdict.kind.value}",
            topic=topic,
            gravity=Gravity.ERROR,
            summary=f"node pool {place} gives no nodes ({verdict.kind.value.replace('_', ' ')}): {verdict.detail}",
            facts={"pool": verdict.pool, "zone": verdict.zone, "kind": verdict.kind.value, "until": verdict.until},
        )


def _overrides(record: TickRecord) -> Iterator[Condition]:
    for one in record.overrides:
        where = "every deployment" if one.deployment is None else str(one.deployment)
        more = f" by {one.replicas}" if one.replicas else ""
        yield Condition(
            key=f"{Topic.OVERRIDE}/{one.id}",
            topic=Topic.OVERRIDE,
            gravity=Gravity.INFO,
            summary=f"{where}: {one.action.value.replace('_', ' ')}{more}, asked for by {one.owner}: {one.reason}",
            deployment=one.deployment,
            facts={"override": one.id, "action": one.action.value, "owner": one.owner, "until": one.until},
        )


def _canaries(record: TickRecord) -> Iterator[Condition]:
    for one in record.canaries:
        progress, phase = one.progress, one.progress.phase
        if phase is CanaryPhase.WAITING:
            continue
        worse = phase in {CanaryPhase.TAKEN_BACK, CanaryPhase.OVERRIDDEN}
        # Of a ramp only its beginning and end are told: its share moves on.
        what = "is brought into traffic" if phase is CanaryPhase.RAMPING else progress.why
        yield Condition(
            key=f"{Topic.CANARY}/{one.name}/{progress.build}/{phase.value}",
            topic=Topic.CANARY,
            gravity=Gravity.WARNING if worse else Gravity.INFO,
            summary=f"canary {one.name}, build {progress.build}: {what}",
            facts={"canary": one.name, "build": progress.build, "phase": phase.value, "share": progress.share},
        )


def _applied(entry: DeploymentRecord) -> Iterator[Condition]:
    decision = entry.decision
    if entry.outcome.status is not OutcomeStatus.APPLIED or decision.action is Action.NONE:
        return
    why = next((step.detail for step in decision.steps if step.reason is decision.binding and step.detail), "")
    yield Condition(
        key=f"{Topic.DECISION_APPLIED}/{decision.id}",
        topic=Topic.DECISION_APPLIED,
        gravity=Gravity.INFO,
        summary=(
            f"{decision.id}: {_number(decision.current)} → {_number(decision.desired)} replicas "
            f"({decision.binding.value}){': ' if why else ''}{why}"
        ),
        deployment=decision.id,
        facts={
            "current": decision.current,
            "desired": decision.desired,
            "action": decision.action.value,
            "reason": decision.binding.value,
        },
    )


def _fights(record: TickRecord) -> Iterator[Condition]:
    for conflict in record.conflicts:
        if conflict.cause == "second_writer":
            yield Condition(
                key=f"{Topic.FIGHT}/{conflict.id}",
                topic=Topic.FIGHT,
                gravity=Gravity.WARNING,
                summary=(
                    f"{conflict.id}: something else set {conflict.found} replicas; {conflict.expected} was set here"
                ),
                deployment=conflict.id,
                facts={"expected": conflict.expected, "found": conflict.found},
            )


def _number(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _words(status: OutcomeStatus) -> str:
    return status.value.replace("_", " ")
