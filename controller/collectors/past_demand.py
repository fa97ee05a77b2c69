"""Demand of the past, out of a Prometheus-compatible API by range queries over the catalogued series."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import aiohttp
import numpy as np
from numpy.typing import NDArray

from controller.catalog import scraped
from controller.collectors.prometheus_api import PrometheusApi
from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.errors import UnavailableError
from controller.window.front_door import backends

Floats = NDArray[np.float64]

_RATE_OVER = "1m"
_POINTS_AT_ONCE = 8000
"""Prometheus answers with 11,000 points of a series at most."""

_MAX_BYTES = 16_000_000
_TIMEOUT_S = 60.0


async def read_demand(
    api: PrometheusApi,
    deployment: DeploymentId,
    signals: Sequence[Signal],
    *,
    since: float,
    until: float,
    step_s: float,
) -> dict[Signal, Floats]:
    """Ask for ``signals`` in bins of ``step_s`` from ``since`` to ``until`` (Unix seconds, multiples of ``step_s``).

    A bin's value is that of the minute up to its end; NaN where Prometheus knows none.

    Raises:
        UnavailableError: it does not answer, or not as Prometheus does.

    """
    bins = max(0, round((until - since) / step_s))
    asked = queries(deployment)
    found: dict[Signal, Floats] = {}
    for signal in signals:
        values = found[signal] = np.full(bins, math.nan)
        for first in range(0, bins, _POINTS_AT_ONCE):
            last = min(first + _POINTS_AT_ONCE, bins)
            start, end = since + (first + 1) * step_s, since + last * step_s
            body = await api.ask_range(asked[signal], start=start, end=end, step_s=step_s)
            _take(values, body, start=since, step_s=step_s, url=f"{api.url}_range")
    return found


def history_api(base_url: str, session: aiohttp.ClientSession, token: str | None) -> PrometheusApi:
    """Return a client with time for weeks of demand. Raises BadInputError for a URL that cannot be fetched."""
    return PrometheusApi(base_url=base_url, session=session, token=token, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)


def queries(deployment: DeploymentId) -> Mapping[Signal, str]:
    """PromQL of each signal.

    HAProxy counts what was queued and shed, too; without it, requests that engines finished.
    """
    proxies = "|".join(
        backend.replace("\\", "\\\\").replace(".", "\\\\.") for backend in backends(deployment.application)
    )
    front = f'sum(rate({scraped.HAPROXY_REQUESTS.name}{{proxy=~"{proxies}"}}[{_RATE_OVER}]))'
    running, waiting = (
        _of_engines(f"avg_over_time({metric.name}[{_RATE_OVER}])", deployment)
        for metric in (scraped.VLLM_RUNNING, scraped.VLLM_WAITING)
    )
    return {
        Signal.ONGOING_REQUESTS: f"{running} + ({waiting} or {running} * 0)",
        Signal.REQUESTS: f"{front} or {_rate_of_engines(scraped.VLLM_REQUEST_SUCCESS.name, deployment)}",
        Signal.PREFILL_TOKENS: _rate_of_engines(scraped.VLLM_PROMPT_TOKENS.name, deployment),
        Signal.DECODE_TOKENS: _rate_of_engines(scraped.VLLM_GENERATION_TOKENS.name, deployment),
    }


def _rate_of_engines(name: str, deployment: DeploymentId) -> str:
    return _of_engines(f"rate({name}[{_RATE_OVER}])", deployment)


def _of_engines(each: str, deployment: DeploymentId) -> str:
    """Sum over the engines of the deployment's replicas, which Serve's series tell apart."""
    owned = (
        f"{scraped.SERVE_PROCESSING.name}{{application={_quoted(deployment.application)},"
        f"deployment={_quoted(deployment.deployment)}}}"
    )
    named = f'label_replace(last_over_time({owned}[5m]), "ReplicaId", "$1", "replica", "(.+)")'
    return f"sum(sum by (ReplicaId) ({each}) * on (ReplicaId) group_left () (max by (ReplicaId) ({named}) * 0 + 1))"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _take(values: Floats, body: bytes, *, start: float, step_s: float, url: str) -> None:
    """Write an answer's only series into its bins."""
    try:
        answer = json.loads(body)
        for series in answer["data"]["result"]:
            points = np.array([[float(at), float(value)] for at, value in series["values"]])
            places = np.rint((points[:, 0] - start) / step_s).astype(np.int64) - 1
            usable = (places >= 0) & (places < len(values)) & np.isfinite(points[:, 1])
            values[places[usable]] = points[usable, 1]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        msg = f"{url}: not an answer of the Prometheus API; it begins with {body[:120].decode(errors='replace')!r}"
        raise UnavailableError(msg) from error
