"""The metrics of deployments on the simulated cloud: demand is a function of time, replicas are those that run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.domain.identity import DeploymentId
from controller.domain.scrape import Sample
from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.serve import ServeOnWorkers

Load = Callable[[float], float]
"""Requests in flight, by seconds since the beginning."""

REQUEST_S = 2.0
"""What each request takes."""
_TOKENS = 50.0
_ROUTE = "/v1/chat/completions"


@dataclass
class _Counters:
    """Requests that were served, in all and by replica."""

    arrived: float = 0.0
    by_replica: dict[str, float] = field(default_factory=dict)


@dataclass
class Traffic:
    """Requests in flight of each deployment, each of ``REQUEST_S``. Counters go on whenever somebody looks."""

    serve: ServeOnWorkers
    clock: ScaledClock
    loads: Mapping[DeploymentId, Load]
    began: float = 0.0
    _at: float = 0.0
    _counters: dict[DeploymentId, _Counters] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self._at = self.clock.now()
        self._counters = {name: _Counters() for name in self.loads}

    def load(self, name: DeploymentId) -> float:
        """Requests in flight now."""
        return self.loads[name](self.clock.now() - self.began)

    def advance(self) -> None:
        """Count what was served since somebody last looked."""
        now = self.clock.now()
        for name, counters in self._counters.items():
            served = self.load(name) / REQUEST_S * (now - self._at)
            running = self.running(name)
            counters.arrived += served
            for replica in running:
                counters.by_replica[replica] = counters.by_replica.get(replica, 0.0) + served / len(running)
        self._at = now

    def running(self, name: DeploymentId) -> list[str]:
        """Replicas that run."""
        replicas = self.serve.rest.deployment(name)["replicas"]
        return [replica["replica_id"] for replica in replicas if replica["state"] == "RUNNING"]

    def ray(self) -> tuple[Sample, ...]:
        """What the agents of all nodes show."""
        samples = []
        for name, counters in self._counters.items():
            running = self.running(name)
            for replica in running:
                samples += _replica(
                    name, replica, counters.by_replica.get(replica, 0.0), self.load(name) / len(running)
                )
            labels = {"application": name.application, "route": _ROUTE, "method": "POST", "status_code": "200"}
            samples.append(_sample(scraped.SERVE_HTTP_REQUESTS, counters.arrived, **labels))
        return tuple(samples)

    def haproxy(self) -> tuple[Sample, ...]:
        """What HAProxy shows."""
        samples = [_sample(scraped.HAPROXY_START_TIME, 1.0)]
        for name, counters in self._counters.items():
            backend = {"proxy": f"http-{name.application}"}
            samples += [
                _sample(scraped.HAPROXY_SESSIONS, self.load(name), **backend),
                _sample(scraped.HAPROXY_QUEUE, 0.0, **backend),
                _sample(scraped.HAPROXY_REQUESTS, counters.arrived, **backend),
            ]
        return tuple(samples)


def _replica(name: DeploymentId, replica: str, requests: float, load: float) -> list[Sample]:
    serve = {
        "application": name.application,
        "deployment": name.deployment,
        "replica": replica,
        "WorkerId": replica,
    }
    engine = {"ReplicaId": replica, "WorkerId": replica, "engine": "0", "model_name": "tiny"}
    tokens = requests * _TOKENS
    return [
        _sample(scraped.SERVE_PROCESSING, load, **serve),
        _sample(scraped.SERVE_REQUESTS, requests, **serve, route=_ROUTE),
        _sample(scraped.VLLM_PROMPT_TOKENS, tokens, **engine),
        _sample(scraped.VLLM_GENERATION_TOKENS, tokens, **engine),
        _sample(scraped.VLLM_RUNNING, load, **engine),
        _sample(scraped.VLLM_WAITING, 0.0, **engine),
    ]


def _sample(metric: Metric, value: float, **labels: str) -> Sample:
    return Sample(metric.name, tuple(sorted(labels.items())), value)
