"""Latencies from exact histogram buckets: over the window for requests, since its start for replica starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.domain.engine import ServiceOutcomes
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.snapshot import Latency
from controller.window import histogram
from controller.window.reach import Moment
from controller.window.replicas import KnownReplica
from controller.window.series import Series

_NOTHING = Unknown("no request finished in the window")


def latency(ttft: Observations, itl: Observations) -> Latency:
    """Quantiles over the window, of all replicas that served in it together."""
    return Latency(
        ttft_p50_s=ttft.quantile(0.5),
        ttft_p95_s=ttft.quantile(0.95),
        itl_p50_s=itl.quantile(0.5),
        itl_p95_s=itl.quantile(0.95),
    )


def mean_request_s(moment: Moment, deployment: DeploymentId, known: Mapping[str, KnownReplica]) -> float | None:
    """Mean time of a request inside the engine, in seconds, as exact as buckets allow; None if none finished."""
    return histogram.mean(observations(moment, scraped.VLLM_E2E, deployment, known).buckets)


def service_outcomes(
    moment: Moment, deployment: DeploymentId, known: Mapping[str, KnownReplica], *, ttft_s: float, tpot_s: float
) -> ServiceOutcomes | None:
    """How many requests of the window missed an objective; None when none got a first token.

    Objectives between two bucket bounds split their bucket evenly.
    """
    first = observations(moment, scraped.VLLM_TTFT, deployment, known)
    late, first_tokens = histogram.beyond(first.buckets, ttft_s)
    slow, paced = histogram.beyond(observations(moment, scraped.VLLM_TPOT, deployment, known).buckets, tpot_s)
    if first_tokens <= 0.0:
        return None
    return ServiceOutcomes(seconds=first.seconds, first_tokens=first_tokens, late=late, paced=paced, slow=slow)


def startup_p90_s(moment: Moment, deployment: DeploymentId) -> Reading:
    """90th percentile of all replica starts that Serve's controller saw, in seconds."""
    name = f"{scraped.SERVE_STARTUP.name}_bucket"
    buckets: dict[float, float] = {}
    age_s = 0.0
    for series in moment.window.find(name, deployment.application, deployment.deployment):
        if moment.is_shown(series) and moment.is_fresh(series):
            buckets[series.bound] = buckets.get(series.bound, 0.0) + series.last
            age_s = max(age_s, moment.age(series.last_at))
    milliseconds = histogram.quantile(buckets, 0.9)
    return Unknown("no replica start was counted") if milliseconds is None else Known(milliseconds / 1000.0, age_s)


@dataclass(slots=True)
class Observations:
    """What one histogram observed over ``seconds``; ``buckets`` are cumulative counts by upper bound."""

    seconds: float
    buckets: dict[float, float] = field(default_factory=dict)
    age_s: float = 0.0
    known: bool = True
    """False where the source that tells of whole deployments has not answered lately."""

    def quantile(self, probability: float) -> Reading:
        """Return the value at ``probability``; unknown where nothing was observed."""
        value = histogram.quantile(self.buckets, probability)
        return _NOTHING if value is None else Known(value, self.age_s)

    def add(self, moment: Moment, name: str, replica: KnownReplica) -> None:
        """Add what one replica's series tell."""
        series = moment.window.find(name, replica.replica_id)
        if not any(one.bound == math.inf and _grew(moment, one, replica) for one in series):
            return
        for one in series:
            growth = one.growth(moment.since, zero_at=replica.born_at)
            if growth is not None and moment.is_fresh(one):
                self.buckets[one.bound] = self.buckets.get(one.bound, 0.0) + growth.increase
                self.age_s = max(self.age_s, moment.age(one.last_at))


def observations(
    moment: Moment, metric: Metric, deployment: DeploymentId, known: Mapping[str, KnownReplica]
) -> Observations:
    """Take a source's word for the whole deployment where there is one, else add up what its replicas showed."""
    told = moment.window.observed(deployment, metric.name, moment.now)
    if told is not None:
        seen = told.distribution
        return Observations(seen.seconds, dict(seen.buckets), moment.age(told.at))
    unsaid = bool(moment.latencies) and not any(one.is_fresh(moment.now) for one in moment.latencies)
    found = Observations(moment.window.window_s, known=not unsaid)
    for replica in known.values():
        found.add(moment, f"{metric.name}_bucket", replica)
    return found


def _grew(moment: Moment, series: Series, replica: KnownReplica) -> bool:
    growth = series.growth(moment.since, zero_at=replica.born_at)
    return growth is not None and growth.increase > 0.0
