"""One tick's record as series of catalogued gauges. A pure function of the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controller.catalog import exported
from controller.catalog.metric import Metric, Series
from controller.domain.forecast import Forecast, ForecastStanding
from controller.domain.override import OverrideAction
from controller.domain.plan import Decision, OrderStatus, OutcomeStatus
from controller.domain.reading import Known, Reading
from controller.domain.record import DeploymentRecord, PolicyTerms, TickRecord
from controller.domain.scrape import SourceHealth
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.export.canary_series import canary_gauges
from controller.export.cluster_series import cluster_gauges

_REPLICA_HORIZON = "replica"

_Names = tuple[str, str]


def gauges(record: TickRecord) -> Iterator[Series]:
    """Yield every series of one record. What is unknown yields nothing, so its series ends."""
    yield exported.LAST_TICK, (), record.at
    yield exported.DEGRADED, (), len(record.degraded)
    yield exported.POLICY_INFO, (record.policy_version, record.mode), 1
    for step, seconds in record.step_seconds:
        yield exported.STEP_DURATION, (step,), seconds
    for source in record.sources:
        yield from _source(source)
    for deployment in record.deployments:
        yield from _deployment(deployment, record.at)
    yield from _ledger(record)
    yield from _overrides(record)
    if record.cluster is not None:
        yield from cluster_gauges(record.cluster)
    for canary in record.canaries:
        yield from canary_gauges(canary)
    for use in record.budget:
        yield exported.BUDGET_LIMIT, (use.resource,), use.limit
        yield exported.BUDGET_HELD, (use.resource,), use.held
        yield exported.BUDGET_WANTED, (use.resource,), use.wanted


def _overrides(record: TickRecord) -> Iterator[Series]:
    """All kinds, so that none in force is a 0."""
    for action in OverrideAction:
        yield exported.OVERRIDES, (action.value,), sum(one.action is action for one in record.overrides)


def _source(source: SourceHealth) -> Iterator[Series]:
    labels = (source.source, source.kind.value)
    yield exported.SOURCE_UP, labels, not source.stale
    if source.age_s is not None:
        yield exported.SOURCE_AGE, labels, source.age_s


def _deployment(record: DeploymentRecord, at: float) -> Iterator[Series]:
    names = (record.snapshot.id.application, record.snapshot.id.deployment)
    yield from _demand(names, record.snapshot)
    yield from _observed(names, record.snapshot)
    yield from _replicas(names, record)
    yield from _decision(names, record.decision)
    yield exported.AWAITING_APPROVAL, names, record.outcome.status is OutcomeStatus.AWAITING
    for forecast in record.decision.forecasts:
        yield from _forecast(names, forecast)
    for standing in record.standings:
        yield from _standing(names, standing, at)
    if record.terms is not None:
        yield from _terms(names, record.terms)


def _demand(names: _Names, snapshot: Snapshot) -> Iterator[Series]:
    for signal in Signal:
        reading = snapshot.reading(signal)
        yield exported.SIGNAL_KNOWN, (*names, signal.value), isinstance(reading, Known)
        if isinstance(reading, Known):
            yield exported.DEMAND, (*names, signal.value), reading.value
            yield exported.SIGNAL_AGE, (*names, signal.value), reading.age_s


def _observed(names: _Names, snapshot: Snapshot) -> Iterator[Series]:
    yield exported.IDLE, names, snapshot.idle
    yield exported.BLIND_SPOTS, names, len(snapshot.blind_spots)
    latency = snapshot.latency
    yield from _known(exported.QUEUED, names, snapshot.queued_requests)
    yield from _known(exported.SHED, names, snapshot.shed_per_s)
    yield from _known(exported.ERRORS, names, snapshot.errors_per_s)
    yield from _known(exported.KV_CACHE_USAGE, names, snapshot.kv_cache_usage)
    yield from _known(exported.TTFT, (*names, "0.5"), latency.ttft_p50_s)
    yield from _known(exported.TTFT, (*names, "0.95"), latency.ttft_p95_s)
    yield from _known(exported.ITL, (*names, "0.5"), latency.itl_p50_s)
    yield from _known(exported.ITL, (*names, "0.95"), latency.itl_p95_s)


def _known(metric: Metric, labels: tuple[str, ...], reading: Reading) -> Iterator[Series]:
    if isinstance(reading, Known):
        yield metric, labels, reading.value


def _replicas(names: _Names, record: DeploymentRecord) -> Iterator[Series]:
    if record.snapshot.target_replicas is not None:
        yield exported.TARGET_REPLICAS, names, record.snapshot.target_replicas
    if record.decision.desired is not None:
        yield exported.DESIRED_REPLICAS, names, record.decision.desired
    if record.snapshot.replicas is not None:
        yield exported.READY_REPLICAS, names, record.snapshot.replicas.ready
        yield exported.STARTING_REPLICAS, names, record.snapshot.replicas.starting
        yield exported.STOPPING_REPLICAS, names, record.snapshot.replicas.stopping


def _decision(names: _Names, decision: Decision) -> Iterator[Series]:
    for step in decision.steps:
        yield exported.STAGE_REPLICAS, (*names, step.stage), step.replicas
    lead = decision.lead
    for quantile, seconds in (("0.5", lead.p50_s), ("0.9", lead.p90_s), ("0.95", lead.p95_s)):
        yield exported.LEAD_TIME, (*names, quantile, lead.source.value), seconds
    for layer in lead.layers:
        yield exported.LEAD_LAYER, (*names, layer.layer.value, layer.source.value), layer.p90_s
    for signal, load in decision.capacity.per_replica.items():
        yield exported.CAPACITY, (*names, signal.value, decision.capacity.source.value), load
    yield exported.FORECAST_AVAILABLE, names, bool(decision.forecasts)
    if decision.forecasts:
        yield exported.FORECAST_HORIZON, (*names, _REPLICA_HORIZON), decision.forecasts[0].horizon_s


def _forecast(names: _Names, forecast: Forecast) -> Iterator[Series]:
    signal = forecast.signal.value
    yield exported.FORECAST_INFO, (*names, signal, forecast.method), 1
    for probability, value in forecast.quantiles:
        yield exported.FORECAST, (*names, signal, f"{probability:g}", _REPLICA_HORIZON), value


def _standing(names: _Names, standing: ForecastStanding, at: float) -> Iterator[Series]:
    labels = (*names, standing.signal.value, f"{standing.horizon_s:g}")
    yield exported.FORECAST_PINBALL_LOSS, labels, standing.pinball_loss
    yield exported.FORECAST_COVERAGE, labels, standing.coverage
    yield exported.FORECAST_PROMISE, labels, standing.probability
    yield exported.FORECAST_BIAS, labels, standing.bias
    yield exported.FORECAST_TRUSTED, labels, standing.trusted
    yield exported.FORECAST_RECORD, labels, standing.horizons
    yield exported.FORECAST_LEADING_INFO, (*labels, standing.method), 1
    yield exported.FORECAST_FIT_FAILED, labels, standing.fit_problem is not None
    if standing.fitted_at is not None:
        yield exported.FORECAST_MODEL_AGE, labels, at - standing.fitted_at


def _terms(names: _Names, terms: PolicyTerms) -> Iterator[Series]:
    yield exported.MIN_REPLICAS, names, terms.min_replicas
    yield exported.MAX_REPLICAS, names, terms.max_replicas
    yield exported.TTFT_OBJECTIVE, names, terms.ttft_s
    yield exported.ITL_OBJECTIVE, names, terms.itl_s


def _ledger(record: TickRecord) -> Iterator[Series]:
    orders = Counter((order.id, order.status) for order in record.ledger if not order.gives_back)
    for deployment in record.deployments:
        wanted = deployment.snapshot.id
        for status in OrderStatus:
            names = (wanted.application, wanted.deployment, status.value)
            yield exported.LEDGER_ORDERS, names, orders[wanted, status]
