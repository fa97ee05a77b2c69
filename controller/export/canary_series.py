"""One canary of a tick's record as series of catalogued gauges. A pure function of the record."""

from __future__ import annotations

from collections.abc import Iterator

from controller.catalog import exported
from controller.catalog.metric import Series
from controller.domain.canary import CanaryPhase, CanaryRecord


def canary_gauges(record: CanaryRecord) -> Iterator[Series]:
    """Yield every series of one canary. While the splitter does not answer, there is no share and no count."""
    for phase in CanaryPhase:
        yield exported.CANARY_PHASE, (record.name, record.progress.build, phase.value), phase is record.progress.phase
    if record.found_share is not None:
        yield exported.CANARY_SHARE, (record.name,), record.found_share
    for side, seen in (("canary", record.canary), ("stable", record.stable)):
        if seen is None:
            continue
        yield exported.CANARY_REQUESTS, (record.name, side, "ok"), seen.requests - seen.failed
        yield exported.CANARY_REQUESTS, (record.name, side, "failed"), seen.failed
        if seen.first_byte_p50_s is not None:
            yield exported.CANARY_FIRST_BYTE, (record.name, side), seen.first_byte_p50_s
