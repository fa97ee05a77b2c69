"""One tick in one line: what a person or a script follows."""

from __future__ import annotations

import contextlib
import json
from typing import Any, TextIO

from controller.domain.forecast import Forecast
from controller.domain.reading import Known, Reading
from controller.domain.record import DeploymentRecord, TickRecord


def compact(record: TickRecord) -> dict[str, Any]:
    """Return the short form of a record, made of JSON types. Unknown demand is null."""
    return {
        "at": record.at,
        "tick": record.tick,
        "mode": record.mode,
        "policy": record.policy_version,
        "deployments": [_deployment(deployment) for deployment in record.deployments],
        "overrides": [
            {"id": one.id, "action": one.action.value, "deployment": str(one.deployment or "all"), "until": one.until}
            for one in record.overrides
        ],
        "degraded": list(record.degraded),
    }


class LineExporter:
    """Writes the short form of every record as one line of JSON; a reader that went away is not missed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def export(self, record: TickRecord) -> None:
        """Write one line."""
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(json.dumps(compact(record), separators=(",", ":")) + "\n")
            self._stream.flush()


def _deployment(record: DeploymentRecord) -> dict[str, Any]:
    snapshot, decision, outcome = record.snapshot, record.decision, record.outcome
    return {
        "deployment": str(decision.id),
        "demand": {signal.value: _value(reading) for signal, reading in snapshot.demand.items()},
        "band": {forecast.signal.value: _band(forecast) for forecast in decision.forecasts},
        "target": decision.current,
        "ready": None if snapshot.replicas is None else snapshot.replicas.ready,
        "desired": decision.desired,
        "action": decision.action.value,
        "reason": decision.binding.value,
        "outcome": outcome.status.value,
    }


def _value(reading: Reading) -> float | None:
    return round(reading.value, 3) if isinstance(reading, Known) else None


def _band(forecast: Forecast) -> dict[str, float]:
    return {f"{probability:g}": round(value, 3) for probability, value in forecast.quantiles}
