"""What the page knows after ticks, after a restart, and after deployments came and went."""

from __future__ import annotations

import json
from pathlib import Path

from controller.domain.plan import Action, Outcome, OutcomeStatus, Reason, Step
from controller.domain.state import PlannerState
from controller.store.sqlite import SqliteStore
from controller.web.changes import change, sentence, settled
from controller.web.feed import Feed
from controller.web.recall import one_record_reader, recall
from controller.web.timeline import Timeline
from tests.records import CHAT, EMBED, NOTHING_KEPT, decision, deployment_record, record
from tests.unit.api.test_api import POLICY


def timeline() -> Timeline:
    return Timeline(interval_s=lambda: 10.0, feed=Feed())


def steady(**changes: object) -> object:
    return deployment_record(
        decision=decision(action=Action.NONE, desired=2, current=2, binding=Reason.STEADY, steps=(), **changes)
    )


def test_a_line_is_written_for_a_change_of_the_target_or_of_the_reason() -> None:
    known = timeline()
    for tick, entry in enumerate([steady(), steady(), deployment_record(), deployment_record(), steady()]):
        known.export(record(entry, tick=tick + 1, at=10.0 * tick))

    changes = known.known(CHAT).changes

    assert [(one.tick, one.acted) for one in changes] == [(1, False), (3, True), (4, True), (5, False)]
    assert known.known(CHAT).last_action is not None
    assert known.known(CHAT).last_action.tick == 4


def test_a_plan_that_waits_is_one_line_until_something_comes_of_it() -> None:
    known = timeline()
    for tick, status in enumerate([*[OutcomeStatus.AWAITING] * 3, OutcomeStatus.APPLIED, OutcomeStatus.APPLIED]):
        entry = deployment_record(outcome=Outcome(id=CHAT, status=status))
        known.export(record(entry, tick=tick + 1, at=10.0 * tick))

    assert [(one.tick, one.outcome.value) for one in known.known(CHAT).changes] == [
        (1, "awaiting"),
        (4, "applied"),
        (5, "applied"),
    ]


def test_a_record_that_repeats_or_goes_back_is_left_out() -> None:
    known = timeline()
    for tick in (5, 5, 4, 6):
        known.export(record(tick=tick, at=float(tick)))

    assert known.known(CHAT).moments.at().tolist() == [5.0, 6.0]


def test_a_deployment_that_is_gone_is_forgotten() -> None:
    known = timeline()
    known.export(record(deployment_record(), deployment_record(EMBED), tick=1))
    known.export(record(deployment_record(), tick=2))

    assert known.deployments() == [CHAT]
    assert known.find(str(EMBED)) is None


def test_followers_are_told_what_changed() -> None:
    feed = Feed()
    known = Timeline(interval_s=lambda: 10.0, feed=feed)
    known.export(record(tick=3, at=30.0, degraded=("a source is stale",)))

    told = json.loads(feed._messages[-1].text.split("data: ")[1])

    assert told["tick"] == 3
    assert told["degraded"] == ["a source is stale"]
    assert told["changes"][0]["deployment"] == "chat/LLMServer:tiny"
    assert (told["changes"][0]["before"], told["changes"][0]["after"]) == (2, 3)


def test_after_a_restart_the_last_hour_and_the_last_change_are_there(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    store = SqliteStore(path)
    entries = [deployment_record(), *(steady() for _ in range(400))]
    for tick, entry in enumerate(entries):
        made = record(entry, tick=tick + 1, at=10.0 * tick)
        store.begin(made, state := PlannerState())
        store.finish(made, state, NOTHING_KEPT)
    store.close()
    known = timeline()

    recall(known, path, POLICY)

    assert known.record is not None
    assert known.record.tick == 401
    assert len(known.known(CHAT).moments) == 360
    assert known.known(CHAT).last_action is not None
    assert known.known(CHAT).last_action.tick == 1


def test_without_a_store_nothing_is_known(tmp_path: Path) -> None:
    known = timeline()

    recall(known, tmp_path / "none.sqlite", POLICY)
    (tmp_path / "broken.sqlite").write_text("not a database, but long enough to look at it" * 20)
    recall(known, tmp_path / "broken.sqlite", POLICY)

    assert known.record is None


def test_one_decision_is_read_with_what_followed(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    store = SqliteStore(path)
    for tick in range(1, 6):
        made = record(tick=tick, at=float(tick))
        store.begin(made, state := PlannerState())
        store.finish(made, state, NOTHING_KEPT)
    read = one_record_reader(path)

    found = read(CHAT, 2, following=2)

    assert found is not None
    assert (found[0].tick, [one.tick for one in found[1]]) == (2, [3, 4])
    assert read(CHAT, 99, following=2) is None
    assert read(EMBED, 2, following=2) is None
    store.close()


def test_the_stage_that_set_the_number_is_the_first_of_those_that_kept_it() -> None:
    steps = (
        Step("reactive", 2, Reason.DEMAND, "7 / 4"),
        Step("forecast", 3, Reason.FORECAST, "9 / 4"),
        Step("stabilise", 4, Reason.FORECAST, "at most 4 over 60 s"),
        Step("limit", 4, Reason.FORECAST, "within 1 to 6"),
    )

    assert settled(steps) == 2
    assert settled(steps[:2]) == 1
    assert settled(()) is None
    assert sentence(decision(steps=steps)) == "9 / 4; at most 4 over 60 s"


def test_a_change_tells_from_where_to_where_and_what_came_of_it() -> None:
    made = change(record(tick=9, at=90.0), deployment_record())

    assert (made.before, made.after, made.reason, made.outcome.value) == (2, 3, Reason.FORECAST, "applied")
    assert made.sentence == "12.0 / 3.0"
