"""A deployment's own history: requests and tokens per second in bins, and requests made to fit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller.domain.signals import Signal
from controller.errors import BadInputError
from controller.simulation.demand import Demand
from controller.simulation.past import Past
from controller.simulation.state import Floats, Ints

SIGNALS = (Signal.REQUESTS, Signal.PREFILL_TOKENS, Signal.DECODE_TOKENS)
LEAST_S = 1800.0
"""Less known history than this is no ground to compare policies on."""

_MOST_UNKNOWN = 0.25
_PAST_STEP_S = 60.0
_SIZES_OVER_S = 600.0
_SPREAD = 0.8
_MOST_TOKENS = 1_000_000
_MOST_REQUESTS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """Rates per second in bins of ``step_s`` from ``start`` (Unix seconds); NaN where unknown."""

    start: float
    step_s: float
    values: Mapping[Signal, Floats]

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.values[Signal.REQUESTS])

    @property
    def end(self) -> float:
        """End of the newest bin."""
        return self.start + self.bins * self.step_s

    @property
    def known(self) -> Floats:
        """1 for each bin in which all rates are known, else 0."""
        known = np.all([np.isfinite(self.values[signal]) for signal in SIGNALS], axis=0)
        return np.asarray(known, dtype=np.float64)

    def part(self, begin: float, end: float) -> Rates:
        """Cut out the bins from ``begin`` up to ``end``."""
        first = max(0, round((begin - self.start) / self.step_s))
        last = max(first, round((end - self.start) / self.step_s))
        return Rates(
            start=self.start + first * self.step_s,
            step_s=self.step_s,
            values={signal: values[first:last] for signal, values in self.values.items()},
        )

    def trimmed(self) -> Rates:
        """Without the unknown bins at both ends."""
        known = np.flatnonzero(self.known)
        if not len(known):
            return self.part(self.start, self.start)
        return self.part(self.start + known[0] * self.step_s, self.start + (known[-1] + 1) * self.step_s)

    def filled_from(self, other: Mapping[Signal, tuple[float, float, Floats]]) -> Rates:
        """Fill unknown bins from coarser or finer series, each with its start and step; means of what a bin meets."""
        filled = {}
        for signal, values in self.values.items():
            start, step_s, series = other.get(signal, (0.0, 1.0, np.empty(0)))
            found = _on_grid(series, start, step_s, grid_start=self.start, grid_step_s=self.step_s, bins=len(values))
            filled[signal] = np.where(np.isfinite(values), values, found)
        return replace(self, values=filled)


def no_rates(start: float, end: float, step_s: float) -> Rates:
    """A grid in which nothing is known yet."""
    bins = max(0, round((end - start) / step_s))
    return Rates(start=start, step_s=step_s, values={signal: np.full(bins, np.nan) for signal in SIGNALS})


def recent(rates: Rates, last_s: float, *, source: str) -> tuple[Rates, Past | None]:
    """Split off the newest ``last_s`` to be replayed; what came before is the past, None where there is none.

    Raises:
        BadInputError: too little is known of it; says how much.

    """
    rates = rates.trimmed()
    part = rates.part(rates.end - last_s, rates.end).trimmed()
    known_s = float(part.known.sum()) * part.step_s
    if known_s < LEAST_S:
        msg = (
            f"{source}: requests and tokens per second are known for {known_s / 60:.0f} min of the last "
            f"{last_s / 3600:g} h; at least {LEAST_S / 60:.0f} min are needed. Let the controller run for longer"
        )
        raise BadInputError(msg)
    unknown = 1.0 - float(part.known.mean())
    if unknown > _MOST_UNKNOWN:
        msg = (
            f"{source}: {unknown:.0%} of the {part.bins * part.step_s / 3600:.1f} h to replay is unknown, more than "
            f"{_MOST_UNKNOWN:.0%}; choose a shorter --last"
        )
        raise BadInputError(msg)
    before = rates.part(rates.start, part.start)
    return part, _past(before) if before.bins * before.step_s >= 2 * _PAST_STEP_S else None


def requests_of(rates: Rates, *, scale: float, seed: int) -> Demand:
    """Make requests that fit the rates: Poisson within each bin, sizes log-normal with the means of their ten minutes.

    Sizes are scaled so that each ten minutes' tokens are those that were counted. Unknown bins are interpolated.
    The same arguments always make the same requests.

    Raises:
        BadInputError: there is not one request in it, or far too many.

    """
    rng = np.random.default_rng([seed, 0xDE3A])
    per_bin = {
        signal: np.maximum(0.0, _interpolated(rates.values[signal])) * rates.step_s * scale for signal in SIGNALS
    }
    if per_bin[Signal.REQUESTS].sum() > _MOST_REQUESTS:
        msg = f"--scale {scale:g} makes more than {_MOST_REQUESTS:,} requests; choose a shorter --last"
        raise BadInputError(msg)
    counts = rng.poisson(per_bin[Signal.REQUESTS])
    bins = np.repeat(np.arange(rates.bins), counts)
    arrival = (bins + rng.random(len(bins))) * rates.step_s
    if not len(arrival):
        msg = "no request in the history that is to be replayed; choose a longer --last"
        raise BadInputError(msg)
    order = np.argsort(arrival, kind="stable")
    blocks = np.minimum(bins * rates.step_s // _SIZES_OVER_S, (rates.bins * rates.step_s - 1e-9) // _SIZES_OVER_S)
    block = blocks.astype(np.int64)[order]
    prompt = _sizes(per_bin[Signal.PREFILL_TOKENS], rates.step_s, block, rng)
    output = _sizes(per_bin[Signal.DECODE_TOKENS], rates.step_s, block, rng)
    return Demand(
        arrival_s=arrival[order], prompt_tokens=prompt, output_tokens=output, length_s=rates.bins * rates.step_s
    )


def _sizes(tokens: Floats, step_s: float, block: Ints, rng: np.random.Generator) -> Ints:
    """Share each block's tokens out among its requests, at least one each."""
    of_bin = (np.arange(len(tokens)) * step_s // _SIZES_OVER_S).astype(np.int64)
    blocks = int(max(of_bin.max(initial=0), block.max(initial=0))) + 1
    wanted = np.bincount(of_bin, weights=tokens, minlength=blocks)
    weights = rng.lognormal(0.0, _SPREAD, len(block))
    total = np.bincount(block, weights=weights, minlength=blocks)
    exact = weights * wanted[block] / np.maximum(total[block], 1e-12)
    return np.asarray(np.clip(np.rint(exact), 1, _MOST_TOKENS), dtype=np.int64)


def _past(rates: Rates) -> Past:
    """Means of minutes, ending where the rates do."""
    bins = int(rates.bins * rates.step_s // _PAST_STEP_S)
    start = rates.end - bins * _PAST_STEP_S
    return Past(
        step_s=_PAST_STEP_S,
        rates={
            signal: _on_grid(values, rates.start, rates.step_s, grid_start=start, grid_step_s=_PAST_STEP_S, bins=bins)
            for signal, values in rates.values.items()
        },
    )


def _on_grid(
    series: Floats, start: float, step_s: float, *, grid_start: float, grid_step_s: float, bins: int
) -> Floats:
    """Bring a series onto another grid: means of the known values that begin in a bin, else the value it lies in."""
    found = np.full(bins, np.nan)
    if not len(series) or not bins:
        return found
    known = np.isfinite(series)
    if step_s <= grid_step_s:
        place = np.floor((start + (np.arange(len(series)) + 0.5) * step_s - grid_start) / grid_step_s).astype(np.int64)
        usable = known & (place >= 0) & (place < bins)
        count = np.bincount(place[usable], minlength=bins)
        total = np.bincount(place[usable], weights=series[usable], minlength=bins)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
    place = np.floor((grid_start + (np.arange(bins) + 0.5) * grid_step_s - start) / step_s).astype(np.int64)
    usable = (place >= 0) & (place < len(series))
    found[usable] = series[place[usable]]
    return found


def _interpolated(values: Floats) -> Floats:
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.zeros(len(values))
    return np.asarray(np.interp(np.arange(len(values)), known, values[known]), dtype=np.float64)
