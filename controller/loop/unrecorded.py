"""A store that keeps nothing, for a dry run."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.lasting import Piece
from controller.domain.record import TickRecord
from controller.domain.state import PlannerState
from controller.ports import Lasting


class NothingKept:
    """Takes every record and forgets it."""

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        """Forget it."""

    def finish(self, record: TickRecord, state: PlannerState, lasting: Lasting) -> None:
        """Forget it."""

    def keep(self, pieces: Sequence[Piece]) -> None:
        """Forget them."""

    def close(self) -> None:
        """Nothing to close."""
