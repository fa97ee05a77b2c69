"""A run in numbers, folded up request by request in constant memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from controller.load.histogram import LogHistogram
from controller.load.row import DROPPED, UNFINISHED, RequestRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Quantiles in seconds; None where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, histogram: LogHistogram) -> Quantiles:
        """Read them off a histogram."""
        return cls(p50=histogram.quantile(0.5), p95=histogram.quantile(0.95), p99=histogram.quantile(0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """A whole run. ``elapsed_s`` is from the start to the end of the last request.

    Latencies are of every request that got as far, failed ones included; quantiles are within 0.5 %.
    ``ttft`` counts from the send, ``ttft_from_schedule`` from when the request should have been
    sent. ``errors`` counts failures by class; ``dropped`` requests were never sent and are not in it.
    """

    elapsed_s: float
    sent: int
    completed: int
    failed: int
    dropped: int
    unfinished: int
    rps: float
    output_tokens_per_s: float
    output_tokens: int
    prompt_tokens_asked: int
    prompt_tokens_measured: int | None
    ttft: Quantiles
    ttft_from_schedule: Quantiles
    itl: Quantiles
    total: Quantiles
    send_lag: Quantiles
    errors: dict[str, int]

    @property
    def clean(self) -> bool:
        """Whether every request was sent and came to its end."""
        return self.failed == 0 and self.dropped == 0


class SummaryFold:
    """Adds rows up to a ``LoadSummary``."""

    def __init__(self) -> None:
        self._end_s = 0.0
        self._errors: Counter[str] = Counter()
        self._sent = self._completed = self._dropped = 0
        self._output_tokens = self._asked = self._measured = 0
        self._measured_any = False
        self._ttft = LogHistogram()
        self._ttft_from_schedule = LogHistogram()
        self._itl = LogHistogram()
        self._total = LogHistogram()
        self._lag = LogHistogram()

    def add(self, row: RequestRow) -> None:
        """Count one request."""
        self._end_s = max(self._end_s, row.end_s)
        if row.status == DROPPED:
            self._dropped += 1
            return
        self._sent += 1
        self._output_tokens += row.tokens_out
        self._add_latencies(row)
        if row.ok:
            self._completed += 1
        else:
            self._errors[row.status] += 1
        if row.prompt_tokens_measured is not None:
            self._measured_any = True
            self._asked += row.prompt_tokens
            self._measured += row.prompt_tokens_measured

    def summary(self) -> LoadSummary:
        """Everything counted so far."""
        elapsed_s = self._end_s
        per_second = 1.0 / elapsed_s if elapsed_s > 0 else 0.0
        return LoadSummary(
            elapsed_s=elapsed_s,
            sent=self._sent,
            completed=self._completed,
            failed=self._errors.total(),
            dropped=self._dropped,
            unfinished=self._errors[UNFINISHED],
            rps=self._completed * per_second,
            output_tokens_per_s=self._output_tokens * per_second,
            output_tokens=self._output_tokens,
            prompt_tokens_asked=self._asked,
            prompt_tokens_measured=self._measured if self._measured_any else None,
            ttft=Quantiles.of(self._ttft),
            ttft_from_schedule=Quantiles.of(self._ttft_from_schedule),
            itl=Quantiles.of(self._itl),
            total=Quantiles.of(self._total),
            send_lag=Quantiles.of(self._lag),
            errors=dict(sorted(self._errors.items())),
        )

    def _add_latencies(self, row: RequestRow) -> None:
        self._lag.add(row.lag_s)
        if row.ttft_s is not None:
            self._ttft.add(row.ttft_s)
            self._ttft_from_schedule.add(row.ttft_s + row.lag_s)
        if row.ok and row.total_s is not None:
            self._total.add(row.total_s)
        for gap in row.itl_s:
            self._itl.add(gap)


def summarise(rows: Iterable[RequestRow]) -> LoadSummary:
    """Sum rows up."""
    fold = SummaryFold()
    for row in rows:
        fold.add(row)
    return fold.summary()
