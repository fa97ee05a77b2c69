"""Overrides begin within bounds, are renewed and ended, survive a restart, and end by themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.domain.override import OverrideAction
from controller.errors import BadInputError
from controller.interventions.copied import CopiedShelf
from controller.interventions.overrides import OverrideBoard, Request
from controller.policy.model import Policy
from controller.ports import StoreError
from controller.store.reader import StoreReader
from controller.store.sqlite import SqliteStore
from tests.clocks import VirtualClock
from tests.planning import policy
from tests.records import CHAT, EMBED

POLICY = Policy.model_validate(
    {"version": 1, "deployments": [policy()], "overrides": {"max_duration_s": 600, "max_active": 3}}
)


def request(**changes: Any) -> Request:
    fields: dict[str, Any] = {
        "action": OverrideAction.HOLD_SCALE_DOWN,
        "deployment": CHAT,
        "for_s": 60.0,
        "owner": "alice",
        "reason": "launch",
    }
    return Request(**{**fields, **changes})


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1000.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "s.db")
    yield opened
    opened.close()


def board(shelf: Any, clock: VirtualClock) -> OverrideBoard:
    numbers = iter(range(1, 100))
    return OverrideBoard(shelf=shelf, clock=clock, policy=lambda: POLICY, new_id=lambda: f"ov-{next(numbers)}")


def test_one_is_in_force_until_it_ends_by_itself(store: SqliteStore, clock: VirtualClock) -> None:
    overrides = board(store, clock)
    begun = overrides.begin(request())

    clock.advance(59.9)
    assert overrides.in_force(clock.now()) == (begun,)
    clock.advance(0.1)

    assert overrides.in_force(clock.now()) == ()
    assert store.everything("override") == []


def test_a_restart_takes_up_what_is_in_force(store: SqliteStore, clock: VirtualClock, tmp_path: Path) -> None:
    begun = board(store, clock).begin(request())

    with StoreReader(tmp_path / "s.db") as reader:
        dry_run = board(CopiedShelf({"override": reader.everything("override")}), clock)

    assert board(store, clock).in_force(clock.now()) == (begun,) == dry_run.in_force(clock.now())
    clock.advance(61)
    assert board(store, clock).in_force(clock.now()) == ()


def test_one_can_be_ended_once(store: SqliteStore, clock: VirtualClock) -> None:
    overrides = board(store, clock)
    begun = overrides.begin(request())
    clock.advance(5)

    ended = overrides.end(begun.id)

    assert ended is not None
    assert ended.until == 1005.0
    assert overrides.in_force(clock.now()) == ()
    assert overrides.end(begun.id) is None
    assert board(store, clock).in_force(clock.now()) == ()


def test_the_same_key_renews_and_does_not_add(store: SqliteStore, clock: VirtualClock) -> None:
    overrides = board(store, clock)
    first = overrides.begin(request(key="a"))
    clock.advance(30)

    again = overrides.begin(request(key="a", replicas=0))

    assert (again.id, again.began_at, again.until) == (first.id, 1000.0, 1090.0)
    assert overrides.in_force(clock.now()) == (again,)


def test_renewals_end_after_the_longest_that_one_may_last(store: SqliteStore, clock: VirtualClock) -> None:
    overrides = board(store, clock)
    for _ in range(12):
        last = overrides.begin(request(key="a"))
        clock.advance(50)

    assert last.until == 1600.0
    assert clock.now() == 1600.0
    assert overrides.in_force(clock.now()) == ()


def test_ending_all_of_a_key(store: SqliteStore, clock: VirtualClock) -> None:
    overrides = board(store, clock)
    for key in ("a:1", "a:2"):
        overrides.begin(request(key=key))
    other = overrides.begin(request(key="b:1"))

    assert [one.key for one in overrides.end_all("a:")] == ["a:1", "a:2"]
    assert overrides.end_all("a:") == ()
    assert overrides.in_force(clock.now()) == (other,)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"deployment": EMBED}, "deployment embed/Embedder is not in the policy; there are chat/LLMServer:tiny"),
        ({"for_s": 601.0}, "for_s is 601; expected 1 to 600 (overrides.max_duration_s in the policy)"),
        ({"for_s": 0.0}, "for_s is 0; expected 1 to 600"),
        ({"for_s": float("nan")}, "for_s is nan"),
        ({"action": OverrideAction.RAISE_FLOOR}, "replicas is 0; raise_floor needs 1 to 10000"),
        ({"replicas": 2}, "replicas is given; only raise_floor takes it"),
        ({"reason": ""}, "reason has 0 characters; expected one line of 1 to 500"),
        ({"reason": "two\nlines"}, "reason has 9 characters; expected one line"),
        ({"reason": "x" * 501}, "reason has 501 characters"),
    ],
)
def test_what_is_out_of_bounds_is_refused_and_nothing_begins(
    store: SqliteStore, clock: VirtualClock, changes: dict[str, Any], problem: str
) -> None:
    overrides = board(store, clock)

    with pytest.raises(BadInputError) as caught:
        overrides.begin(request(**changes))

    assert problem in str(caught.value)
    assert overrides.in_force(clock.now()) == ()


def test_there_are_only_so_many_at_once_but_renewing_goes_on(store: SqliteStore, clock: VirtualClock) -> None:
    overrides = board(store, clock)
    for key in "abc":
        overrides.begin(request(key=key))

    with pytest.raises(BadInputError, match="3 overrides are in force"):
        overrides.begin(request(key="d"))

    assert overrides.begin(request(key="c")).id == "ov-3"


def test_what_cannot_be_kept_does_not_begin(clock: VirtualClock) -> None:
    class Full(CopiedShelf):
        def put(self, *_: Any) -> None:
            msg = "s.db: the disk is full"
            raise StoreError(msg)

    overrides = board(Full(), clock)

    with pytest.raises(StoreError, match="the disk is full"):
        overrides.begin(request())

    assert overrides.in_force(clock.now()) == ()


def test_one_of_another_version_is_left_out(store: SqliteStore, clock: VirtualClock) -> None:
    store.put("override", "ov-9", b'{"id": "ov-9", "action": "self_destruct"}')

    assert board(store, clock).in_force(clock.now()) == ()
