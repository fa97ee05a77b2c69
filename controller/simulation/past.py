"""What a controller had seen before the demand began: a minute series of requests and tokens."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.errors import BadInputError
from controller.simulation.state import Floats
from controller.window.history import DemandHistory, HistoryEntry

_HEADER = ["t_s", "n", "prompt_tokens", "output_tokens"]
_MAX_ROWS = 600_000
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """Rates per second in bins of ``step_s``, the newest ending where the demand begins."""

    step_s: float
    rates: dict[Signal, Floats]

    @property
    def length_s(self) -> float:
        """How long the series is."""
        return self.step_s * len(next(iter(self.rates.values())))

    def scaled(self, scale: float) -> Past:
        """Return the same series for so many times the traffic."""
        return replace(self, rates={signal: values * scale for signal, values in self.rates.items()})

    def until(self, seconds: float) -> Past:
        """Return the same series for a demand that begins ``seconds`` later: what came meanwhile is unknown."""
        gap = np.full(int(seconds // self.step_s), np.nan)
        return Past(
            step_s=self.step_s,
            rates={signal: np.concatenate([values, gap]) for signal, values in self.rates.items()},
        )

    def entries(
        self, deployment: DeploymentId, until: float, history: DemandHistory, *, interval_s: float = 0.0
    ) -> tuple[HistoryEntry, ...]:
        """Return the series in the bins of ``history``, as far back as it reaches; ``until`` is its end (Unix).

        A controller that looked every ``interval_s`` knows only the bins in which it looked.
        """
        bins = min(history.max_bins, int(self.length_s // history.step_s))
        start = until - bins * history.step_s
        before = np.arange(bins, 0, -1)
        unseen = before % max(1, round(interval_s / history.step_s)) != 0
        ages = (before - 0.5) * history.step_s
        rows = (len(next(iter(self.rates.values()))) - 1 - ages // self.step_s).astype(np.int64)
        return tuple(
            (
                deployment,
                signal,
                History(start=start, step_s=history.step_s, values=_values(np.where(unseen, np.nan, values[rows]))),
            )
            for signal, values in self.rates.items()
        )


def read_past(path: Path, *, scale: float) -> Past:
    """Read a ``t_s,n,prompt_tokens,output_tokens`` file (also gzip); counts are multiplied by ``scale``.

    Raises:
        BadInputError: the file cannot be read, or is not such a series in even steps.

    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}; expected a CSV file of {','.join(_HEADER)}"
        raise BadInputError(msg) from None
    rows = list(csv.reader(text.splitlines()[: _MAX_ROWS + 1]))
    if not rows or rows[0] != _HEADER or len(rows) < 3:  # noqa: PLR2004 - a header and two bins
        msg = f"{path}:1: expected the header {','.join(_HEADER)} and at least two lines"
        raise BadInputError(msg)
    values = np.array([_numbers(path, number, row) for number, row in enumerate(rows[1:], start=2)])
    steps = np.diff(values[:, 0])
    if not np.allclose(steps, steps[0]) or steps[0] <= 0:
        number = int(np.flatnonzero(~np.isclose(steps, steps[0]))[:1].sum()) + 3
        msg = f"{path}:{number}: t_s must rise by the same step on every line"
        raise BadInputError(msg)
    per_s = values[:, 1:] * scale / steps[0]
    signals = (Signal.REQUESTS, Signal.PREFILL_TOKENS, Signal.DECODE_TOKENS)
    return Past(step_s=float(steps[0]), rates=dict(zip(signals, per_s.T, strict=True)))


def _values(rates: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(rate) else rate for rate in rates.tolist())


def _numbers(path: Path, number: int, row: list[str]) -> list[float]:
    try:
        values = [float(field) for field in row]
    except ValueError:
        values = []
    if len(values) != len(_HEADER) or not all(np.isfinite(values)):
        msg = f"{path}:{number}: expected {len(_HEADER)} numbers, found {','.join(row)[:60]!r}"
        raise BadInputError(msg)
    return values
