"""Demand over the past hours in evenly spaced bins, small enough to keep for hundreds of deployments."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from controller.domain.identity import DeploymentId
from controller.domain.lasting import Tail
from controller.domain.reading import Known
from controller.domain.signals import MEASURED, Signal
from controller.domain.snapshot import History, Snapshot

HistoryEntry = tuple[DeploymentId, Signal, History]

CLOCK_STEP_BINS = 12
"""A reading this many bins or more before the newest one means that the clock was set back."""


_DAY_S = 86_400.0
_DECIMALS = 3
"""Digits that are read back: single precision holds no more of a demand worth planning for."""


@dataclass(frozen=True, slots=True)
class PackedDay:
    """One signal's bins of one day since the epoch, from ``first_bin`` until ``end`` (Unix seconds), as float32."""

    day: int
    first_bin: int
    end: float
    bins: bytes


class DemandHistory:
    """Mean of the known readings per bin, None where there was none; the unfinished bin is held back.

    Values are kept in single precision: 4 bytes a bin, 28 MB for 200 deployments, 4 signals, 8640 bins.
    A value read back is a Python float: ask for what is new.
    """

    def __init__(self, *, step_s: float = 5.0, max_bins: int = 8640) -> None:
        self.step_s = step_s
        self.max_bins = max_bins
        self._tracks: dict[tuple[DeploymentId, Signal], _Track] = {}

    def record(self, snapshot: Snapshot) -> None:
        """Take in the demand of one snapshot."""
        bin_index = math.floor(snapshot.at / self.step_s)
        for signal in MEASURED:
            reading = snapshot.reading(signal)
            track = self._tracks.setdefault((snapshot.id, signal), _Track(open_bin=bin_index))
            track.record(bin_index, reading.value if isinstance(reading, Known) else None, self.max_bins)

    def history(
        self, deployment: DeploymentId, signal: Signal, since: float | None = None, /, *, last_bins: int | None = None
    ) -> History:
        """Return the finished bins of one signal, or those that end after ``since``, at most ``last_bins``.

        Empty when it was never recorded.
        """
        track = self._tracks.get((deployment, signal))
        if track is None:
            return History(start=0.0, step_s=self.step_s)
        wanted = [len(track.bins)] if last_bins is None else [last_bins]
        if since is not None:
            wanted.append(track.open_bin - math.floor(since / self.step_s))
        return self._history(track, max(0, min(wanted)))

    def entries(self) -> tuple[HistoryEntry, ...]:
        """Return all histories whole, to be given to ``restore``."""
        return tuple((*key, self._history(track, len(track.bins))) for key, track in self._tracks.items())

    def tails(self, held_until: Callable[[DeploymentId, Signal], float | None]) -> tuple[Tail, ...]:
        """Return all histories: whole, or from the last bin on that ends by ``held_until``."""
        return tuple(self._tail(key, track, held_until(*key)) for key, track in self._tracks.items())

    def signals(self) -> tuple[tuple[DeploymentId, Signal], ...]:
        """Return what was recorded."""
        return tuple(self._tracks)

    def days(self, deployment: DeploymentId, signal: Signal) -> Iterator[PackedDay]:
        """Yield one signal's bins day by day (UTC), oldest first."""
        track = self._tracks[deployment, signal]
        per_day = round(_DAY_S / self.step_s)
        first = track.open_bin - len(track.bins)
        for day in range(first // per_day, (track.open_bin - 1) // per_day + 1):
            begin, end = max(first, day * per_day), min(track.open_bin, (day + 1) * per_day)
            bins = track.bins[begin - first : end - first]
            yield PackedDay(day=day, first_bin=begin, end=end * self.step_s, bins=bins.tobytes())

    def restore_days(self, deployment: DeploymentId, signal: Signal, days: Sequence[PackedDay]) -> None:
        """Go on from packed days, in any order; what was already recorded is kept instead."""
        if not days or (deployment, signal) in self._tracks:
            return
        arrays = {day.first_bin: np.frombuffer(day.bins, dtype=np.float32) for day in days}
        end = max(first + values.size for first, values in arrays.items())
        begin = max(min(arrays), end - self.max_bins)
        whole = np.full(end - begin, np.nan, dtype=np.float32)
        for first, values in arrays.items():
            kept = values[max(0, begin - first) :]
            whole[max(first, begin) - begin :][: kept.size] = kept
        track = _Track(open_bin=end)
        track.bins.frombytes(whole.tobytes())
        self._tracks[deployment, signal] = track

    def restore(self, entries: Sequence[HistoryEntry]) -> None:
        """Go on from ``entries``, before anything is recorded.

        What was already recorded is kept instead; so are entries dropped whose bins are not this history's.
        """
        for deployment, signal, history in entries:
            first = round(history.start / self.step_s)
            aligned = math.isclose(first * self.step_s, history.start, abs_tol=1e-3)
            if history.step_s != self.step_s or not aligned or (deployment, signal) in self._tracks:
                continue
            values = history.values[-self.max_bins :]
            track = _Track(open_bin=first + len(history.values))
            track.bins.extend(math.nan if value is None else value for value in values)
            self._tracks[deployment, signal] = track

    def fill(self, deployment: DeploymentId, signal: Signal, start: float, values: NDArray[np.float64]) -> int:
        """Take in what others measured where nothing is known, before anything is recorded; returns the bins filled.

        ``values`` are in bins of ``step_s`` from ``start`` (Unix seconds, a multiple of it); NaN where unknown.
        """
        useful = np.flatnonzero(np.isfinite(values))
        if not useful.size:
            return 0
        first, end = round(start / self.step_s), round(start / self.step_s) + int(useful[-1]) + 1
        track = self._tracks.get((deployment, signal)) or _Track(open_bin=end)
        own = np.asarray(track.bins, dtype=np.float64)
        own_first, last = track.open_bin - own.size, max(end, track.open_bin)
        begin = max(min(first + int(useful[0]), own_first), last - self.max_bins)
        whole = np.full(last - begin, math.nan)
        _lay(whole, begin, own_first, own)
        known = int(np.isfinite(whole).sum())
        missing = np.full(last - begin, math.nan)
        _lay(missing, begin, first, values[: useful[-1] + 1])
        whole = np.where(np.isfinite(whole), whole, missing)
        filled = _Track(open_bin=last)
        filled.bins.frombytes(whole.astype(np.float32).tobytes())
        self._tracks[deployment, signal] = filled
        return int(np.isfinite(whole).sum()) - known

    def _tail(self, key: tuple[DeploymentId, Signal], track: _Track, held_until: float | None) -> Tail:
        bins = len(track.bins)
        if held_until is not None:
            bins = min(bins, max(1, track.open_bin - round(held_until / self.step_s) + 1))
        begins = (track.open_bin - len(track.bins)) * self.step_s
        return Tail(deployment=key[0], signal=key[1], begins=begins, history=self._history(track, bins))

    def _history(self, track: _Track, last_bins: int) -> History:
        bins = track.bins[max(0, len(track.bins) - last_bins) :]
        return History(
            start=(track.open_bin - len(bins)) * self.step_s,
            step_s=self.step_s,
            values=_values(bins),
        )


def _lay(whole: NDArray[np.float64], begin: int, first: int, values: NDArray[np.float64]) -> None:
    """Write ``values``, which begin at bin ``first``, into ``whole``, which begins at bin ``begin``."""
    kept = values[max(0, begin - first) :]
    place = max(first, begin) - begin
    whole[place : place + kept.size] = kept[: max(0, whole.size - place)]


def _values(bins: array[float]) -> tuple[float | None, ...]:
    rounded = np.asarray(bins, dtype=np.float64).round(_DECIMALS)
    unknown = np.flatnonzero(~np.isfinite(rounded))
    values: list[float | None] = rounded.tolist()
    for place in unknown.tolist():
        values[place] = None
    return tuple(values)


@dataclass(slots=True)
class _Track:
    """Finished bins of one signal (NaN: none known), ending where the open bin begins."""

    open_bin: int
    bins: array[float] = field(default_factory=lambda: array("f"))
    total: float = 0.0
    known: int = 0

    def record(self, bin_index: int, value: float | None, max_bins: int) -> None:
        if bin_index <= self.open_bin - CLOCK_STEP_BINS:
            self._step_back(bin_index)
        elif bin_index < self.open_bin:
            return
        elif bin_index > self.open_bin:
            self._close(bin_index, max_bins)
        if value is not None:
            self.total += value
            self.known += 1

    def _close(self, bin_index: int, max_bins: int) -> None:
        self.bins.append(self.total / self.known if self.known else math.nan)
        gap = min(bin_index - self.open_bin - 1, max_bins)
        self.bins.extend([math.nan] * gap)
        del self.bins[: max(0, len(self.bins) - max_bins)]
        self.open_bin, self.total, self.known = bin_index, 0.0, 0

    def _step_back(self, bin_index: int) -> None:
        first = self.open_bin - len(self.bins)
        del self.bins[max(0, bin_index - first) :]
        self.open_bin, self.total, self.known = bin_index, 0.0, 0
