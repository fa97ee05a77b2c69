"""The recent past of every source, as scrapes are recorded. Values only: no I/O and no clock."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from controller.domain.identity import DeploymentId
from controller.domain.scrape import Distribution, Scrape, SourceHealth, SourceKind
from controller.domain.serve import ServeState
from controller.domain.snapshot import StartupSample
from controller.window.recorded import RECORDED
from controller.window.replicas import KnownReplica, Replicas
from controller.window.series import Series
from controller.window.source import Source


@dataclass(frozen=True, slots=True)
class ServeLook:
    """Serve's state and when it was read."""

    state: ServeState
    at: float


@dataclass(frozen=True, slots=True)
class Observed:
    """What a histogram observed, and when that was asked."""

    distribution: Distribution
    at: float


class Window:
    """Keeps the points of the last ``window_s`` (and ``max_age_s`` before them) of every source.

    Rates are measured over ``window_s``; an answer older than ``max_age_s`` is not believed any more. So two
    scrapes of one source must be less than ``window_s + max_age_s`` apart for any rate to be known.
    """

    def __init__(self, *, window_s: float, max_age_s: float) -> None:
        self.window_s = window_s
        self.max_age_s = max_age_s
        self._reach_s = window_s + max_age_s
        self._sources: dict[str, Source] = {}
        self._index: dict[tuple[str, ...], list[Series]] = {}
        self._replicas = Replicas()
        self._serve: ServeLook | None = None
        self._observed: dict[tuple[DeploymentId, str], Observed] = {}
        self._newest_at = -math.inf
        self._swept_at: dict[str, float] = {}

    def record(self, scrape: Scrape) -> None:
        """Take in one scrape. Late, repeated and failed ones are welcome: they change no newer point."""
        source = self._sources.get(scrape.source)
        self._newest_at = max(self._newest_at, scrape.at)
        if source is None or source.is_clock_step_back(scrape.at):
            source = self._begin(scrape)
        if source.note(scrape, mentioned_at=self._newest_at):
            for name, series in source.record(scrape):
                self._index.setdefault(_address(name, series), []).append(series)
            if scrape.serve is not None and (self._serve is None or scrape.at > self._serve.at):
                self._serve = ServeLook(scrape.serve, scrape.at)
                self._replicas.record(scrape.serve, scrape.at, oldest=scrape.at - self._reach_s)
            if scrape.kind is SourceKind.LATENCY:
                self._observed = {
                    (one.deployment, one.family): Observed(one, scrape.at) for one in scrape.distributions
                }
        if scrape.at - self._swept_at[scrape.source] > self._reach_s:
            self._sweep(source, scrape.at)

    def find(self, sample_name: str, *label_values: str) -> Sequence[Series]:
        """Series of one sample name by the values of the labels named in ``RECORDED``, from any source."""
        return self._index.get((sample_name, *label_values), ())

    def source(self, name: str) -> Source:
        """Return the source of a series. Raises KeyError for a name that was never recorded."""
        return self._sources[name]

    def sources(self, kind: SourceKind) -> tuple[Source, ...]:
        """Sources of one kind that are still reported: one that its collector dropped counts no more."""
        alike = [source for source in self._sources.values() if source.kind is kind]
        mentioned = [min(source.mentioned_at, self._newest_at) for source in alike]
        newest = max(mentioned, default=0.0)
        return tuple(source for source, at in zip(alike, mentioned, strict=True) if at >= newest - self.max_age_s)

    def stale(self, kind: SourceKind, now: float) -> tuple[Source, ...]:
        """Reported sources that are not believed.

        One that has not answered yet gets ``max_age_s`` to do so, as long as another of its kind answers.
        """
        alike = self.sources(kind)
        some_fresh = any(source.is_fresh(now) for source in alike)
        oldest = now - self.max_age_s
        return tuple(
            source
            for source in alike
            if not source.is_fresh(now)
            and not (some_fresh and source.last_ok_at == -math.inf and source.first_mentioned_at >= oldest)
        )

    def health(self, now: float) -> tuple[SourceHealth, ...]:
        """Freshness of every reported source, by name."""
        reported = []
        for kind in SourceKind:
            stale = {source.name for source in self.stale(kind, now)}
            reported += [source.health(now, stale=source.name in stale) for source in self.sources(kind)]
        return tuple(sorted(reported, key=lambda health: health.source))

    def serve(self, now: float) -> ServeLook | None:
        """Serve's newest state, while it is fresh."""
        if self._serve is None or now - self._serve.at > self.max_age_s:
            return None
        return self._serve

    def observed(self, deployment: DeploymentId, family: str, now: float) -> Observed | None:
        """What a histogram observed of a whole deployment, where a source tells that and while it is fresh."""
        found = self._observed.get((deployment, family))
        return None if found is None or now - found.at > self.max_age_s else found

    def known_replicas(self, deployment: DeploymentId) -> Mapping[str, KnownReplica]:
        """Replicas that Serve lists, or listed within the reach of this window, by id."""
        return self._replicas.known(deployment)

    def take_startups(self, deployments: Collection[DeploymentId]) -> dict[DeploymentId, tuple[StartupSample, ...]]:
        """Replica starts seen to end since they were last taken; each is handed out exactly once."""
        return self._replicas.take_finished(deployments)

    def _begin(self, scrape: Scrape) -> Source:
        known = self._sources.get(scrape.source)
        if known is not None:
            self._newest_at = scrape.at
            self._unindex(known, math.inf)
            if scrape.kind is SourceKind.SERVE:
                self._serve = None
        source = Source(scrape.source, scrape.kind, reach_s=self._reach_s, max_age_s=self.max_age_s)
        self._sources[scrape.source] = source
        self._swept_at[scrape.source] = scrape.at
        return source

    def _sweep(self, swept: Source, at: float) -> None:
        self._swept_at[swept.name] = at
        self._unindex(swept, at - self._reach_s)
        reported = {source.name for source in self.sources(swept.kind)}
        for source in list(self._sources.values()):
            dropped = source.kind is swept.kind and source.name not in reported
            if dropped and source.mentioned_at < at - self._reach_s:
                self._unindex(source, math.inf)
                del self._sources[source.name], self._swept_at[source.name]

    def _unindex(self, source: Source, oldest: float) -> None:
        for name, series in source.expire(oldest):
            address = _address(name, series)
            left = [other for other in self._index[address] if other is not series]
            if left:
                self._index[address] = left
            else:
                del self._index[address]


def _address(name: str, series: Series) -> tuple[str, ...]:
    labels = dict(series.labels)
    return (name, *(labels.get(label, "") for label in RECORDED[name].found_by))
