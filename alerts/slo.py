"""Service level objectives of a policy: recorded events and burn rates, and alerts over several windows.

Windows, factors and the two-window test follow Google's SRE Workbook, chapter 5, "Alerting on SLOs".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alerts.buckets import VLLM_ITL_BOUNDS, VLLM_TTFT_BOUNDS, weights
from alerts.rule import Alert, Group, Recording, Severity, Team
from controller.catalog import recorded
from controller.catalog.metric import Metric
from controller.catalog.promql import equals, matches, selector
from controller.policy.model import DeploymentPolicy, Policy

TIME_OBJECTIVE = 0.95
"""Objectives in seconds hold at the 95th percentile, so for this share of events."""

LEAST_BAD_EVENTS = 10
"""An alert needs this many in its long window: one slow request at night wakes nobody."""

_BUDGET_EVERY = 5
"""The budget looks back over 30 days, so it is computed for every so many evaluations of the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Two windows that must both burn faster than ``factor``: the long one proves, the short one resets."""

    long: str
    short: str
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a budget burns, by any of ``windows``, for ``hold``; ``counted`` is where bad events are counted."""

    name: str
    windows: tuple[Windows, ...]
    counted: str
    hold: str
    severity: Severity
    impact: str


FAST = Pace(
    name="fast",
    windows=(Windows(long="1h", short="5m", factor=14.4), Windows(long="6h", short="30m", factor=6.0)),
    counted="1h",
    hold="2m",
    severity=Severity.PAGE,
    impact="At this pace a month's error budget is gone within two days; users notice now.",
)
SLOW = Pace(
    name="slow",
    windows=(Windows(long="1d", short="2h", factor=3.0), Windows(long="3d", short="6h", factor=1.0)),
    counted="3d",
    hold="15m",
    severity=Severity.TICKET,
    impact="At this pace the error budget does not last the month.",
)
PACES = (FAST, SLOW)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_KINDS = {
    "ttft": ("TimeToFirstTokenBudgetBurn", "time to first token", "{{ $labels.application }}/{{ $labels.deployment }}"),
    "itl": ("InterTokenLatencyBudgetBurn", "inter-token latency", "{{ $labels.application }}/{{ $labels.deployment }}"),
    "success": ("RequestFailureBudgetBurn", "request success", "{{ $labels.application }}"),
}


def seconds(duration: str) -> float:
    """Return a window or hold, such as 30m, in seconds."""
    return float(duration[:-1]) * _SECONDS[duration[-1]]


def slo_groups(policy: Policy, *, every_s: int) -> tuple[Group, ...]:
    """Return the recordings of every objective in a policy, their burn rates, and the alerts."""
    return (
        Group(name="foreserve-slo-events", rules=tuple(_events(policy.deployments)), interval_s=every_s),
        Group(name="foreserve-slo-burn", rules=tuple(_burn_rates()), interval_s=every_s),
        Group(name="foreserve-slo-budget", rules=(_budget_left(),), interval_s=_BUDGET_EVERY * every_s),
        Group(name="foreserve-slo-alerts", rules=tuple(_alerts(every_s)), interval_s=every_s),
    )


def _events(deployments: Sequence[DeploymentPolicy]) -> Iterator[Recording]:
    for deployment in deployments:
        objectives = deployment.objectives
        names = {"application": deployment.application, "deployment": deployment.deployment}
        yield from _timed("ttft", names, objectives.ttft_s, recorded.TTFT_BUCKET, VLLM_TTFT_BOUNDS)
        yield from _timed("itl", names, objectives.itl_s, recorded.ITL_BUCKET, VLLM_ITL_BOUNDS)
    strictest: dict[str, float] = {}
    for deployment in deployments:
        promised = deployment.objectives.success_ratio
        strictest[deployment.application] = max(promised, strictest.get(deployment.application, 0.0))
    for application, ratio in strictest.items():
        yield from _success(application, ratio)


def _timed(
    slo: str, names: dict[str, str], threshold_s: float, buckets: Metric, bounds: Sequence[float]
) -> Iterator[Recording]:
    labels = {**names, "slo": slo}
    of = [equals(label, value) for label, value in names.items()]
    total = f"sum without (le) ({selector(buckets, *of, equals('le', '+Inf'))})"
    good = " + ".join(
        f"{weight:.6g} * sum without (le) ({selector(buckets, *of, matches('le', bound))})"
        for bound, weight in weights(threshold_s, bounds).items()
    )
    yield Recording(metric=recorded.SLO_OBJECTIVE, expr=f"vector({TIME_OBJECTIVE})", labels=labels)
    yield Recording(metric=recorded.SLO_THRESHOLD, expr=f"vector({threshold_s:g})", labels=labels)
    yield Recording(metric=recorded.SLO_EVENTS, expr=total, labels=labels)
    yield Recording(metric=recorded.SLO_BAD_EVENTS, expr=f"clamp_min({total} - ({good}), 0)", labels=labels)


def _success(application: str, ratio: float) -> Iterator[Recording]:
    labels = {"application": application, "slo": "success"}
    of = equals("application", application)
    yield Recording(metric=recorded.SLO_OBJECTIVE, expr=f"vector({ratio:g})", labels=labels)
    for metric, views in (
        (recorded.SLO_EVENTS, recorded.HTTP_REQUESTS),
        (recorded.SLO_BAD_EVENTS, recorded.HTTP_FAILURES),
    ):
        yield Recording(metric=metric, expr=f"max by (cluster, application) ({selector(views, of)})", labels=labels)


def _burn_rates() -> Iterator[Recording]:
    for window, metric in recorded.SLO_BURN.items():
        yield Recording(metric=metric, expr=_burn(window))


def _burn(window: str) -> str:
    """Return the share of bad events as a multiple of the share that the objective allows.

    Without events there is no series: silence neither burns nor earns.
    """
    bad = f"sum_over_time({recorded.SLO_BAD_EVENTS.name}[{window}])"
    events = f"(sum_over_time({recorded.SLO_EVENTS.name}[{window}]) > 0)"
    allowed = f"(1 - {recorded.SLO_OBJECTIVE.name})"
    return f"{bad} / {events} / on (application, deployment, slo) group_left () {allowed}"


def _budget_left() -> Recording:
    return Recording(metric=recorded.SLO_BUDGET_LEFT, expr=f"1 - {_burn('30d')}")


def _alerts(every_s: int) -> Iterator[Alert]:
    for slo, (name, what, where) in _KINDS.items():
        for pace in PACES:
            yield Alert(
                name=name,
                expr=f"({_both(slo, pace.windows)}) and {_enough(slo, pace.counted, every_s)}",
                hold=pace.hold,
                severity=pace.severity,
                team=Team.SERVICE,
                summary=f"{where} burns its {what} budget {{{{ $value | humanize }}}} times as fast as it may.",
                impact=pace.impact,
                labels={"pace": pace.name},
            )


def _both(slo: str, pairs: Sequence[Windows]) -> str:
    of = equals("slo", slo)
    return " or ".join(
        f"({selector(recorded.SLO_BURN[pair.long], of)} > {pair.factor:g}"
        f" and {selector(recorded.SLO_BURN[pair.short], of)} > {pair.factor:g})"
        for pair in pairs
    )


def _enough(slo: str, window: str, every_s: int) -> str:
    bad = selector(recorded.SLO_BAD_EVENTS, equals("slo", slo))
    return f"(sum_over_time({bad}[{window}]) * {every_s} >= {LEAST_BAD_EVENTS})"
