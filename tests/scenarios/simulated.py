"""A simulated deployment behind in-memory ports: replicas take time to start, load comes from a function.

Its collectors answer with catalogued samples as the real systems do, so that the real window, forecaster and
planner run in these tests; only the ports and the clock differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.domain.identity import DeploymentId
from controller.domain.plan import Decision, Outcome, OutcomeStatus
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import ApplicationState, DeploymentState, Replica, ReplicaState, ServeState
from tests.clocks import VirtualClock

CHAT = DeploymentId("chat", "LLMServer:tiny")
_ROUTE = "/v1/chat/completions"
_REQUEST_S = 2.0
_TOKENS = 50.0


@dataclass
class SimulatedReplica:
    replica_id: str
    created_at: float
    ready_at: float
    requests: float = 0.0


@dataclass
class SimulatedDeployment:
    """One deployment under ``load(t)`` requests in flight, each of 2 s; a replica is ready ``start_s`` after its order.

    Every source answers until it is put into ``silent``.
    """

    clock: VirtualClock
    load: Callable[[float], float]
    start_s: float = 20.0
    slow: dict[SourceKind, float] = field(default_factory=dict)
    """How long a source takes to answer, seconds."""
    silent: set[SourceKind] = field(default_factory=set)
    id: DeploymentId = CHAT
    distort: Callable[[Scrape], Scrape] | None = None
    """What comes between an answer and the controller, while something does."""
    replicas: list[SimulatedReplica] = field(default_factory=list)
    arrived: float = 0.0
    _created: int = 0
    _moved_at: float = 0.0

    def __post_init__(self) -> None:
        self._moved_at = self.clock.now()
        self.set_target(1)
        self.replicas[0].ready_at = self.clock.now()

    @property
    def ready(self) -> list[SimulatedReplica]:
        return [replica for replica in self.replicas if replica.ready_at <= self.clock.now()]

    def set_target(self, target: int) -> None:
        now = self.clock.now()
        del self.replicas[target:]
        for _ in range(target - len(self.replicas)):
            self._created += 1
            self.replicas.append(SimulatedReplica(f"replica{self._created}", now, now + self.start_s))

    def advance(self, seconds: float) -> None:
        """Let time pass and requests be served."""
        self.clock.advance(seconds)
        served = self.load(self.clock.now()) / _REQUEST_S * (self.clock.now() - self._moved_at)
        self._moved_at = self.clock.now()
        self.arrived += served
        for replica in self.ready:
            replica.requests += served / len(self.ready)

    def serve_state(self) -> ServeState:
        now = self.clock.now()
        replicas = tuple(
            Replica(
                replica_id=replica.replica_id,
                state=ReplicaState.RUNNING if replica.ready_at <= now else ReplicaState.STARTING,
                started_at=replica.created_at,
            )
            for replica in self.replicas
        )
        deployment = DeploymentState(
            id=self.id,
            status="HEALTHY",
            message="",
            target_replicas=len(self.replicas),
            config_replicas=1,
            autoscaling_configured=False,
            max_ongoing_requests=100,
            replicas=replicas,
            config_digest="d1",
        )
        return ServeState(
            applications=(
                ApplicationState(
                    name=self.id.application,
                    status="RUNNING",
                    route_prefix="/",
                    external_scaler_enabled=True,
                    last_deployed_at=0.0,
                    deployments=(deployment,),
                ),
            )
        )

    def ray_samples(self) -> tuple[Sample, ...]:
        load = self.load(self.clock.now())
        names = {"application": self.id.application}
        each = [sample for replica in self.ready for sample in self._replica_samples(replica, load / len(self.ready))]
        finished = _sample(
            scraped.SERVE_HTTP_REQUESTS, self.arrived, **names, route=_ROUTE, method="POST", status_code="200"
        )
        return (*each, finished)

    def haproxy_samples(self) -> tuple[Sample, ...]:
        backend = {"proxy": f"http-{self.id.application}"}
        return (
            _sample(scraped.HAPROXY_START_TIME, 1.0),
            _sample(scraped.HAPROXY_SESSIONS, self.load(self.clock.now()), **backend),
            _sample(scraped.HAPROXY_QUEUE, 0.0, **backend),
            _sample(scraped.HAPROXY_REQUESTS, self.arrived, **backend),
        )

    def _replica_samples(self, replica: SimulatedReplica, load: float) -> list[Sample]:
        serve = {
            "application": self.id.application,
            "deployment": self.id.deployment,
            "replica": replica.replica_id,
            "WorkerId": replica.replica_id,
        }
        engine = {
            "ReplicaId": replica.replica_id,
            "WorkerId": replica.replica_id,
            "engine": "0",
            "model_name": "tiny",
        }
        tokens = replica.requests * _TOKENS
        return [
            _sample(scraped.SERVE_PROCESSING, load, **serve),
            _sample(scraped.SERVE_REQUESTS, replica.requests, **serve, route=_ROUTE),
            _sample(scraped.VLLM_PROMPT_TOKENS, tokens, **engine),
            _sample(scraped.VLLM_GENERATION_TOKENS, tokens, **engine),
            _sample(scraped.VLLM_RUNNING, load, **engine),
            _sample(scraped.VLLM_WAITING, 0.0, **engine),
        ]


@dataclass
class SimulatedSource:
    """Collector of one kind of source of a simulated deployment."""

    deployment: SimulatedDeployment
    kind: SourceKind

    async def collect(self, now: float) -> Sequence[Scrape]:
        if seconds := self.deployment.slow.get(self.kind):
            self.deployment.clock.advance(seconds)
            now = self.deployment.clock.now()
        name = f"{self.kind}/10.0.0.3"
        if self.kind in self.deployment.silent:
            return (Scrape(source=name, kind=self.kind, at=now, ok=False, errors=("connection refused",)),)
        samples: dict[SourceKind, Callable[[], tuple[Sample, ...]]] = {
            SourceKind.RAY: self.deployment.ray_samples,
            SourceKind.HAPROXY: self.deployment.haproxy_samples,
            SourceKind.SERVE: tuple,
        }
        serve = self.deployment.serve_state() if self.kind is SourceKind.SERVE else None
        scrape = Scrape(source=name, kind=self.kind, at=now, ok=True, samples=samples[self.kind](), serve=serve)
        return (self.deployment.distort(scrape) if self.deployment.distort else scrape,)

    async def close(self) -> None:
        pass


@dataclass
class SimulatedActuator:
    """Sets the simulated target, or only says so. ``applied`` has every target that was set."""

    deployment: SimulatedDeployment
    advisory: bool = False
    applied: list[int] = field(default_factory=list)

    async def apply(self, decision: Decision) -> Outcome:
        if self.advisory or decision.desired is None:
            return Outcome(id=decision.id, status=OutcomeStatus.ADVISED)
        self.deployment.set_target(decision.desired)
        self.applied.append(decision.desired)
        return Outcome(id=decision.id, status=OutcomeStatus.APPLIED, attempts=1)

    async def read_state(self) -> ServeState | None:
        return self.deployment.serve_state()

    async def close(self) -> None:
        pass


def _sample(metric: Metric, value: float, **labels: str) -> Sample:
    return Sample(metric.name, tuple(sorted(labels.items())), value)
