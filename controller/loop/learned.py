"""What the forecaster learned and the long histories, as pieces that survive a restart."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from controller.domain.identity import DeploymentId
from controller.domain.lasting import Piece, PieceKey, Tail
from controller.domain.signals import Signal
from controller.forecast.adaptive import TrackKey
from controller.forecast.checkpoint import dump, load_model, load_track
from controller.forecast.fitted import FittedModel
from controller.forecast.online import Track
from controller.loop.foresight import LONG_BINS, LONG_STEP_S, Foresight
from controller.loop.perception import Perception
from controller.window.history import DemandHistory, HistoryEntry, PackedDay

_EVERY_S = 300.0
"""What changes all the time is written again after so long."""

_LOOKED_AT_EACH_TICK = 96
_WRITTEN_EACH_TICK = 8
"""Bound what a checkpoint adds to a tick: one or two milliseconds a piece."""

_LEVEL = 1
_BIN_BYTES = 4


class Learned:
    """Gives the store what it does not hold yet, a little in every tick; see ``Lasting``."""

    def __init__(self, perception: Perception, foresight: Foresight) -> None:
        self._perception = perception
        self._foresight = foresight
        self._turn: list[Callable[[], Iterator[_Draft]]] = []

    def tails(self, held_until: Callable[[DeploymentId, Signal], float | None]) -> Sequence[Tail]:
        """Return the recent histories."""
        return self._perception.tails(held_until)

    def pieces(self, held: Mapping[PieceKey, float]) -> Sequence[Piece]:
        """Return a few pieces that are new, or old enough to be written again; everything in turn."""
        found: list[Piece] = []
        self._turn = self._turn or self._sources()
        for _ in range(min(_LOOKED_AT_EACH_TICK, len(self._turn))):
            found += [draft.piece() for draft in self._turn.pop()() if draft.due(held.get(draft.key))]
            if len(found) >= _WRITTEN_EACH_TICK:
                break
        return found

    def newest(self) -> Sequence[Piece]:
        """Return all that changes from tick to tick, for a process that ends."""
        return [draft.piece() for source in self._sources() for draft in source() if not draft.final]

    def _sources(self) -> list[Callable[[], Iterator[_Draft]]]:
        """One for each track, model and long history, to be read when its turn comes."""
        forecaster, histories = self._foresight.forecaster, self._foresight.histories
        return [
            *(partial(self._minutes, *key) for key in histories.signals()),
            *(partial(self._model, key) for key in forecaster.models()),
            *(partial(self._track, key) for key in forecaster.tracks()),
        ]

    def _track(self, key: TrackKey) -> Iterator[_Draft]:
        track = self._foresight.forecaster.track(key)
        if track is not None:
            yield _Draft((key[0], f"track {key[1]} {key[2]:g}"), track.at, partial(dump, track))

    def _model(self, key: TrackKey) -> Iterator[_Draft]:
        model = self._foresight.forecaster.models().get(key)
        if model is not None:
            yield _Draft((key[0], f"model {key[1]} {key[2]:g}"), model.fitted_at, partial(dump, model), final=True)

    def _minutes(self, deployment: DeploymentId, signal: Signal) -> Iterator[_Draft]:
        days = list(self._foresight.histories.days(deployment, signal))
        for day in days:
            name = f"minutes {signal} {day.day}"
            yield _Draft((deployment, name), day.end, partial(_packed, day), final=day is not days[-1])


def restore(pieces: Sequence[Piece], foresight: Foresight) -> None:
    """Give a fresh foresight what an earlier process learned; pieces of another version are left out."""
    tracks: dict[TrackKey, Track] = {}
    models: dict[TrackKey, FittedModel] = {}
    for kind, key, body in _readable(pieces):
        if kind == "track" and (track := load_track(body)) is not None:
            tracks[key] = track
        elif kind == "model" and (model := load_model(body)) is not None:
            models[key] = model
    _restore_minutes(pieces, foresight.histories)
    foresight.go_on(tracks, models)


def long_histories(pieces: Sequence[Piece]) -> tuple[HistoryEntry, ...]:
    """Read the minutes of up to fifteen days back."""
    histories = DemandHistory(step_s=LONG_STEP_S, max_bins=LONG_BINS)
    _restore_minutes(pieces, histories)
    return histories.entries()


def _restore_minutes(pieces: Sequence[Piece], histories: DemandHistory) -> None:
    days: dict[tuple[DeploymentId, Signal], list[PackedDay]] = {}
    for kind, (deployment, signal, day), body in _readable(pieces):
        if kind == "minutes" and (packed := _unpacked(body, int(day))) is not None:
            days.setdefault((deployment, signal), []).append(packed)
    for (deployment, signal), known in days.items():
        histories.restore_days(deployment, signal, known)


def _readable(pieces: Sequence[Piece]) -> Iterator[tuple[str, TrackKey, bytes]]:
    """Kind, signal with horizon or day, and body of every piece that can be read."""
    for piece in pieces:
        with suppress(zlib.error, ValueError):
            kind, signal, rest = piece.name.split(" ")
            yield kind, (piece.deployment, Signal(signal), float(rest)), zlib.decompress(piece.body)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A piece that is not made yet. A ``final`` one is written once more when it has changed at all."""

    key: PieceKey
    at: float
    make: Callable[[], bytes]
    final: bool = False

    def due(self, held: float | None) -> bool:
        return held is None or self.at - held >= (1e-3 if self.final else _EVERY_S)

    def piece(self) -> Piece:
        deployment, name = self.key
        return Piece(deployment=deployment, name=name, at=self.at, body=zlib.compress(self.make(), _LEVEL))


def _packed(day: PackedDay) -> bytes:
    return day.first_bin.to_bytes(8, "little") + day.bins


def _unpacked(body: bytes, day: int) -> PackedDay | None:
    bins, first_bin = body[8:], int.from_bytes(body[:8], "little")
    if not bins or len(bins) % _BIN_BYTES:
        return None
    end = (first_bin + len(bins) // _BIN_BYTES) * LONG_STEP_S
    return PackedDay(day=day, first_bin=first_bin, end=end, bins=bins)
