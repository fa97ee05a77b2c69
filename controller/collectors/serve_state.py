"""Serve's own account of its applications, as one scrape."""

from __future__ import annotations

from collections.abc import Sequence

from controller.clients.serve import ServeClient
from controller.domain.scrape import Scrape, SourceKind
from controller.domain.serve import ServeState
from controller.errors import UnavailableError
from controller.ports import Clock


class ServeStateCollector:
    """Asks Serve's REST API once per pass. Nothing is retried: the next tick does that."""

    def __init__(self, *, client: ServeClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def collect(self, now: float) -> Sequence[Scrape]:  # noqa: ARG002 - the answer carries its own time
        """One scrape with ``serve`` set, or a failed one that says why."""
        started = self._clock.monotonic()
        serve: ServeState | None = None
        errors: tuple[str, ...] = ()
        try:
            serve = await self._client.applications()
        except UnavailableError as error:
            errors = (str(error),)
        return (
            Scrape(
                source=f"{SourceKind.SERVE}/{self._client.address}",
                kind=SourceKind.SERVE,
                at=self._clock.now(),
                ok=serve is not None,
                serve=serve,
                errors=errors,
                duration_s=self._clock.monotonic() - started,
            ),
        )

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""
