"""The structured log: one JSON line per tick, one per change of a target."""

from __future__ import annotations

from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from controller.domain.identity import DeploymentId
from controller.domain.plan import Outcome, OutcomeStatus
from controller.domain.record import DeploymentRecord, TickRecord
from controller.export.compact import compact
from controller.ports import Clock

_REFUSALS = {OutcomeStatus.REFUSED, OutcomeStatus.FAILED}


def json_log(stream: TextIO, clock: Clock) -> FilteringBoundLogger:
    """Return a logger that writes one JSON object per line, with the time (Unix seconds) as ``at``."""

    def stamp(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("at", round(clock.now(), 3))
        return event

    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    return logger


class LogExporter:
    """Logs every tick, every change of a target and every change that did not come about."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._degraded: tuple[str, ...] = ()
        self._advised: dict[DeploymentId, int | None] = {}

    def export(self, record: TickRecord) -> None:
        """Log one record."""
        for deployment in record.deployments:
            self._changes(record.tick, deployment)
        seconds = sum(taken for _, taken in record.step_seconds)
        self._log.info("tick", **compact(record), seconds=round(seconds, 4))
        if record.degraded != self._degraded:
            self._degraded = record.degraded
            self._log.warning("degraded", tick=record.tick, conditions=record.degraded)

    def _changes(self, tick: int, deployment: DeploymentRecord) -> None:
        decision, outcome = deployment.decision, deployment.outcome
        facts = {
            "tick": tick,
            "deployment": str(decision.id),
            "current": decision.current,
            "desired": decision.desired,
            "reason": decision.binding.value,
        }
        advice = decision.desired if outcome.status is OutcomeStatus.ADVISED else None
        if outcome.status is OutcomeStatus.APPLIED:
            self._log.info("target_changed", **facts)
        elif advice is not None and advice != self._advised.get(decision.id):
            self._log.info("target_advised", **facts)
        elif outcome.status in _REFUSALS:
            self._log.warning("target_not_changed", **facts, **_what_happened(outcome))
        self._advised[decision.id] = advice


def _what_happened(outcome: Outcome) -> dict[str, Any]:
    return {"outcome": outcome.status.value, "detail": outcome.detail, "attempts": outcome.attempts}
