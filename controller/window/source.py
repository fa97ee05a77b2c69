"""What one endpoint showed: its recent series and its health."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from controller.catalog import scraped
from controller.domain.scrape import Sample, Scrape, SourceHealth, SourceKind
from controller.window.recorded import RECORDED
from controller.window.series import Series

Added = list[tuple[str, Series]]


class Source:
    """One endpoint's points of the last ``reach_s`` seconds. Answers older than ``max_age_s`` are stale."""

    def __init__(self, name: str, kind: SourceKind, *, reach_s: float, max_age_s: float) -> None:
        self.name = name
        self.kind = kind
        self.first_mentioned_at = math.inf
        self.mentioned_at = -math.inf
        """When its collector last reported it, whatever came of it."""
        self._attempted_at = -math.inf
        self.complete = False
        """Whether the newest answer was whole, so that what it does not show does not exist."""
        self._times: array[float] = array("d")
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], Series] = {}
        self._error: str | None = None
        self._process_started_at: float | None = None
        self._reach_s = reach_s
        self._max_age_s = max_age_s

    @property
    def last_ok_at(self) -> float:
        """Time of the newest answer; minus infinity when there was none."""
        return self._times[-1] if self._times else -math.inf

    def is_fresh(self, now: float) -> bool:
        """Whether the newest answer is young enough to be believed."""
        return now - self.last_ok_at <= self._max_age_s

    def watched_from(self, since: float) -> float:
        """Time of the newest answer at or before ``since``, else of the oldest one kept; needs an answer."""
        return self._times[max(bisect_right(self._times, since) - 1, 0)]

    def health(self, now: float, *, stale: bool) -> SourceHealth:
        """Freshness as told to people. A time in the future counts as now."""
        age_s = max(0.0, now - self.last_ok_at) if self._times else None
        return SourceHealth(source=self.name, kind=self.kind, age_s=age_s, stale=stale, error=self._error)

    def is_clock_step_back(self, at: float) -> bool:
        """Whether ``at`` is so much older than the newest attempt that the clock must have been set back."""
        return at < self._attempted_at - self._max_age_s

    def note(self, scrape: Scrape, *, mentioned_at: float) -> bool:
        """Take note of an attempt; true when its content is news: an answer, and newer than the one before."""
        self.mentioned_at = mentioned_at
        self.first_mentioned_at = min(self.first_mentioned_at, mentioned_at)
        is_news = scrape.ok and scrape.at > self.last_ok_at
        if is_news or scrape.at >= self._attempted_at:
            self._attempted_at = max(self._attempted_at, scrape.at)
            self._error = scrape.errors[0] if scrape.errors else None if scrape.ok else "no answer"
        return is_news

    def record(self, scrape: Scrape) -> Added:
        """Keep the samples of an answer that ``note`` called news. Returns new series with their sample name."""
        at = scrape.at
        oldest = at - self._reach_s
        restarted_at = self._restarted_at(scrape)
        unseen: list[Sample] = []
        unusable = 0
        for sample in scrape.samples:
            recorded = RECORDED.get(sample.name)
            if recorded is None:
                continue
            value = sample.value
            if not 0.0 <= value < math.inf:
                unusable += 1
                if recorded.counts:
                    continue
                value = math.nan
            series = self._series.get((sample.name, sample.labels))
            if series is None:
                unseen.append(sample)
            elif series.last_at < at:
                if restarted_at is not None and recorded.counts:
                    series.append(max(restarted_at, series.last_at), 0.0)
                series.append(at, value)
                series.drop_before(oldest)
        added = self._add(unseen, at=at, restarted_at=restarted_at)
        self.complete = not scrape.errors and not unusable
        if unusable:
            self._error = f"{unusable} samples were left out: negative or not finite"
        self._times.append(at)
        del self._times[: min(bisect_left(self._times, oldest), len(self._times) - 1)]
        return added

    def expire(self, oldest: float) -> Sequence[tuple[str, Series]]:
        """Forget the series without a point since ``oldest``, and return them."""
        gone = [(key, series) for key, series in self._series.items() if series.last_at < oldest]
        for key, _ in gone:
            del self._series[key]
        return [(name, series) for (name, _), series in gone]

    def _add(self, samples: Sequence[Sample], *, at: float, restarted_at: float | None) -> Added:
        before = self.last_ok_at
        running = self._processes_at(before) if samples and self.complete else frozenset()
        added: Added = []
        for sample in samples:
            key = (sample.name, sample.labels)
            if key in self._series:
                continue
            labels = dict(sample.labels)
            series = Series(
                source=self.name,
                labels=sample.labels,
                process=labels.get("WorkerId", ""),
                bound=float(labels.get("le", math.nan)),
            )
            if RECORDED[sample.name].counts and restarted_at is not None:
                series.append(restarted_at, 0.0)
            elif RECORDED[sample.name].counts and series.process in running:
                # Counters appear with their first increment: this process showed itself before without this one.
                series.append(before, 0.0)
            series.append(at, sample.value if 0.0 <= sample.value < math.inf else math.nan)
            self._series[key] = series
            added.append((sample.name, series))
        return added

    def _processes_at(self, at: float) -> frozenset[str]:
        def shown(series: Series) -> bool:
            place = bisect_left(series.times, at)
            return place < len(series.times) and series.times[place] == at

        return frozenset(series.process for series in self._series.values() if shown(series))

    def _restarted_at(self, scrape: Scrape) -> float | None:
        """When a new process took over since the answer before, if one did (HAProxy, at every reload)."""
        if self.kind is not SourceKind.HAPROXY:
            return None
        name = scraped.HAPROXY_START_TIME.name
        found = next((sample.value for sample in scrape.samples if sample.name == name), math.nan)
        before = self._process_started_at
        if not math.isfinite(found):
            return None
        self._process_started_at = found
        if before is None or before == found or not self._times:
            return None
        return min(max(found, self.last_ok_at), scrape.at)
