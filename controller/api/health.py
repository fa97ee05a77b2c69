"""When the controller counts as alive, and when as ready. Pure functions of what it last did."""

from __future__ import annotations

from controller.domain.record import TickRecord
from controller.domain.scrape import SourceKind

_AT_LEAST_S = 30.0


def not_alive(age_s: float, *, interval_s: float) -> str | None:
    """Say why the loop counts as stuck, or None: the last tick may be three intervals or 30 s old."""
    allowed_s = max(3 * interval_s, _AT_LEAST_S)
    if age_s <= allowed_s:
        return None
    return f"no tick was completed for {age_s:.0f} s; at most {allowed_s:.0f} s are normal"


def not_ready(record: TickRecord | None) -> tuple[str, ...]:
    """Say what is missing to scale with open eyes: a completed tick, with Ray Serve answering in it."""
    if record is None:
        return ("no tick has been completed yet",)
    serve = [source for source in record.sources if source.kind is SourceKind.SERVE]
    if any(not source.stale for source in serve):
        return ()
    return tuple(f"{source.source}: {source.error or 'no answer'}" for source in serve) or (
        "Ray Serve has not answered yet",
    )
