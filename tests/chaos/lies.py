"""What can come between a source and the controller: silence, lies and half-truths, each a function of one scrape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import ServeState

Distort = Callable[[Scrape], Scrape]


def silent(scrape: Scrape) -> Scrape:
    """Nobody answers."""
    return replace(scrape, ok=False, samples=(), serve=None, errors=("connection refused",))


def empty(scrape: Scrape) -> Scrape:
    """A page that is well-formed and says nothing: no series, no application."""
    return replace(scrape, samples=(), serve=scrape.serve and ServeState(applications=()))


def cut(scrape: Scrape) -> Scrape:
    """The first half of the page, as a connection that was cut leaves it."""
    if scrape.serve is not None:
        return replace(scrape, ok=False, serve=None, errors=("the answer is no JSON",))
    half = scrape.samples[: len(scrape.samples) // 2]
    return replace(scrape, samples=half, errors=("the page ends inside a line",))


def renamed(scrape: Scrape) -> Scrape:
    """Every label has another name, as after an upgrade."""
    return replace(
        scrape,
        samples=tuple(
            Sample(one.name, tuple((f"x_{name}", value) for name, value in one.labels), one.value)
            for one in scrape.samples
        ),
    )


def not_a_number(scrape: Scrape) -> Scrape:
    """Every value is NaN."""
    return _changed(scrape, lambda _: math.nan)


def negative(scrape: Scrape) -> Scrape:
    """Every value has the wrong sign."""
    return _changed(scrape, lambda value: -value - 1)


def infinite(scrape: Scrape) -> Scrape:
    """Every value is infinite."""
    return _changed(scrape, lambda _: math.inf)


def ten_minutes_ahead(scrape: Scrape) -> Scrape:
    """The source's clock is ahead."""
    return replace(scrape, at=scrape.at + 600)


def ten_minutes_behind(scrape: Scrape) -> Scrape:
    """The source's clock is behind."""
    return replace(scrape, at=scrape.at - 600)


def one_replica_missing(scrape: Scrape) -> Scrape:
    """Nothing is said of the replica that comes first in the page."""
    names = sorted({value for one in scrape.samples for label, value in one.labels if label == "WorkerId"})
    hidden = ("WorkerId", names[0] if names else "")
    return replace(scrape, samples=tuple(one for one in scrape.samples if hidden not in one.labels))


def twice(scrape: Scrape) -> Scrape:
    """Every line comes twice."""
    return replace(scrape, samples=scrape.samples * 2)


def zeroed(scrape: Scrape) -> Scrape:
    """Every value is 0, as after a restart, while the others go on counting."""
    return _changed(scrape, lambda _: 0.0)


class Frozen:
    """The last page again and again, dated as it was: what a Prometheus that stopped scraping answers."""

    def __init__(self) -> None:
        self._kept: dict[str, Scrape] = {}

    def __call__(self, scrape: Scrape) -> Scrape:
        return self._kept.setdefault(scrape.source, scrape)


def told_by(kinds: frozenset[SourceKind], distort: Distort) -> Distort:
    """Let only sources of these kinds lie."""
    return lambda scrape: distort(scrape) if scrape.kind in kinds else scrape


RAY = frozenset({SourceKind.RAY})
HAPROXY = frozenset({SourceKind.HAPROXY})
SERVE = frozenset({SourceKind.SERVE})
METRICS = RAY | HAPROXY
EVERY = frozenset({SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE})

WHO: Mapping[str, frozenset[SourceKind]] = {
    "Ray's metrics agent": RAY,
    "HAProxy's metrics": HAPROXY,
    "all metrics": METRICS,
    "Serve's REST API": SERVE,
    "every source": EVERY,
}


def _changed(scrape: Scrape, change: Callable[[float], float]) -> Scrape:
    return replace(scrape, samples=tuple(Sample(one.name, one.labels, change(one.value)) for one in scrape.samples))
