"""Typed JSON of records and state, for the store, the API and the command line."""

from __future__ import annotations

from pydantic import TypeAdapter

from controller.domain.identity import DeploymentId
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.domain.state import PlannerState

HistoryEntry = tuple[DeploymentId, Signal, History]

_RECORD = TypeAdapter(TickRecord)
_DEPLOYMENT = TypeAdapter(DeploymentRecord)
_STATE = TypeAdapter(PlannerState)
_HISTORIES = TypeAdapter(tuple[HistoryEntry, ...])


def dump_record(record: TickRecord) -> bytes:
    """One record as compact JSON."""
    return _RECORD.dump_json(record)


def load_record(data: bytes | str) -> TickRecord:
    """Read one record. Raises ``pydantic.ValidationError`` when it does not fit the schema."""
    return _RECORD.validate_json(data)


def dump_deployment(record: DeploymentRecord) -> bytes:
    """One deployment's part of a record as compact JSON."""
    return _DEPLOYMENT.dump_json(record)


def load_deployment(data: bytes | str) -> DeploymentRecord:
    """Read one deployment's part. Raises ``pydantic.ValidationError`` when it does not fit the schema."""
    return _DEPLOYMENT.validate_json(data)


def dump_state(state: PlannerState) -> bytes:
    """Planner state as compact JSON."""
    return _STATE.dump_json(state)


def load_state(data: bytes | str) -> PlannerState:
    """Read planner state. Raises ``pydantic.ValidationError`` when it does not fit the schema."""
    return _STATE.validate_json(data)


def dump_histories(histories: tuple[HistoryEntry, ...]) -> bytes:
    """Demand histories as compact JSON."""
    return _HISTORIES.dump_json(histories)


def load_histories(data: bytes | str) -> tuple[HistoryEntry, ...]:
    """Read demand histories. Raises ``pydantic.ValidationError`` when they do not fit the schema."""
    return _HISTORIES.validate_json(data)
