"""How long each step of one tick took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from controller.ports import Clock


class StepTimer:
    """Times named steps by a monotonic clock, in the order they ran."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block, also one that fails."""
        started = self._clock.monotonic()
        try:
            yield
        finally:
            self._taken.append((name, self._clock.monotonic() - started))

    @property
    def taken(self) -> tuple[tuple[str, float], ...]:
        """(step, seconds) so far."""
        return tuple(self._taken)
