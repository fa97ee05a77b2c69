"""Laws of the election, on processes whose clocks differ and whose calls are slow, lost, or never answered."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.election.terms import (
    Election,
    Lease,
    Moment,
    Move,
    Rules,
    certain_s,
    next_move,
    overtaken,
    see,
    written,
)

RULES = Rules(duration_s=30.0, renew_s=5.0, margin_s=12.0)


@dataclass
class Server:
    """One lease with optimistic locking."""

    lease: Lease | None = None
    writes: int = 0

    def write(self, version: str | None, holder: str) -> Lease | None:
        if (self.lease.version if self.lease else None) != version:
            return None
        changed = self.lease is None or self.lease.holder != holder
        transitions = (self.lease.transitions if self.lease else 0) + changed
        self.writes += 1
        self.lease = Lease(version=str(self.writes), holder=holder, duration_s=30.0, transitions=transitions)
        return self.lease


@dataclass
class Process:
    """One candidate. Its clocks are ``offset`` ahead; a call takes ``delay`` to arrive and as long to be answered."""

    election: Election
    offset: float

    def now(self, time: float) -> Moment:
        return Moment(time + self.offset, time - 3 * self.offset)


def play(server: Server, process: Process, time: float, delay: float, lost: bool) -> float:
    """Let one process look and act, beginning at ``time``; return when it has acted, and has yet to hear of it."""
    arrived = time + delay
    process.election = see(process.election, server.lease, process.now(arrived))
    move = next_move(process.election, process.now(arrived))
    if move is Move.WAIT:
        return arrived
    known = process.election.lease
    asked_at = process.now(arrived)
    answer = server.write(known.version if known else None, process.election.me)
    done = arrived + delay
    if lost:
        return arrived
    if answer is None:
        process.election = overtaken(process.election)
    else:
        process.election = written(process.election, answer, asked_at=asked_at, now=process.now(done))
    return arrived


@settings(max_examples=500, deadline=None)
@given(
    offsets=st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=3),
    turns=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([0.0, 1.0, 5.0, 10.0, 16.0, 18.5, 29.0]),
            st.sampled_from([0.0, 0.5, 8.0]),
            st.sampled_from([False, False, False, True]),
        ),
        min_size=6,
        max_size=40,
    ),
)
@example(  # a slow answer must not lengthen the lease: its holder counts from when it asked
    offsets=[0.0, 0.0],
    turns=[(0, 0.0, 8.0, False), (1, 0.0, 0.0, False), (1, 29.0, 0.0, False), (1, 1.0, 0.0, False)],
)
def test_two_never_lead_at_once_and_what_one_began_has_ended_before_the_next_begins(
    offsets: list[float], turns: list[tuple[int, float, float, bool]]
) -> None:
    server = Server()
    processes = [Process(Election(me=f"p{index}", rules=RULES), offset) for index, offset in enumerate(offsets)]
    time = 0.0
    for who, pause, delay, lost in turns:
        time += pause
        time = play(server, processes[who % len(processes)], time, delay, lost)

        # Whoever could begin something now could still be at it for the margin.
        may = [one for one in processes if certain_s(one.election, one.now(time)) > 0]
        at_work = [one for one in processes if certain_s(one.election, one.now(time - RULES.margin_s)) > 0]
        assert len(may) <= 1
        for one in may:
            assert [other for other in at_work if other is not one] == []


@given(st.floats(0, 1e6), st.floats(-1e5, 1e5))
def test_a_wall_clock_that_jumps_never_lengthens_a_lease_nor_ends_anothers(at: float, jump: float) -> None:
    lease = Lease(version="1", holder="a", duration_s=30.0, transitions=1)
    start, later = Moment(at, at), Moment(at + 10, at + 10 + jump)
    holder = written(Election(me="a", rules=RULES), lease, asked_at=start, now=start)
    other = see(Election(me="b", rules=RULES), lease, start)

    assert certain_s(holder, later) <= 8.0 + 1e-6
    assert next_move(other, later) is Move.WAIT


def test_a_holder_that_dies_is_followed_when_its_lease_has_run_out_and_one_that_leaves_at_once() -> None:
    lease = Lease(version="1", holder="a", duration_s=30.0, transitions=1)
    other = see(Election(me="b", rules=RULES), lease, Moment(100.0, 0.0))

    assert next_move(other, Moment(129.9, 0.0)) is Move.WAIT
    assert next_move(other, Moment(130.0, 0.0)) is Move.TAKE
    left = see(other, Lease(version="2", holder=None, duration_s=1.0, transitions=1), Moment(101.0, 0.0))
    assert next_move(left, Moment(101.0, 0.0)) is Move.TAKE


def test_a_renewal_seen_later_begins_the_wait_anew() -> None:
    first = Lease(version="1", holder="a", duration_s=30.0, transitions=1)
    other = see(Election(me="b", rules=RULES), first, Moment(100.0, 0.0))
    other = see(other, Lease(version="2", holder="a", duration_s=30.0, transitions=1), Moment(125.0, 0.0))

    assert next_move(other, Moment(131.0, 0.0)) is Move.WAIT
    assert next_move(other, Moment(155.0, 0.0)) is Move.TAKE
