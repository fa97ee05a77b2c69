"""The outbox keeps what it took, in order, until it is delivered or dead; whatever happens to the process."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.webhooks import outbox as outbox_module
from controller.webhooks.news import Told, started
from controller.webhooks.outbox import Outbox, OutboxError, outbox_path
from tests.webhooks import event

NOW = 1000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return outbox_path(tmp_path / "foreserve.db")


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    opened = Outbox(path)
    yield opened
    opened.close()


def take(outbox: Outbox, *numbers: int, sinks: tuple[str, ...] = ("ops",)) -> int:
    return outbox.take([(event(number), sinks) for number in numbers], Told(tick=7), now=NOW)


def drain(outbox: Outbox, sink: str = "ops") -> list[int]:
    found = []
    while delivery := outbox.next(sink):
        found.append(int(delivery.event.id, 16))
        outbox.delivered(delivery)
    return found


def test_events_are_given_in_order_and_forgotten_when_delivered(outbox: Outbox, path: Path) -> None:
    take(outbox, 1, 2, 3)

    assert drain(outbox) == [1, 2, 3]
    assert outbox.backlogs() == {}
    assert sqlite3.connect(path).execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_the_same_event_is_taken_once(outbox: Outbox) -> None:
    take(outbox, 1, 2)
    take(outbox, 2, 3)

    assert drain(outbox) == [1, 2, 3]


def test_each_sink_has_a_line_of_its_own(outbox: Outbox) -> None:
    take(outbox, 1, 2, sinks=("ops", "pager"))
    drain(outbox, "ops")

    assert {name: left.pending for name, left in outbox.backlogs().items()} == {"pager": 2}
    assert drain(outbox, "pager") == [1, 2]


def test_what_was_put_off_stays_first_and_says_why(outbox: Outbox) -> None:
    take(outbox, 1, 2)
    first = outbox.next("ops")
    assert first is not None

    outbox.put_off(first, until=NOW + 5, why="busy")

    again = outbox.next("ops")
    assert again is not None
    assert (again.event, again.attempts, again.next_at, again.why) == (event(1), 1, NOW + 5, "busy")


def test_dead_letters_are_listed_and_can_be_sent_again(outbox: Outbox) -> None:
    take(outbox, 1, 2)
    for _ in range(2):
        delivery = outbox.next("ops")
        assert delivery is not None
        outbox.give_up(delivery, why="gone")

    assert [(int(one.event.id, 16), one.why) for one in outbox.dead()] == [(2, "gone"), (1, "gone")]
    assert outbox.next("ops") is None
    assert outbox.retry(sink="other", event=None, now=NOW) == 0
    assert outbox.retry(sink=None, event=event(1).id, now=NOW) == 1
    assert drain(outbox) == [1]
    assert outbox.retry(sink="ops", event=None, now=NOW) == 1
    assert drain(outbox) == [2]
    assert outbox.dead() == []


def test_of_too_many_the_oldest_become_dead_letters(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_MOST_PENDING", 3)
    monkeypatch.setattr(outbox_module, "_MOST_DEAD", 2)

    assert take(outbox, *range(1, 6)) == 2

    assert drain(outbox) == [3, 4, 5]
    assert [one.why for one in outbox.dead()] == ["more than 3 events waited"] * 2
    assert take(outbox, *range(6, 11)) == 2
    delivery = outbox.next("ops")
    assert delivery is not None
    outbox.give_up(delivery, why="gone")
    assert [int(one.event.id, 16) for one in outbox.dead()] == [8, 7]


def test_a_sink_that_is_gone_is_forgotten(outbox: Outbox) -> None:
    take(outbox, 1, sinks=("ops", "pager"))

    outbox.drop("ops")

    assert list(outbox.backlogs()) == ["pager"]


def test_what_was_told_is_kept_with_the_events(outbox: Outbox, path: Path) -> None:
    events, told = started(Told(tick=3, at=5.0), now=NOW, version="1")
    outbox.take([(one, ("ops",)) for one in events], told, now=NOW)
    outbox.close()

    again = Outbox(path)

    assert again.told() == told
    assert again.backlogs()["ops"].pending == 1
    again.close()


def test_nothing_was_told_before_the_first_time_or_by_another_version(outbox: Outbox, path: Path) -> None:
    assert outbox.told() is None
    take(outbox, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE told SET body = ?", (b'{"tick": "many"}',))

    assert outbox.told() is None


def test_another_process_sees_and_changes_the_same(outbox: Outbox, path: Path) -> None:
    take(outbox, 1)
    delivery = outbox.next("ops")
    assert delivery is not None
    outbox.give_up(delivery, why="gone")

    other = Outbox(path)
    other.retry(sink=None, event=None, now=NOW)
    other.close()

    assert drain(outbox) == [1]


def test_a_process_that_is_killed_loses_nothing_it_took(path: Path) -> None:
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from controller.webhooks.news import Told
from controller.webhooks.outbox import Outbox
from tests.webhooks import event
outbox = Outbox(Path({str(path)!r}))
outbox.take([(event(1), ["ops"]), (event(2), ["ops"])], Told(tick=2), now=1.0)
outbox.delivered(outbox.next("ops"))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], check=False, timeout=30)

    after = Outbox(path)

    assert after.told() == Told(tick=2)
    assert drain(after) == [2]
    after.close()


@pytest.mark.parametrize("content", [b"not a database" * 100, None])
def test_a_file_that_is_none_of_ours_is_left_alone_and_named(path: Path, content: bytes | None) -> None:
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (a)")
        connection.close()
        content = path.read_bytes()
    path.write_bytes(content)

    with pytest.raises(OutboxError, match=r"foreserve\.outbox\.db: the outbox of webhooks cannot be used"):
        Outbox(path)

    assert path.read_bytes() == content
