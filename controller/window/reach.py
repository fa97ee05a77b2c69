"""What a window holds about one moment: gauges that are believed, and rates over the real time they span."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.domain.reading import Known, Reading, Unknown
from controller.domain.scrape import SourceKind
from controller.window.series import Series
from controller.window.source import Source
from controller.window.window import Window


@dataclass(frozen=True, slots=True)
class Rate:
    """Growth per second over at least ``seconds``; ``age_s`` as in ``Known``."""

    per_s: float
    seconds: float
    age_s: float

    def reading(self) -> Known:
        """Return the rate without the time that it was measured over."""
        return Known(self.per_s, self.age_s)


class Moment:
    """A window looked at from ``now``."""

    def __init__(self, window: Window, now: float) -> None:
        self.window = window
        self.now = now
        self.since = now - window.window_s
        self.ray = window.sources(SourceKind.RAY)
        self.haproxies = window.sources(SourceKind.HAPROXY)
        self.latencies = window.sources(SourceKind.LATENCY)
        self.stale_ray = tuple(source.name for source in window.stale(SourceKind.RAY, now))

    def age(self, at: float) -> float:
        """Seconds since ``at``; 0 for a time in the future."""
        return max(0.0, self.now - at)

    def is_shown(self, series: Series) -> bool:
        """Whether the newest answer of the series' source shows it."""
        return series.last_at >= self.window.source(series.source).last_ok_at

    def is_fresh(self, series: Series) -> bool:
        """Whether the series' source answered lately."""
        return self.window.source(series.source).is_fresh(self.now)

    def believed(self, series: Iterable[Series]) -> Known | None:
        """Return the newest usable value that is young enough, whichever process exposed it."""
        young = [one for one in series if self.now - one.last_at <= self.window.max_age_s and not math.isnan(one.last)]
        if not young:
            return None
        newest = max(young, key=lambda one: (one.last_at, one.last))
        return Known(newest.last, self.age(newest.last_at))

    def rate(self, series: Iterable[Series], *, zero_at: float | None = None) -> Rate | None:
        """Summed growth per second of counters; None when one of them cannot be known, or there are none.

        Ray's agents refresh counters in steps of seconds, so a rate over less than half a window is noise.
        """
        per_s = 0.0
        seconds = math.inf
        age_s = 0.0
        for one in series:
            growth = one.growth(self.since, zero_at=zero_at)
            if growth is None or growth.seconds < self.window.window_s / 2 or not self.is_fresh(one):
                return None
            per_s += growth.increase / growth.seconds
            seconds = min(seconds, growth.seconds)
            age_s = max(age_s, self.age(one.last_at))
        return Rate(per_s, seconds, age_s) if seconds < math.inf and age_s <= self.window.max_age_s else None

    def quiet(self, source: Source) -> Rate | None:
        """Rate of a counter that ``source`` would show had it ever counted; None if that proves nothing."""
        if not (source.complete and source.is_fresh(self.now)):
            return None
        return Rate(0.0, source.last_ok_at - source.watched_from(self.since), self.age(source.last_ok_at))


def summed(rates: Sequence[Rate]) -> Rate | None:
    """Sum of rates; None without any."""
    if not rates:
        return None
    return Rate(
        sum(rate.per_s for rate in rates), min(rate.seconds for rate in rates), max(rate.age_s for rate in rates)
    )


def total(readings: Sequence[Known]) -> Known:
    """Sum of readings, as old as the oldest of them."""
    return Known(sum(reading.value for reading in readings), max((reading.age_s for reading in readings), default=0.0))


def first_unknown(readings: Sequence[Reading]) -> Unknown | None:
    """Return the first reading without a value, if there is one."""
    return next((reading for reading in readings if isinstance(reading, Unknown)), None)
