"""Histories are written bit by bit and come back whole."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.codec import HistoryEntry
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Tail
from controller.domain.signals import MEASURED, Signal
from controller.domain.snapshot import History
from controller.store.histories import NOTHING_WRITTEN, Written, held_until, read_histories, write_histories
from controller.store.schema import migrate
from tests.records import CHAT, EMBED

NUMBERS = {CHAT: 1, EMBED: 2}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = open_store()
    yield connection
    connection.close()


def open_store() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, Path("memory"))
    for deployment, number in NUMBERS.items():
        connection.execute("INSERT INTO deployments VALUES (?, ?, ?)", (number, *str(deployment).split("/")))
    return connection


def write(connection: sqlite3.Connection, histories: Sequence[HistoryEntry], written: Written) -> Written:
    tails = [Tail(deployment=one, signal=signal, begins=past.start, history=past) for one, signal, past in histories]
    return write_histories(connection, tails, written, NUMBERS.__getitem__)


def read(connection: sqlite3.Connection) -> set[HistoryEntry]:
    return set(read_histories(connection)[0])


def entry(start: float, *values: float | None, of: DeploymentId = CHAT, step_s: float = 5.0) -> HistoryEntry:
    return of, Signal.REQUESTS, History(start=start, step_s=step_s, values=values)


def rows_written(connection: sqlite3.Connection, histories: Sequence[HistoryEntry], written: Written) -> int:
    before = connection.total_changes
    write(connection, histories, written)
    return connection.total_changes - before


def test_unknown_bins_at_both_ends_come_back(connection: sqlite3.Connection) -> None:
    histories = {entry(100.0, None, 1.0, None), entry(105.0, 0.0, None, of=EMBED)}

    write(connection, sorted(histories, key=str), NOTHING_WRITTEN)

    assert read(connection) == histories


def test_a_tick_writes_only_the_newest_bins(connection: sqlite3.Connection) -> None:
    past = tuple(float(n) for n in range(1000))
    written = write(connection, [entry(0.0, *past), entry(0.0, *past, of=EMBED)], NOTHING_WRITTEN)

    rows = rows_written(connection, [entry(0.0, *past, 1.0, 2.0), entry(0.0, *past, 1.0, 2.0, of=EMBED)], written)

    assert rows == 2


def test_the_newest_bin_is_written_again_when_it_changed(connection: sqlite3.Connection) -> None:
    written = write(connection, [entry(0.0, 1.0, 2.0)], NOTHING_WRITTEN)

    assert rows_written(connection, [entry(0.0, 1.0, 2.0)], written) == 0
    assert rows_written(connection, [entry(0.0, 1.0, 2.5)], written) == 1
    assert read(connection) == {entry(0.0, 1.0, 2.5)}


def test_after_a_restart_only_the_newest_bins_are_written(connection: sqlite3.Connection) -> None:
    past = tuple(float(n) for n in range(1000))
    write(connection, [entry(0.0, *past)], NOTHING_WRITTEN)

    _, written = read_histories(connection)

    assert rows_written(connection, [entry(0.0, *past, 1.0)], written) == 1


def test_a_long_past_is_written_in_several_ticks(connection: sqlite3.Connection) -> None:
    histories = [(CHAT, signal, History(start=0.0, step_s=1.0, values=(1.0,) * 60_000)) for signal in MEASURED]

    written = write(connection, histories, NOTHING_WRITTEN)
    first = read(connection)
    for _ in range(3):
        written = write(connection, histories, written)

    assert {len(history.values) for _, _, history in first} == {25_000}
    assert read(connection) == set(histories)


def tail(entry: HistoryEntry, written: Written) -> Tail:
    """What is given of a history when the file holds ``written``: from the last bin held on."""
    deployment, signal, whole = entry
    held = held_until(written, deployment, signal)
    held_bins = 0 if held is None else max(0, round((held - whole.start) / whole.step_s) - 1)
    kept = History(start=whole.start + held_bins * whole.step_s, step_s=whole.step_s, values=whole.values[held_bins:])
    return Tail(deployment=deployment, signal=signal, begins=whole.start, history=kept)


def test_tails_are_enough_and_a_new_series_does_not_cost_the_others_theirs(connection: sqlite3.Connection) -> None:
    """The new one is written from its beginning, into rows of which the other one gives nothing any more."""
    long, late = entry(0.0, 1.0, 2.0, 3.0, 4.0), entry(5.0, 7.0, 8.0, 9.0, 6.0, of=EMBED)
    written = write(connection, [long], NOTHING_WRITTEN)
    grown = entry(0.0, 1.0, 2.0, 3.0, 4.0, 5.0)

    tails = [tail(grown, written), tail(late, written)]
    written = write_histories(connection, tails, written, NUMBERS.__getitem__)

    assert [len(one.history.values) for one in tails] == [2, 4]
    assert read(connection) == {grown, late}
    assert [held_until(written, one, Signal.REQUESTS) for one in (CHAT, EMBED)] == [25.0, 25.0]


def test_tails_forget_what_left_the_past(connection: sqlite3.Connection) -> None:
    written = write(connection, [entry(0.0, 1.0, 2.0, 3.0)], NOTHING_WRITTEN)

    for _ in range(2):
        shorter = tail(entry(10.0, 3.0, 4.0), written)
        written = write_histories(connection, [shorter], written, NUMBERS.__getitem__)

    assert read(connection) == {entry(10.0, 3.0, 4.0)}


def test_what_left_the_past_is_removed(connection: sqlite3.Connection) -> None:
    written = write(connection, [entry(0.0, 1.0, 2.0, 3.0)], NOTHING_WRITTEN)

    write(connection, [entry(10.0, 3.0, 4.0)], written)

    assert read(connection) == {entry(10.0, 3.0, 4.0)}
    assert connection.execute("SELECT count(*) FROM history").fetchone() == (2,)


def test_another_step_replaces_the_old_bins(connection: sqlite3.Connection) -> None:
    written = write(connection, [entry(0.0, 1.0, 2.0)], NOTHING_WRITTEN)

    write(connection, [entry(0.0, 1.5, 2.5, 3.5, step_s=10.0)], written)

    assert read(connection) == {entry(0.0, 1.5, 2.5, 3.5, step_s=10.0)}
    assert connection.execute("SELECT count(*) FROM history").fetchone() == (3,)


def test_bins_that_begin_between_full_steps_keep_their_start(connection: sqlite3.Connection) -> None:
    histories = {entry(101.25, 1.0, 2.0), entry(103.0, 3.0, of=EMBED)}

    write(connection, sorted(histories, key=str), NOTHING_WRITTEN)

    assert read(connection) == histories


def test_no_history_leaves_what_is_there(connection: sqlite3.Connection) -> None:
    write(connection, [entry(0.0)], NOTHING_WRITTEN)

    assert read(connection) == set()


values = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def lives(draw: st.DrawFn) -> list[list[HistoryEntry]]:
    """How histories change from tick to tick: they grow, lose old bins, fill up backwards, come and go."""
    bins = {deployment: (draw(st.integers(5, 20)), [draw(values)]) for deployment in (CHAT, EMBED)}
    ticks = []
    for _ in range(draw(st.integers(1, 6))):
        for deployment, (first, known) in bins.items():
            grown = [*known[:-1], draw(values), *draw(st.lists(values, max_size=3))]
            gone = draw(st.integers(0, len(grown) - 1))
            earlier = draw(st.lists(values, max_size=min(3, first))) if gone == 0 else []
            bins[deployment] = (first + gone - len(earlier), earlier + grown[gone:])
        present = draw(st.sampled_from([[CHAT], [CHAT, EMBED], [EMBED, CHAT]]))
        ticks.append([entry(5.0 * bins[one][0], *bins[one][1], of=one) for one in present])
    return ticks


@settings(max_examples=150, deadline=None)
@given(lives(), st.data())
def test_whatever_happens_to_them_the_last_histories_come_back(
    ticks: list[list[HistoryEntry]], data: st.DataObject
) -> None:
    connection = open_store()
    written = NOTHING_WRITTEN
    for histories in ticks:
        written = write(connection, histories, written)
        if data.draw(st.booleans(), label="restart"):
            written = read_histories(connection)[1]

    found = {(deployment, signal): history for deployment, signal, history in read_histories(connection)[0]}
    connection.close()

    for deployment, signal, last in ticks[-1]:
        history = found[deployment, signal]
        assert history.end == last.end
        assert history.values[-len(last.values) :] == last.values


def test_a_history_that_grew_into_the_past_is_written_whole(connection: sqlite3.Connection) -> None:
    short = entry(50.0, 1.0, 2.0)
    written = write(connection, [short], NOTHING_WRITTEN)
    longer = replace(short[2], start=0.0, values=(*(float(n) for n in range(10)), 1.0, 2.0))

    write(connection, [(CHAT, Signal.REQUESTS, longer)], written)

    assert read(connection) == {(CHAT, Signal.REQUESTS, longer)}
