"""What became of one request."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

OK = "ok"
DROPPED = "dropped"
CANCELLED = "cancelled"
UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request. Times in seconds; ``ttft_s`` and ``total_s`` count from the send.

    ``at`` is the scheduled time in Unix seconds, ``scheduled_s`` the same from the start of the run;
    ``lag_s`` is how late the request was sent. ``prompt_tokens`` and ``output_tokens`` were asked
    for; ``*_measured`` are the server's own counts. ``itl_s`` are the gaps between chunks that
    carried text, ``chunks`` their number.

    ``status`` is ``ok`` or the class of failure: ``http_<code>``, ``connect``, ``disconnected``,
    ``timeout``, ``unfinished`` (the stream ended without its end mark), ``stream_error`` (the
    server said so in the stream), ``not_a_stream``, ``cancelled`` (by us), ``dropped`` (never
    sent: too many in flight).
    """

    index: int
    at: float
    scheduled_s: float
    prompt_tokens: int
    output_tokens: int
    status: str
    lag_s: float = 0.0
    http_status: int | None = None
    ttft_s: float | None = None
    total_s: float | None = None
    itl_s: tuple[float, ...] = ()
    chunks: int = 0
    prompt_tokens_measured: int | None = None
    output_tokens_measured: int | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the stream came to its end mark without an error."""
        return self.status == OK

    @property
    def sent(self) -> bool:
        """Whether it was sent at all."""
        return self.status != DROPPED

    @property
    def ttft_from_schedule_s(self) -> float | None:
        """Time to first token as a user feels it who came at the scheduled time."""
        return None if self.ttft_s is None else self.ttft_s + self.lag_s

    @property
    def end_s(self) -> float:
        """When it was over, in seconds from the start of the run."""
        return self.scheduled_s + self.lag_s + (self.total_s or 0.0)

    @property
    def tokens_out(self) -> int:
        """Output tokens received: the server's count, or else the chunks."""
        return self.chunks if self.output_tokens_measured is None else self.output_tokens_measured


_ROW = TypeAdapter(RequestRow)


def dump_row(row: RequestRow) -> bytes:
    """One row as one line of JSON, without the line end."""
    return _ROW.dump_json(row)


def load_row(data: bytes) -> RequestRow:
    """Read one row. Raises ``pydantic.ValidationError`` when it is none."""
    return _ROW.validate_json(data)
