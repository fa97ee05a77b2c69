"""A deployment's history out of the controller's own store: its demand histories, and its decision records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from controller.codec import HistoryEntry
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known
from controller.domain.record import TickRecord
from controller.domain.signals import Signal
from controller.errors import BadInputError
from controller.loop.learned import long_histories
from controller.ports import StoreError
from controller.simulation.rates import SIGNALS, Rates, no_rates
from controller.simulation.state import Floats
from controller.store.reader import StoreReader

STEP_S = 10.0
_AT_ONCE = 1000
_PAST_S = 15 * 86_400.0

Progress = Callable[[float], None]


def read_store(
    path: Path, deployment: DeploymentId | None, *, last_s: float, progress: Progress
) -> tuple[DeploymentId, Rates]:
    """Read what is known of the last ``last_s`` and of fifteen days before them.

    Raises:
        BadInputError: the store cannot be read, or does not have the deployment, or has several and none is named.

    """
    if not path.exists():
        msg = f"{path}: there is no such store; name the file that foreserve run keeps with --store"
        raise BadInputError(msg)
    try:
        with StoreReader(path) as reader:
            wanted = _chosen(reader.deployments(), deployment, path)
            return wanted, _rates(reader, wanted, last_s, progress, path)
    except StoreError as error:
        raise BadInputError(str(error)) from error


def _rates(reader: StoreReader, deployment: DeploymentId, last_s: float, progress: Progress, path: Path) -> Rates:
    newest = reader.records(deployment=deployment, last=1)
    if not newest:
        msg = f"{path}: nothing is recorded for {deployment} yet"
        raise BadInputError(msg)
    end = math.ceil(newest[0].at / STEP_S) * STEP_S
    rates = no_rates(end - last_s - _PAST_S, end, STEP_S)
    loaded = reader.load()
    known = [] if loaded is None else [*loaded.histories, *long_histories(loaded.pieces)]
    entries = [entry for entry in known if entry[0] == deployment]
    for step_s in sorted({history.step_s for _, _, history in entries if history.step_s <= STEP_S}):
        rates = rates.filled_from(_of_step(entries, step_s))
    rates = rates.filled_from(_recorded(reader, deployment, rates, progress))
    for step_s in sorted({history.step_s for _, _, history in entries if history.step_s > STEP_S}):
        rates = rates.filled_from(_of_step(entries, step_s))
    progress(1.0)
    return rates


def _of_step(entries: Sequence[HistoryEntry], step_s: float) -> dict[Signal, tuple[float, float, Floats]]:
    return {
        signal: (history.start, step_s, np.array(history.values, dtype=np.float64))
        for _, signal, history in entries
        if history.step_s == step_s
    }


def _recorded(
    reader: StoreReader, deployment: DeploymentId, rates: Rates, progress: Progress
) -> dict[Signal, tuple[float, float, Floats]]:
    """Readings of the recorded ticks, in the bins of ``rates``."""
    values = {signal: np.full(rates.bins, np.nan) for signal in SIGNALS}
    for record in _records(reader, deployment, rates.start):
        place = int((record.at - rates.start) // rates.step_s)
        if not 0 <= place < rates.bins:
            continue
        snapshot = record.deployments[0].snapshot
        for signal in SIGNALS:
            reading = snapshot.reading(signal)
            if isinstance(reading, Known):
                values[signal][place] = reading.value
        progress(place / rates.bins)
    return {signal: (rates.start, rates.step_s, found) for signal, found in values.items()}


def _records(reader: StoreReader, deployment: DeploymentId, since: float) -> Iterator[TickRecord]:
    before = reader.records(deployment=deployment, at=since, last=1)
    tick = before[0].tick if before else 0
    while found := reader.after(tick, deployment=deployment, limit=_AT_ONCE):
        yield from found
        tick = found[-1].tick


def _chosen(known: list[DeploymentId], wanted: DeploymentId | None, path: Path) -> DeploymentId:
    names = ", ".join(str(one) for one in known) or "none"
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None:
        msg = f"{path}: which deployment? Name one with --deployment; recorded: {names}"
        raise BadInputError(msg)
    if wanted not in known:
        msg = f"{path}: {wanted} is not recorded there; recorded: {names}"
        raise BadInputError(msg)
    return wanted
