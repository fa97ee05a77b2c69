"""Demand over the past hours in evenly spaced bins, small enough to keep for hundreds of deployments."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known
from controller.domain.signals import MEASURED, Signal
from controller.domain.snapshot import History, Snapshot

HistoryEntry = tuple[DeploymentId, Signal, History]

CLOCK_STEP_BINS = 12
"""A reading this many bins or more before the newest one means that the clock was set back."""


_DECIMALS = 3
"""Digits that are read back: single precision holds no more of a demand worth planning for."""


class DemandHistory:
    """Mean of the known readings per bin, None where there was none; the unfinished bin is held back.

    Values are kept in single precision: 4 bytes a bin, 28 MB for 200 deployments, 4 signals, 8640 bins.
    A value read back is a Python float, so ``entries`` of all that takes about a second and 250 MB: give it
    ``last_bins``, or call it less often than every tick.
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

    def history(self, deployment: DeploymentId, signal: Signal, *, last_bins: int | None = None) -> History:
        """Return the finished bins of one signal, or the newest ``last_bins``; empty when it was never recorded."""
        track = self._tracks.get((deployment, signal))
        return History(start=0.0, step_s=self.step_s) if track is None else self._history(track, last_bins)

    def entries(self, *, last_bins: int | None = None) -> tuple[HistoryEntry, ...]:
        """Return all histories, or the newest ``last_bins`` bins of each, to be given to ``restore``."""
        return tuple(
            (deployment, signal, self._history(track, last_bins))
            for (deployment, signal), track in self._tracks.items()
        )

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

    def _history(self, track: _Track, last_bins: int | None) -> History:
        bins = track.bins if last_bins is None else track.bins[max(0, len(track.bins) - last_bins) :]
        return History(
            start=(track.open_bin - len(bins)) * self.step_s,
            step_s=self.step_s,
            values=_values(bins),
        )


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
