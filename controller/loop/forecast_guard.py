"""Lets no forecast fail or hold up a tick: what goes wrong is a reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from controller.domain.reading import Unknown
from controller.ports import Clock, LoopEvent, LoopObserver

T = TypeVar("T")


class ForecastGuard:
    """Runs what belongs to forecasts, for at most ``within_s`` in one tick by ``clock``.

    Without a clock there is no limit. What fails is counted, and logged once until it fails otherwise.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        observer: LoopObserver | None = None,
        log: FilteringBoundLogger | None = None,
        within_s: float = 2.0,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._log = log
        self._within_s = within_s
        self._deadline: float | None = None
        self._told: dict[str, str] = {}

    def begin(self) -> None:
        """Start the time of one tick."""
        self._deadline = None if self._clock is None else self._clock.monotonic() + self._within_s

    @property
    def late(self) -> bool:
        """Whether the time of this tick is over."""
        return self._clock is not None and self._deadline is not None and self._clock.monotonic() > self._deadline

    def ask(self, what: str, make: Callable[[], T]) -> T | Unknown:
        """Make one thing; Unknown, with the reason, when the time is over or making it fails."""
        if self.late:
            self._note(LoopEvent.FORECAST_LATE)
            return Unknown(f"not reached within the {self._within_s:g} s that a tick has for forecasts")
        try:
            made = make()
        except Exception as error:  # noqa: BLE001 - a bug in a forecast must cost no tick
            problem = f"{type(error).__name__}: {error}"
            self._note(LoopEvent.FORECAST_FAILED)
            if self._log is not None and self._told.get(what) != problem:
                self._log.exception("forecast_failed", of=what)
            self._told[what] = problem
            return Unknown(f"failed: {problem}")
        self._told.pop(what, None)
        return made

    def _note(self, event: LoopEvent) -> None:
        if self._observer is not None:
            self._observer.note(event)
