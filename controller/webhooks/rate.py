"""At most so many within any minute."""

from __future__ import annotations

from collections import deque

_MINUTE_S = 60.0


class PerMinute:
    """Counts what was let through within the last minute, by the time it is given."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._let_through: deque[float] = deque()

    def wait_s(self, now: float) -> float:
        """Return how long until one more may pass; 0 when it may now."""
        while self._let_through and self._let_through[0] <= now - _MINUTE_S:
            self._let_through.popleft()
        if len(self._let_through) < self._most:
            return 0.0
        return self._let_through[0] + _MINUTE_S - now

    def take(self, now: float) -> bool:
        """Let one through if it may pass; say whether it did."""
        if self.wait_s(now) > 0:
            return False
        self._let_through.append(now)
        return True
