"""Says what would be done, and touches nothing."""

from __future__ import annotations

from controller.clients.serve import ServeClient
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.domain.serve import ServeState
from controller.errors import UnavailableError


class AdvisoryActuator:
    """Advisory mode. Reads Serve, never writes to it."""

    def __init__(self, *, client: ServeClient) -> None:
        self._client = client

    async def apply(self, decision: Decision) -> Outcome:
        """Return the advice."""
        if decision.action is Action.NONE or decision.desired is None:
            return Outcome(id=decision.id, status=OutcomeStatus.NOTHING_TO_DO)
        current = "unknown" if decision.current is None else decision.current
        return Outcome(id=decision.id, status=OutcomeStatus.ADVISED, detail=f"would set {current} → {decision.desired}")

    async def read_state(self) -> ServeState | None:
        """Read Serve's state; None when it cannot be had."""
        try:
            return await self._client.applications()
        except UnavailableError:
            return None

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""
