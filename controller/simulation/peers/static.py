"""A fleet that never changes."""

from __future__ import annotations

from controller.simulation.observation import Observation


class Static:
    """Always the same number; it is given in hindsight, so no operator does better with a fixed fleet."""

    def __init__(self, replicas: int) -> None:
        self.name = f"static-{replicas}"
        self.interval_s = 300.0
        self.detail = False
        self._replicas = replicas

    def target(self, seen: Observation, now: float) -> int:  # noqa: ARG002 - the protocol's
        """Return the number."""
        return self._replicas
