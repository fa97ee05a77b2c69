"""From recorded scrapes to one snapshot per deployment. Unknown is never zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from controller.catalog import scraped
from controller.domain.identity import DeploymentId
from controller.domain.objective import Thresholds
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.serve import ApplicationState, DeploymentState, ReplicaState
from controller.domain.signals import Signal
from controller.domain.snapshot import NOT_DEPLOYED, Latency, ReplicaCounts, Snapshot
from controller.window.blind_spots import front_door_blind_spots, replica_blind_spots, source_blind_spots
from controller.window.demand import demand, queued
from controller.window.engines import Engines, engines, no_engines
from controller.window.front_door import FrontDoor, front_door
from controller.window.http import errors_per_s, failures
from controller.window.knocks import knocks
from controller.window.latency import latency, mean_request_s, observations, startup_p90_s
from controller.window.objectives import objective_events
from controller.window.reach import Moment, Rate
from controller.window.replica_gauges import serve_view
from controller.window.replicas import KnownReplica
from controller.window.stopping import StopOrder
from controller.window.view import View, is_idle
from controller.window.window import Window

UNKNOWN_STATUS = "UNKNOWN"
_STARTING = (
    ReplicaState.STARTING,
    ReplicaState.UPDATING,
    ReplicaState.RECOVERING,
    ReplicaState.PENDING_MIGRATION,
)


def observe(
    window: Window,
    deployments: Sequence[DeploymentId],
    now: float,
    *,
    promised: Mapping[DeploymentId, Thresholds] = MappingProxyType({}),
) -> tuple[Snapshot, ...]:
    """Return one snapshot per deployment, in the order asked, with the events of what is ``promised``.

    HAProxy counts per application, so its numbers are a deployment's only where no other deployment of
    that application is asked for. Measured replica starts are taken out of ``window``: each is in one
    snapshot only. Everything else only reads.
    """
    moment = Moment(window, now)
    health = window.health(now)
    spots = source_blind_spots(moment, health)
    asked = Counter(deployment.application for deployment in deployments)
    startups = window.take_startups(deployments)
    look = window.serve(now)
    applications = {} if look is None else {application.name: application for application in look.state.applications}
    order = None if look is None else StopOrder(look.state)
    snapshots = []
    for wanted in deployments:
        application = applications.get(wanted.application)
        state = _deployment(application, wanted)
        if look is not None and state is None:
            found = _absent(wanted, now)
        else:
            seen = _Seen.of(moment, wanted, application, state, sole=asked[wanted.application] == 1)
            found = seen.snapshot(promised.get(wanted))
            if order is not None and state is not None:
                found = replace(found, stop_streams=order.streams(moment, state))
        blind_spots = (*spots, *found.blind_spots)
        snapshots.append(replace(found, sources=health, blind_spots=blind_spots, startups=startups[wanted]))
    return tuple(snapshots)


def _deployment(application: ApplicationState | None, wanted: DeploymentId) -> DeploymentState | None:
    deployments = application.deployments if application else ()
    return next((deployment for deployment in deployments if deployment.id == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Everything that is seen of one deployment. ``state`` is None while Serve's state is stale."""

    moment: Moment
    id: DeploymentId
    application: ApplicationState | None
    state: DeploymentState | None
    known: Mapping[str, KnownReplica]
    door: FrontDoor
    serve: View
    engines: Engines
    sole: bool

    @classmethod
    def of(
        cls,
        moment: Moment,
        wanted: DeploymentId,
        application: ApplicationState | None,
        state: DeploymentState | None,
        *,
        sole: bool,
    ) -> _Seen:
        """Ask every view."""
        known = moment.window.known_replicas(wanted)
        stale = Unknown("Serve's state is stale")
        return cls(
            moment=moment,
            id=wanted,
            application=application,
            state=state,
            known=known,
            door=front_door(moment, wanted.application, sole=sole),
            serve=serve_view(moment, state, known) if state else View(name="Serve", in_flight=stale, arrivals=stale),
            engines=engines(moment, state, known) if state else no_engines(stale.reason),
            sole=sole,
        )

    def snapshot(self, promised: Thresholds | None) -> Snapshot:
        """Put the views together."""
        ttft = observations(self.moment, scraped.VLLM_TTFT, self.id, self.known)
        itl = observations(self.moment, scraped.VLLM_ITL, self.id, self.known)
        failed = failures(self.moment, self.id.application)
        shed = failed.shed
        is_shedding = isinstance(shed, Rate) and shed.per_s > 0.0
        views = (self.door.view, self.serve, self.engines.view)
        idle = is_idle(views, self.moment.window.window_s) and not is_shedding
        return Snapshot(
            at=self.moment.now,
            id=self.id,
            target_replicas=self.state.target_replicas if self.state else None,
            config_replicas=self.state.config_replicas if self.state else None,
            config_digest=self.state.config_digest if self.state else None,
            replicas=_counts(self.state) if self.state else None,
            status=self.state.status if self.state else UNKNOWN_STATUS,
            demand=demand(
                door=self.door.view,
                serve=self.serve,
                engines=self.engines,
                shed=shed,
                request_s=mean_request_s(self.moment, self.id, self.known) if is_shedding else None,
                idle=idle,
            ),
            queued_requests=queued(self.engines, self._processing(), idle=idle),
            shed_per_s=shed.reading() if isinstance(shed, Rate) else shed,
            errors_per_s=errors_per_s(failed, self.door.failures),
            kv_cache_usage=self.engines.kv_usage,
            latency=latency(ttft, itl),
            idle=idle,
            startup_p90_s=startup_p90_s(self.moment, self.id),
            at_the_door=knocks(self.moment, self.id, self.door, failed),
            objectives=objective_events(self.moment, self.id.application, ttft, itl, promised),
            blind_spots=self._blind_spots(),
        )

    def _processing(self) -> Known | None:
        return self.serve.in_flight if isinstance(self.serve.in_flight, Known) else None

    def _blind_spots(self) -> tuple[str, ...]:
        if self.state is None:
            return ()
        doors = front_door_blind_spots(self.moment, self.application) if self.sole else ()
        return (*doors, *replica_blind_spots(self.moment, self.state, self.known, self.engines.unseen))


def _counts(state: DeploymentState) -> ReplicaCounts:
    return ReplicaCounts(
        ready=state.count(ReplicaState.RUNNING),
        starting=state.count(*_STARTING),
        stopping=state.count(ReplicaState.STOPPING),
    )


def _absent(wanted: DeploymentId, now: float) -> Snapshot:
    unknown: Reading = Unknown("not deployed")
    return Snapshot(
        at=now,
        id=wanted,
        target_replicas=None,
        config_replicas=None,
        config_digest=None,
        replicas=None,
        status=NOT_DEPLOYED,
        demand=dict.fromkeys(Signal, unknown),
        queued_requests=unknown,
        shed_per_s=unknown,
        errors_per_s=unknown,
        kv_cache_usage=unknown,
        latency=Latency(ttft_p50_s=unknown, ttft_p95_s=unknown, itl_p50_s=unknown, itl_p95_s=unknown),
        idle=False,
        startup_p90_s=unknown,
    )
