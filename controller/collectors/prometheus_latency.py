"""Latencies of whole deployments, added up by Prometheus: histograms are most of what replicas show.

A deployment's latency needs the sum of its replicas' buckets only, so that is what is asked for. Their sum is no
counter (it falls with every replica that goes), so each replica's growth is taken first. vLLM's series name their
replica but not its deployment, which Serve's gauge of the same replica does.

Adding up hundreds of thousands of buckets takes a server seconds, and latencies are no measure of demand. So nobody
waits for them: one question is under way at a time, and its answer is handed out by the first pass after it. After
each round the server is left in peace for twice as long as the round took, and an api that is ``behind`` the tick's own
asks while that does not.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.collectors.prometheus_api import PrometheusApi
from controller.domain.identity import DeploymentId
from controller.domain.scrape import Distribution, Scrape, SourceKind
from controller.errors import UnavailableError
from controller.ports import Clock

HISTOGRAMS: tuple[Metric, ...] = (scraped.VLLM_TTFT, scraped.VLLM_ITL, scraped.VLLM_TPOT, scraped.VLLM_E2E)

_REST = 2.0
"""Times the length of a round: at most a third of the time is the server busy with these questions."""


class PrometheusLatency:
    """One scrape, named ``latency/<host:port>``, for each finished round of questions; none while one is under way.

    Growth is measured over ``over_s``, which must hold two scrapes of the server. A replica's first observations
    are not counted: its series had no value before them to grow from.
    """

    def __init__(self, *, api: PrometheusApi, clock: Clock, over_s: int = 30, matchers: str = "") -> None:
        self._api = api
        self._clock = clock
        self._over_s = over_s
        self._queries = {metric.name: grown(metric, over_s, matchers) for metric in HISTOGRAMS}
        self._asking: asyncio.Task[Scrape] | None = None
        self._rest_until = -math.inf

    async def collect(self, now: float) -> Sequence[Scrape]:  # noqa: ARG002 - the answer carries its own time
        """Return what was answered since the last pass, and ask anew when it is time."""
        found: tuple[Scrape, ...] = ()
        if self._asking is not None:
            if not self._asking.done():
                return ()
            round_ = self._asking.result()
            found, self._asking = (round_,), None
            self._rest_until = self._clock.monotonic() + _REST * round_.duration_s
        if self._clock.monotonic() >= self._rest_until:
            self._asking = asyncio.create_task(self._ask())
        return found

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self) -> Scrape:
        at, started = self._clock.now(), self._clock.monotonic()
        found: list[Distribution] = []
        errors: tuple[str, ...] = ()
        try:
            for family, query in self._queries.items():
                found += distributions(await self._api.ask(query), family, float(self._over_s))
        except UnavailableError as error:
            errors = (str(error),)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            errors = (f"{self._api.url}: not the vector that was asked for ({type(error).__name__}: {error})"[:300],)
        return Scrape(
            source=f"{SourceKind.LATENCY}/{self._api.address}",
            kind=SourceKind.LATENCY,
            at=at,
            ok=not errors,
            distributions=tuple(found),
            errors=errors,
            duration_s=self._clock.monotonic() - started,
        )


def grown(metric: Metric, over_s: int, matchers: str = "") -> str:
    """PromQL of how much each bucket grew over ``over_s`` seconds, of all replicas of a deployment together."""
    more = f"{{{matchers}}}" if matchers else ""
    replica = f'label_replace(last_over_time({scraped.SERVE_PROCESSING.name}{more}[{over_s}s]), "ReplicaId", "$1", '
    return (
        f"sum by (application, deployment, le) (increase({metric.name}_bucket{more}[{over_s}s])"
        " * on (ReplicaId) group_left (application, deployment)"
        f' group by (application, deployment, ReplicaId) ({replica}"replica", "(.+)")))'
    )


def distributions(body: bytes, family: str, seconds: float) -> list[Distribution]:
    """Read an answer: cumulative counts by deployment. Raises ValueError, TypeError, LookupError or AttributeError."""
    answer = json.loads(body)
    if answer["status"] != "success" or answer["data"]["resultType"] != "vector":
        raise ValueError(str(answer.get("error") or answer["status"])[:200])
    found: dict[DeploymentId, dict[float, float]] = {}
    for entry in answer["data"]["result"]:
        deployment, bound, count = _bucket(entry)
        if not math.isnan(count) and not math.isnan(bound):
            found.setdefault(deployment, {})[bound] = count
    return [
        Distribution(deployment=deployment, family=family, seconds=seconds, buckets=tuple(sorted(buckets.items())))
        for deployment, buckets in found.items()
    ]


def _bucket(entry: Any) -> tuple[DeploymentId, float, float]:
    labels = entry["metric"]
    deployment = DeploymentId(str(labels["application"]), str(labels["deployment"]))
    return deployment, float(labels["le"]), float(entry["value"][1])
