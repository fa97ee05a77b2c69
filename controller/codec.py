"""Typed JSON of records and state, for the store, the API and the command line."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from controller.domain.approval import Proposal
from controller.domain.canary import CanaryProgress
from controller.domain.identity import DeploymentId
from controller.domain.override import Override
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.domain.state import PlannerState

T = TypeVar("T")

HistoryEntry = tuple[DeploymentId, Signal, History]

_RECORD = TypeAdapter(TickRecord)
_DEPLOYMENT = TypeAdapter(DeploymentRecord)
_STATE = TypeAdapter(PlannerState)
_HISTORIES = TypeAdapter(tuple[HistoryEntry, ...])
_OVERRIDE = TypeAdapter(Override)
_PROPOSAL = TypeAdapter(Proposal)
_CANARY = TypeAdapter(CanaryProgress)


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


def plain(value: Override | Proposal) -> Any:
    """One override or proposal as JSON types; a deployment is written APPLICATION/DEPLOYMENT, null for all."""
    adapter: TypeAdapter[Any] = _OVERRIDE if isinstance(value, Override) else _PROPOSAL
    deployment = None if value.deployment is None else str(value.deployment)
    return {**adapter.dump_python(value, mode="json"), "deployment": deployment}


def dump_override(override: Override) -> bytes:
    """One override as compact JSON."""
    return _OVERRIDE.dump_json(override)


def load_override(data: bytes | str) -> Override | None:
    """Read one override; None when it was written by a version that is not understood."""
    return _if_valid(_OVERRIDE, data)


def dump_proposal(proposal: Proposal) -> bytes:
    """One proposal as compact JSON."""
    return _PROPOSAL.dump_json(proposal)


def load_proposal(data: bytes | str) -> Proposal | None:
    """Read one proposal; None when it was written by a version that is not understood."""
    return _if_valid(_PROPOSAL, data)


def dump_canary(progress: CanaryProgress) -> bytes:
    """One canary's progress as compact JSON."""
    return _CANARY.dump_json(progress)


def load_canary(data: bytes | str) -> CanaryProgress | None:
    """Read one canary's progress; None when it was written by a version that is not understood."""
    return _if_valid(_CANARY, data)


def _if_valid(adapter: TypeAdapter[T], data: bytes | str) -> T | None:
    try:
        return adapter.validate_json(data)
    except ValidationError:
        return None
