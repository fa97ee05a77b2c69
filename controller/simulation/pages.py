"""A simulated fleet as the real systems show it: catalogued samples of Ray and HAProxy, and Serve's state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.domain.identity import DeploymentId
from controller.domain.scrape import Sample
from controller.domain.serve import ApplicationState, DeploymentState, Replica, ReplicaState, ServeState
from controller.simulation.observation import Observation, ReplicaView
from controller.simulation.state import (
    FINISHED,
    GENERATION_TOKENS,
    ITERATIONS,
    ITL_BOUNDS,
    PREEMPTIONS,
    PROCESSED,
    PROMPT_TOKENS,
    RUNNING,
    STARTING,
    TTFT_BOUNDS,
    Ints,
)

_Labels = tuple[tuple[str, str], ...]

_ROUTE = "/v1/chat/completions"
_STATES = {STARTING: ReplicaState.STARTING, RUNNING: ReplicaState.RUNNING}
_TTFT_LE = (*(str(bound) for bound in TTFT_BOUNDS), "+Inf")
_ITL_LE = (*(str(bound) for bound in ITL_BOUNDS), "+Inf")


class Pages:
    """Writes the pages of one deployment; ``origin`` is the Unix time of virtual second 0."""

    def __init__(self, deployment: DeploymentId, *, origin: float) -> None:
        self._deployment = deployment
        self._origin = origin
        self._labels: dict[tuple[int, str], _Labels] = {}

    def ray(self, seen: Observation, replicas: Sequence[ReplicaView]) -> tuple[Sample, ...]:
        """Ray's metrics page: the engines and replicas that run, and the HTTP counters."""
        samples = list(self._http(seen))
        for replica in replicas:
            if replica.state != STARTING:
                samples.extend(self._replica(replica))
        return tuple(samples)

    def haproxy(self, seen: Observation) -> tuple[Sample, ...]:
        """HAProxy's page: everything that passed the front door."""
        proxy = (("proxy", f"http-{self._deployment.application}"),)
        responses = scraped.HAPROXY_RESPONSES.name
        return (
            Sample(scraped.HAPROXY_START_TIME.name, (), self._origin),
            Sample(scraped.HAPROXY_SESSIONS.name, proxy, float(seen.in_flight)),
            Sample(scraped.HAPROXY_QUEUE.name, proxy, float(seen.at_the_door)),
            Sample(scraped.HAPROXY_REQUESTS.name, proxy, float(seen.arrived)),
            Sample(scraped.HAPROXY_DENIED.name, proxy, 0.0),
            Sample(responses, (("code", "2xx"), *proxy), float(seen.served)),
            Sample(responses, (("code", "5xx"), *proxy), 0.0),
        )

    def serve(self, seen: Observation, replicas: Sequence[ReplicaView]) -> ServeState:
        """Serve's own account."""
        deployment = DeploymentState(
            id=self._deployment,
            status="HEALTHY" if seen.starting == 0 else "UPSCALING",
            message="",
            target_replicas=seen.target,
            config_replicas=1,
            autoscaling_configured=False,
            max_ongoing_requests=None,
            replicas=tuple(self._listed(replica, seen.at) for replica in replicas),
            config_digest="simulated",
        )
        application = ApplicationState(
            name=self._deployment.application,
            status="RUNNING",
            route_prefix="/",
            external_scaler_enabled=True,
            last_deployed_at=self._origin,
            deployments=(deployment,),
        )
        return ServeState(applications=(application,))

    def _listed(self, replica: ReplicaView, at: float) -> Replica:
        return Replica(
            replica_id=_name(replica),
            state=_STATES.get(replica.state, ReplicaState.STOPPING),
            started_at=self._origin + replica.ordered_at,
            node_id="simulated",
            node_ip=None if replica.started_at > at else worker_address(replica.replica),
        )

    def _http(self, seen: Observation) -> Iterator[Sample]:
        application = ("application", self._deployment.application)
        common = (("WorkerId", "proxy"), application)
        for status, count in (("200", seen.served), ("499", seen.unserved)):
            labels = (*common, ("method", "POST"), ("route", "/"), ("status_code", status))
            yield Sample(scraped.SERVE_HTTP_REQUESTS.name, labels, float(count))
        labels = (("WorkerId", "proxy"), application, ("error_code", "499"), ("method", "POST"), ("route", "/"))
        yield Sample(scraped.SERVE_HTTP_ERRORS.name, labels, float(seen.unserved))

    def _replica(self, replica: ReplicaView) -> Iterator[Sample]:
        yield from self._engine(replica)
        name = _name(replica)
        deployment = (
            ("WorkerId", name),
            ("application", self._deployment.application),
            ("deployment", self._deployment.deployment),
            ("replica", name),
        )
        yield Sample(scraped.SERVE_PROCESSING.name, deployment, float(replica.in_flight))
        processed = float(replica.counters[PROCESSED])
        yield Sample(scraped.SERVE_REQUESTS.name, (*deployment, ("route", _ROUTE)), processed)

    def _engine(self, replica: ReplicaView) -> Iterator[Sample]:
        labels = self._engine_labels(replica, "")
        counters = replica.counters.tolist()
        yield Sample(scraped.VLLM_RUNNING.name, labels, float(replica.running))
        yield Sample(scraped.VLLM_WAITING.name, labels, float(replica.waiting))
        yield Sample(scraped.VLLM_KV_USAGE.name, labels, replica.kv_usage)
        yield Sample(scraped.VLLM_PROMPT_TOKENS.name, labels, float(counters[PROMPT_TOKENS]))
        yield Sample(scraped.VLLM_GENERATION_TOKENS.name, labels, float(counters[GENERATION_TOKENS]))
        yield Sample(scraped.VLLM_PREEMPTIONS.name, labels, float(counters[PREEMPTIONS]))
        yield Sample(f"{scraped.VLLM_ITERATION_TOKENS.name}_count", labels, float(counters[ITERATIONS]))
        yield Sample(scraped.VLLM_PREFIX_HITS.name, labels, 0.0)
        finished = tuple(sorted((*labels, ("finished_reason", "stop"))))
        yield Sample(scraped.VLLM_REQUEST_SUCCESS.name, finished, float(counters[FINISHED]))
        yield from self._histogram(scraped.VLLM_TTFT, replica, _TTFT_LE, replica.ttft)
        yield from self._histogram(scraped.VLLM_ITL, replica, _ITL_LE, replica.itl)
        yield from self._histogram(scraped.VLLM_TPOT, replica, _ITL_LE, replica.tpot)

    def _histogram(
        self, metric: Metric, replica: ReplicaView, bounds: Sequence[str], buckets: Ints
    ) -> Iterable[Sample]:
        name = f"{metric.name}_bucket"
        cumulative = buckets.cumsum().tolist()
        for bound, count in zip(bounds, cumulative, strict=True):
            yield Sample(name, self._engine_labels(replica, bound), float(count))

    def _engine_labels(self, replica: ReplicaView, bound: str) -> _Labels:
        """Labels of an engine's series, sorted by name; made once, as a window finds them by hash."""
        key = (replica.replica, bound)
        known = self._labels.get(key)
        if known is None:
            name = _name(replica)
            le = (("le", bound),) if bound else ()
            known = (("ReplicaId", name), ("WorkerId", name), ("engine", "0"), *le, ("model_name", "simulated"))
            self._labels[key] = known
        return known


def worker_address(replica: int) -> str:
    """Return the address of the worker that a replica has for itself."""
    return f"10.{replica >> 16 & 255}.{replica >> 8 & 255}.{replica & 255}"


def _name(replica: ReplicaView) -> str:
    return f"r{replica.replica}"
