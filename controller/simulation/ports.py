"""The control loop's ports on a simulated fleet."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.plan import Decision, Outcome, OutcomeStatus
from controller.domain.scrape import Scrape, SourceKind
from controller.domain.serve import ServeState
from controller.policy.load import LoadedPolicy, PolicyChange
from controller.ports import LoopEvent
from controller.simulation.fleet import Fleet
from controller.simulation.pages import Pages


class SimulatedCollector:
    """Shows the fleet as Serve, one Ray agent and one HAProxy."""

    def __init__(self, fleet: Fleet, pages: Pages) -> None:
        self._fleet = fleet
        self._pages = pages

    async def collect(self, now: float) -> Sequence[Scrape]:
        """One scrape of each system."""
        seen, replicas = self._fleet.observe(), self._fleet.replicas()
        pages = self._pages
        ray, haproxy = pages.ray(seen, replicas), pages.haproxy(seen)
        return (
            Scrape(source="serve", kind=SourceKind.SERVE, at=now, ok=True, serve=pages.serve(seen, replicas)),
            Scrape(source="ray/simulated", kind=SourceKind.RAY, at=now, ok=True, samples=ray),
            Scrape(source="haproxy/simulated", kind=SourceKind.HAPROXY, at=now, ok=True, samples=haproxy),
        )

    async def close(self) -> None:
        """Nothing to close."""


class SimulatedActuator:
    """Sets the fleet's target."""

    def __init__(self, fleet: Fleet, pages: Pages) -> None:
        self._fleet = fleet
        self._pages = pages

    async def apply(self, decision: Decision) -> Outcome:
        """Set the target; it holds at once."""
        if decision.desired is not None:
            self._fleet.set_target(decision.desired)
        return Outcome(id=decision.id, status=OutcomeStatus.APPLIED, attempts=1)

    async def read_state(self) -> ServeState | None:
        """Serve's state right now."""
        return self._pages.serve(self._fleet.observe(), self._fleet.replicas())

    async def close(self) -> None:
        """Nothing to close."""


class FixedPolicy:
    """A policy that does not change."""

    def __init__(self, loaded: LoadedPolicy) -> None:
        self.current = loaded

    def poll(self) -> PolicyChange | None:
        """Return no news."""
        return None


class CountedEvents:
    """Counts what happens to the loop."""

    def __init__(self) -> None:
        self.counts: dict[LoopEvent, int] = {}

    def note(self, event: LoopEvent) -> None:
        """Count one event."""
        self.counts[event] = self.counts.get(event, 0) + 1
