"""Time that passes only when the simulation says so."""

from __future__ import annotations

START_OF_TIME = 1_704_067_200.0
"""A Monday at midnight UTC: second 0 of the history, or of the demand where there is no history."""


class VirtualClock:
    """A clock that is set. ``origin`` is the Unix time of the demand's second 0."""

    def __init__(self, origin: float = START_OF_TIME) -> None:
        self.origin = origin
        self._seconds = 0.0

    def set(self, seconds: float) -> None:
        """Move to ``seconds`` after the origin."""
        self._seconds = seconds

    def now(self) -> float:
        """Virtual Unix time."""
        return self.origin + self._seconds

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Return at once: nobody waits in virtual time but the simulation itself."""
