"""Guided mode: tells Serve's own autoscaler how few replicas there may be, and looks whether it follows.

Nothing is written to Serve. ``serving.policies`` asks for the floors once a second and takes the larger of floor and
its own reaction; what it does not hear for some time it forgets. So a controller that dies leaves a service that
scales by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.actuators.serve_guards import not_guided, outside_limits
from controller.clients.serve import ServeClient, ServeUnavailableError
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.domain.record import TickRecord
from controller.domain.serve import ServeState
from controller.errors import UnavailableError
from controller.ports import Clock

GUIDED = "guided"
_KEPT = {OutcomeStatus.NOTHING_TO_DO, OutcomeStatus.APPLIED, OutcomeStatus.FAILED}
_Result = tuple[OutcomeStatus, str]


@dataclass(frozen=True, slots=True)
class Published:
    """A floor, and how long ago it was last meant (seconds)."""

    id: DeploymentId
    replicas: int
    age_s: float


class FloorBoard:
    """The floors in force. Written by the actuator and by each tick that still means them, read by the API."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._floors: dict[DeploymentId, tuple[int, float]] = {}
        self._asked_at: float | None = None

    def publish(self, deployment: DeploymentId, replicas: int) -> None:
        """Mean this floor from now on."""
        self._floors[deployment] = (replicas, self._clock.monotonic())

    def floor(self, deployment: DeploymentId) -> int | None:
        """Return what is published for a deployment."""
        found = self._floors.get(deployment)
        return None if found is None else found[0]

    def read(self) -> tuple[Published, ...]:
        """Hand out all floors to the policies, and note that they asked."""
        self._asked_at = self._clock.monotonic()
        return tuple(
            Published(deployment, replicas, self._clock.monotonic() - at)
            for deployment, (replicas, at) in sorted(self._floors.items())
        )

    @property
    def asked_s_ago(self) -> float | None:
        """Seconds since somebody asked for the floors; None before the first time."""
        return None if self._asked_at is None else self._clock.monotonic() - self._asked_at

    def export(self, record: TickRecord) -> None:
        """Mean every floor anew that this tick still wants; one that is not renewed grows old and is forgotten."""
        if record.mode != GUIDED or (record.leading is not None and not record.leading.leads):
            self._floors.clear()
            return
        named = {one.decision.id for one in record.deployments}
        self._floors = {deployment: kept for deployment, kept in self._floors.items() if deployment in named}
        for one in record.deployments:
            desired = one.decision.desired
            if desired is not None and one.outcome.status in _KEPT:
                self.publish(one.decision.id, desired)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedTiming:
    """How long Serve may take to follow a floor, and how often it is looked at. Seconds."""

    within_s: float = 4.0
    poll_s: float = 0.3


class ServeGuidedActuator:
    """Guided mode. Deployments may be applied at the same time; each has its own outcome."""

    def __init__(
        self,
        *,
        client: ServeClient,
        clock: Clock,
        board: FloorBoard,
        limits: Callable[[DeploymentId], tuple[int, int] | None],
        timing: GuidedTiming | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._board = board
        self._limits = limits
        self._timing = timing or GuidedTiming()

    async def apply(self, decision: Decision) -> Outcome:
        """Publish one floor and look whether Serve follows. Failures are returned; only cancellation is raised."""
        if decision.action is Action.NONE or decision.desired is None:
            return Outcome(id=decision.id, status=OutcomeStatus.NOTHING_TO_DO)
        started = self._clock.monotonic()
        status, detail = await self._outcome(decision.id, decision.desired)
        taken = self._clock.monotonic() - started
        return Outcome(id=decision.id, status=status, detail=detail, attempts=1, duration_s=taken)

    async def read_state(self) -> ServeState | None:
        """Read Serve's state; None when it cannot be had."""
        try:
            return await self._client.applications()
        except UnavailableError:
            return None

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""

    async def _outcome(self, deployment: DeploymentId, wanted: int) -> _Result:
        if objection := outside_limits(wanted, self._limits(deployment)):
            return OutcomeStatus.REFUSED, objection
        try:
            state = await self._client.applications()
        except UnavailableError as error:
            # The policies may well hear the floor: it is published all the same.
            self._board.publish(deployment, wanted)
            return OutcomeStatus.FAILED, f"floor {wanted} is published, but Serve cannot be seen: {error}"
        if objection := not_guided(state, deployment):
            return OutcomeStatus.REFUSED, objection
        before, known = _target(state, deployment), self._board.floor(deployment)
        self._board.publish(deployment, wanted)
        if before is not None and before >= wanted:
            # Serve comes down by itself, by its own measure and delay, once nothing holds it up.
            if known == wanted:
                return OutcomeStatus.NOTHING_TO_DO, f"the floor is {wanted}; Serve holds {before} by its own measure"
            return OutcomeStatus.APPLIED, f"floor {wanted}; Serve's target is {before}"
        return await self._followed(deployment, wanted, before)

    async def _followed(self, deployment: DeploymentId, wanted: int, before: int | None) -> _Result:
        started, live = self._clock.monotonic(), before
        while self._clock.monotonic() - started < self._timing.within_s:
            await self._clock.sleep(self._timing.poll_s)
            try:
                live = _target(await self._client.applications(), deployment)
            except ServeUnavailableError:
                continue
            except UnavailableError as error:
                return OutcomeStatus.FAILED, f"floor {wanted} is published, but Serve cannot be seen: {error}"
            if live is not None and live >= wanted:
                return OutcomeStatus.APPLIED, f"floor {wanted}; Serve's target {before} → {live}"
        return OutcomeStatus.FAILED, f"floor {wanted} is published, but Serve's target is {live}; {self._who_asked()}"

    def _who_asked(self) -> str:
        ago = self._board.asked_s_ago
        if ago is None:
            return (
                "nobody has asked for it: set guided.controller_url of the application to this controller's API as "
                "the Ray head reaches it, and token_file where it is another machine"
            )
        if ago > self._timing.within_s:
            return f"nobody has asked for it for {ago:.0f} s: is the way from the Ray head to this controller open?"
        return "it was asked for: Serve's max_replicas or a lack of resources may keep it down"


def _target(state: ServeState, deployment: DeploymentId) -> int | None:
    found = state.deployment(deployment)
    return found.target_replicas if found else None
