"""A store that keeps nothing, for a dry run."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.domain.state import PlannerState


class NothingKept:
    """Takes every record and forgets it."""

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        """Forget it."""

    def finish(
        self,
        record: TickRecord,
        state: PlannerState,
        histories: Sequence[tuple[DeploymentId, Signal, History]],
    ) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing to close."""
