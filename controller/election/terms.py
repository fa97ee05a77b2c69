"""Who holds a lease, and for how long that is certain. Pure: every moment is passed in.

Clocks of different machines are never compared. For others a lease counts from when they first saw its latest renewal,
by their own monotonic clock; that is after the renewal, so no holder is overtaken early. For its holder it counts from
before it asked for that renewal, so it stops before anybody else may begin. In between lies ``margin_s``: what was
begun while the lease was certain has ended when it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The lease as the API server has it. ``version`` changes with each write."""

    version: str
    holder: str | None
    duration_s: float
    transitions: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by both clocks of this machine (seconds). The wall clock only ever shortens: it goes on in suspension."""

    monotonic: float
    wall: float

    def since(self, earlier: Moment) -> float:
        """Seconds since an earlier moment, by the clock that says more."""
        return max(self.monotonic - earlier.monotonic, self.wall - earlier.wall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Seconds: how long a lease lasts unrenewed, how often it is renewed, how long an action begun may take."""

    duration_s: float = 30.0
    renew_s: float = 5.0
    margin_s: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """What one process knows.

    ``seen_at`` is when it first saw the lease as it is; ``renewed_at`` when it asked for the last renewal that it
    got, None while it does not hold the lease.
    """

    me: str
    rules: Rules = Rules()
    lease: Lease | None = None
    seen_at: Moment | None = None
    renewed_at: Moment | None = None


class Move(StrEnum):
    """What to do about the lease now."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def see(election: Election, lease: Lease | None, now: Moment) -> Election:
    """Take in the lease as it was just read; None: there is none."""
    mine = lease is not None and lease.holder == election.me
    if lease is not None and election.lease is not None and lease.version == election.lease.version:
        return election
    return replace(election, lease=lease, seen_at=now, renewed_at=election.renewed_at if mine else None)


def next_move(election: Election, now: Moment) -> Move:
    """Say what to do after the lease was read."""
    lease, seen_at = election.lease, election.seen_at
    if lease is None or seen_at is None:
        return Move.CREATE
    if lease.holder == election.me:
        return Move.RENEW
    # Only the monotonic clock: a wall clock that is set forward must not end the lease of somebody else.
    expired = now.monotonic - seen_at.monotonic >= lease.duration_s
    return Move.TAKE if not lease.holder or expired else Move.WAIT


def written(election: Election, lease: Lease, *, asked_at: Moment, now: Moment) -> Election:
    """Take in the lease as the API server answered our own write with; ``asked_at`` is when that was sent."""
    return replace(election, lease=lease, seen_at=now, renewed_at=asked_at if lease.holder == election.me else None)


def overtaken(election: Election) -> Election:
    """Take in that somebody else wrote first; who it was shows at the next look."""
    return replace(election, renewed_at=None)


def certain_s(election: Election, now: Moment) -> float:
    """Seconds for which an action may still be begun; 0 for who does not lead."""
    if election.renewed_at is None:
        return 0.0
    return max(0.0, election.rules.duration_s - election.rules.margin_s - now.since(election.renewed_at))


def term(election: Election) -> int:
    """Number of times that the lease changed hands."""
    return 0 if election.lease is None else election.lease.transitions
