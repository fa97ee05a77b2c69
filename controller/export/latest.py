"""The latest record, for whoever asks, and how long ago it was finished."""

from __future__ import annotations

from controller.domain.record import TickRecord
from controller.ports import Clock


class LatestTick:
    """Keeps one record in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self.record: TickRecord | None = None

    def export(self, record: TickRecord) -> None:
        """Take over one record."""
        self.record = record
        self._since = self._clock.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the last tick was finished, or since the start when there was none."""
        return self._clock.monotonic() - self._since
