"""The controller's own Prometheus metrics, built from its records and the loop's events alone."""

from __future__ import annotations

import bisect
import itertools
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version as installed

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from controller.catalog import exported
from controller.catalog.metric import Kind, Metric, Series
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, OutcomeStatus, Reason
from controller.domain.record import TickRecord
from controller.export.series import gauges
from controller.ports import Leadership, LoopEvent

_TICK_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_EVENT_COUNTERS: dict[LoopEvent, tuple[Metric, tuple[str, ...]]] = {
    LoopEvent.TICK_FAILED: (exported.TICK_FAILURES, ()),
    LoopEvent.TICK_SKIPPED: (exported.TICKS_SKIPPED, ()),
    LoopEvent.POLICY_RELOADED: (exported.POLICY_RELOADS, ("reloaded",)),
    LoopEvent.POLICY_REJECTED: (exported.POLICY_RELOADS, ("rejected",)),
    LoopEvent.STORE_FAILED: (exported.STORE_ERRORS, ()),
    LoopEvent.FORECAST_FAILED: (exported.FORECAST_PROBLEMS, ("failed",)),
    LoopEvent.FORECAST_LATE: (exported.FORECAST_PROBLEMS, ("late",)),
}

_API_REFUSALS = ("no_token", "wrong_token", "scope", "cross_site", "oversized", "slow")

_USUAL_REASONS: dict[Action, tuple[Reason, ...]] = {
    Action.SCALE_UP: (
        Reason.DEMAND,
        Reason.FORECAST,
        Reason.SCHEDULE,
        Reason.WAKE,
        Reason.RAISED_FLOOR,
        Reason.AT_MIN,
        Reason.AT_MAX,
        Reason.MAX_STEP_UP,
        Reason.BUDGET,
        Reason.NO_PLACE,
        Reason.NODE_READY,
    ),
    Action.SCALE_DOWN: (
        Reason.DEMAND,
        Reason.FORECAST,
        Reason.IDLE,
        Reason.AT_MIN,
        Reason.MAX_STEP_DOWN,
        Reason.BUDGET,
    ),
    Action.NONE: (
        Reason.STEADY,
        Reason.NO_DATA,
        Reason.BLIND_SPOT,
        Reason.UPSCALE_DELAY,
        Reason.DOWNSCALE_DELAY,
        Reason.DRAIN_WAIT,
        Reason.BUDGET,
        Reason.NO_PLACE,
        Reason.NODE_READY,
        Reason.PAUSED,
        Reason.FROZEN,
        Reason.HELD,
    ),
}
"""Pairs that start at 0, so that the first one counts as an increase. Others appear when they happen."""


class MetricsExporter(Collector):
    """Holds the latest record's gauges and the counters since the start, in a registry of its own.

    A series whose labels are not in the latest record is gone from the page. ``leadership`` says, as of the moment
    of the scrape, whether this controller is the one that acts; without it it is.
    """

    def __init__(self, leadership: Leadership | None = None) -> None:
        self._leadership = leadership
        self._gauges: tuple[Series, ...] = ()
        self._counters: Counter[tuple[Metric, tuple[str, ...]]] = Counter()
        self._counted: set[DeploymentId] = set()
        self._others: list[Callable[[], Iterable[Series]]] = []
        self._tick_buckets = [0] * (len(_TICK_BUCKETS_S) + 1)
        self._tick_seconds = 0.0
        self._build = (installed("foreserve"), platform.python_version())
        refusals = ((exported.API_REFUSALS, (reason,)) for reason in _API_REFUSALS)
        self._start_at_zero((exported.TICKS, ()), *_EVENT_COUNTERS.values(), *refusals)
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def export(self, record: TickRecord) -> None:
        """Take one record over."""
        self._gauges = tuple(gauges(record))
        self._counters[exported.TICKS, ()] += 1
        self._time(sum(seconds for _, seconds in record.step_seconds))
        self._count(record)

    def note(self, event: LoopEvent) -> None:
        """Count one event of the loop."""
        self._counters[_EVENT_COUNTERS[event]] += 1

    def count(self, metric: Metric, /, *labels: str, by: int = 1) -> None:
        """Count something that happens beside the loop; by 0 makes its series begin."""
        self._counters[metric, labels] += by

    def also(self, series: Callable[[], Iterable[Series]]) -> None:
        """Show these too, as they are when the page is read."""
        self._others.append(series)

    def describe(self) -> Iterable[Family]:
        """Describe nothing beforehand: which series exist depends on what was seen."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Yield every catalogued family that has a series."""
        families: dict[Metric, Family] = {}
        build: Series = (exported.BUILD_INFO, self._build, 1)
        counters = ((metric, labels, count) for (metric, labels), count in self._counters.items())
        leads: Series = (exported.LEADS, (), self._leadership is None or self._leadership.may_act())
        others = itertools.chain.from_iterable(series() for series in self._others)
        for metric, labels, value in itertools.chain([build, leads], self._gauges, counters, others):
            family = families.setdefault(metric, _family(metric))
            family.add_metric(labels, float(value))  # type: ignore[attr-defined]
        yield from families.values()
        yield self._tick_durations()

    def _count(self, record: TickRecord) -> None:
        for deployment in record.deployments:
            decision = deployment.decision
            names = (decision.id.application, decision.id.deployment)
            if decision.id not in self._counted:
                self._counted.add(decision.id)
                self._start_at_zero(*_deployment_counters(names))
            self._counters[exported.DECISIONS, (*names, decision.action.value, decision.binding.value)] += 1
            self._counters[exported.ACTUATIONS, (*names, deployment.outcome.status.value)] += 1
        for one in () if record.cluster is None else record.cluster.outcomes:
            layer = (one.layer.value, one.name, one.lever, one.status.value)
            self._counters[exported.LAYER_ACTUATIONS, layer] += 1
        for conflict in record.conflicts:
            labels = (conflict.id.application, conflict.id.deployment, conflict.cause)
            self._counters[exported.CONFLICTS, labels] += 1

    def _start_at_zero(self, *keys: tuple[Metric, tuple[str, ...]]) -> None:
        for key in keys:
            self._counters[key] += 0

    def _time(self, seconds: float) -> None:
        self._tick_buckets[bisect.bisect_left(_TICK_BUCKETS_S, seconds)] += 1
        self._tick_seconds += seconds

    def _tick_durations(self) -> Family:
        metric = exported.TICK_DURATION
        family = HistogramMetricFamily(metric.name, metric.help)
        bounds = [*map(str, _TICK_BUCKETS_S), "+Inf"]
        cumulative = itertools.accumulate(self._tick_buckets)
        family.add_metric([], list(zip(bounds, cumulative, strict=True)), self._tick_seconds)
        return family


def _family(metric: Metric) -> Family:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)


def _deployment_counters(names: tuple[str, str]) -> Iterator[tuple[Metric, tuple[str, ...]]]:
    for action, reasons in _USUAL_REASONS.items():
        for reason in reasons:
            yield exported.DECISIONS, (*names, action.value, reason.value)
    for outcome in OutcomeStatus:
        if outcome is not OutcomeStatus.PENDING:
            yield exported.ACTUATIONS, (*names, outcome.value)
    for cause in ("redeploy", "second_writer"):
        yield exported.CONFLICTS, (*names, cause)
