"""PromQL of panels: catalogued selectors, narrowed by the dashboard's variables."""

from __future__ import annotations

from controller.catalog.metric import Metric
from controller.catalog.promql import matches, selector
from dashboards.panel import Query

RATE = "$__rate_interval"

_SPREAD = (0.5, 0.9, 0.99)

_SCOPES = {
    "application": matches("application", "$application"),
    "deployment": matches("deployment", "$deployment"),
    "model_name": matches("model_name", "$model"),
    "proxy": matches("proxy", "http-($application)(-via-ingress-request-router)?"),
}


def of(metric: Metric, *matchers: str, sample: str = "", scoped: bool = True) -> str:
    """Select a metric's series within the variables that its labels know. ``scoped`` off: cluster only."""
    named = {matcher.partition("=")[0].rstrip("!") for matcher in matchers}
    scopes = [scope for label, scope in _SCOPES.items() if scoped and label in metric.labels and label not in named]
    return selector(metric, matches("cluster", "$cluster"), *scopes, *matchers, sample=sample)


def rate(metric: Metric, *matchers: str, sample: str = "", scoped: bool = True) -> str:
    """Increase per second of a counter, or of one sample of a histogram."""
    return f"rate({of(metric, *matchers, sample=sample, scoped=scoped)}[{RATE}])"


def total(by: str, vector: str) -> str:
    """Sum by labels; everything when ``by`` is empty."""
    return f"sum by ({by}) ({vector})" if by else f"sum({vector})"


def quantile(probability: float, histogram: Metric, by: str, *matchers: str) -> str:
    """Quantile of a histogram over the rate interval, by labels."""
    buckets = total(f"{by}, le" if by else "le", rate(histogram, *matchers, sample="bucket"))
    return f"histogram_quantile({probability:g}, {buckets})"


def mean(histogram: Metric, by: str) -> str:
    """Mean of a histogram over the rate interval. Ray rebuilds sums from bucket middles, so it is rough."""
    return f"{total(by, rate(histogram, sample='sum'))} / {total(by, rate(histogram, sample='count'))}"


def spread(histogram: Metric, by: str, legend: str) -> tuple[Query, ...]:
    """Median, p90, p99 and mean of a histogram, as queries with one legend."""
    quantiles = (Query(quantile(p, histogram, by), f"{legend} p{p * 100:g}") for p in _SPREAD)
    return (*quantiles, Query(mean(histogram, by), f"{legend} mean"))


def ratio(part: str, whole: str) -> str:
    """Share of a whole that is above zero."""
    return f"{part} / ({whole} > 0)"
