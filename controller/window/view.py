"""One system's account of a deployment's traffic. Several independent ones make a fact."""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.reading import Known, Reading, Unknown
from controller.window.reach import Rate

WINDOW_SHARE = 0.9
"""How much of the window a rate must span to say that nothing came during it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one system says.

    ``in_flight`` is unknown while a part of it is; ``at_least`` is then what the known part adds up to.
    ``arrivals`` are requests per second, or for an engine anything that moves with them.
    """

    name: str
    in_flight: Reading
    at_least: float = 0.0
    arrivals: Rate | Unknown

    def shows_traffic(self) -> bool:
        """Whether anything at all was seen."""
        waiting = isinstance(self.in_flight, Known) and self.in_flight.value > 0.0
        arriving = isinstance(self.arrivals, Rate) and self.arrivals.per_s > 0.0
        return waiting or arriving or self.at_least > 0.0

    def shows_silence(self, window_s: float) -> bool:
        """Whether it is known that nothing was in flight and nothing came over the whole window."""
        return (
            isinstance(self.in_flight, Known)
            and isinstance(self.arrivals, Rate)
            and self.arrivals.seconds >= WINDOW_SHARE * window_s
            and not self.shows_traffic()
        )


def largest(views: tuple[View, ...]) -> Reading:
    """Requests in flight by the view that sees most; unknown when no view is whole.

    Each view misses something at times (a reloaded HAProxy its old process, Serve's gauge what has not
    reached a replica, an engine what it has not admitted) and none invents requests, so the largest is
    nearest. A view that is known in part may raise the answer, but is no answer by itself.
    """
    whole = [view.in_flight for view in views if isinstance(view.in_flight, Known)]
    if not whole:
        missing = ((view.name, view.in_flight) for view in views)
        return Unknown("; ".join(f"{name}: {one.reason}" for name, one in missing if isinstance(one, Unknown)))
    best = max(whole, key=lambda reading: reading.value)
    floor = max(view.at_least for view in views)
    return Known(max(best.value, floor), max(reading.age_s for reading in whole) if floor > best.value else best.age_s)


def is_idle(views: tuple[View, ...], window_s: float) -> bool:
    """Whether two independent systems know of no traffic over the window, and none knows of any."""
    silent = sum(view.shows_silence(window_s) for view in views)
    return silent >= 2 and not any(view.shows_traffic() for view in views)  # noqa: PLR2004 - two witnesses
