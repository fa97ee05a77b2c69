"""A run while it runs: one line of numbers per second."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from controller.load.histogram import LogHistogram
from controller.load.row import RequestRow

WINDOW_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTick:
    """Counts since the start; rates and quantiles over the last five ticks (seconds).

    ``rps`` counts requests sent. ``output_tokens_per_s`` counts chunks that carried text. Quantiles
    are None while nothing was measured.
    """

    t_s: float
    sent: int
    completed: int
    failed: int
    in_flight: int
    rps: float
    output_tokens_per_s: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    itl_p50_s: float | None
    itl_p95_s: float | None
    dropped: int = 0


_TICK = TypeAdapter(LoadTick)


def dump_tick(tick: LoadTick) -> bytes:
    """One tick as one line of JSON, without the line end."""
    return _TICK.dump_json(tick)


def load_tick(line: bytes | str) -> LoadTick | None:
    """Read one line of ``foreserve load --json``; None for the summary or anything else."""
    try:
        return _TICK.validate_json(line)
    except ValidationError:
        return None


@dataclass(slots=True)
class _Slice:
    """What happened between two ticks."""

    started_s: float
    sent: int = 0
    chunks: int = 0
    ttft: LogHistogram = field(default_factory=LogHistogram)
    itl: LogHistogram = field(default_factory=LogHistogram)


class Meter:
    """Counts what the generator does, as it does it."""

    def __init__(self) -> None:
        self.sent = self.completed = self.failed = self.dropped = self.in_flight = 0
        self._slices: deque[_Slice] = deque([_Slice(0.0)], maxlen=WINDOW_TICKS)

    def on_send(self) -> None:
        """A request goes out."""
        self.sent += 1
        self.in_flight += 1
        self._slices[-1].sent += 1

    def on_drop(self) -> None:
        """A request is due but too many are in flight."""
        self.dropped += 1

    def on_first_token(self, ttft_s: float, chunks: int) -> None:
        """The first text of a stream arrives, with ``chunks`` chunks at once."""
        self._slices[-1].ttft.add(ttft_s)
        self._slices[-1].chunks += chunks

    def on_token(self, gap_s: float, chunks: int) -> None:
        """More text arrives: ``chunks`` chunks at once, ``gap_s`` after the previous one."""
        current = self._slices[-1]
        current.itl.add(gap_s)
        for _ in range(chunks - 1):
            current.itl.add(0.0)
        current.chunks += chunks

    def on_end(self, row: RequestRow) -> None:
        """A request that was sent is over."""
        self.in_flight -= 1
        if row.ok:
            self.completed += 1
        else:
            self.failed += 1

    def tick(self, t_s: float) -> LoadTick:
        """Numbers at ``t_s`` seconds after the start; begins the next slice."""
        span = max(t_s - self._slices[0].started_s, 1e-9)
        ttft = LogHistogram.merged(part.ttft for part in self._slices)
        itl = LogHistogram.merged(part.itl for part in self._slices)
        result = LoadTick(
            t_s=round(t_s, 3),
            sent=self.sent,
            completed=self.completed,
            failed=self.failed,
            in_flight=self.in_flight,
            rps=round(sum(part.sent for part in self._slices) / span, 3),
            output_tokens_per_s=round(sum(part.chunks for part in self._slices) / span, 3),
            ttft_p50_s=ttft.quantile(0.5),
            ttft_p95_s=ttft.quantile(0.95),
            itl_p50_s=itl.quantile(0.5),
            itl_p95_s=itl.quantile(0.95),
            dropped=self.dropped,
        )
        self._slices.append(_Slice(t_s))
        return result
