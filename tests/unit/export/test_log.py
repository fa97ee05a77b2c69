"""The structured log says each tick once, and each state when it changes."""

import io
import json
from typing import Any

from controller.domain.plan import Action, Outcome, OutcomeStatus, Reason
from controller.domain.record import TickRecord
from controller.export.compact import LineExporter
from controller.export.log import LogExporter, json_log
from tests.clocks import VirtualClock
from tests.records import CHAT, decision, deployment_record, record

STEADY = deployment_record(
    decision=decision(desired=2, action=Action.NONE, binding=Reason.STEADY),
    outcome=Outcome(id=CHAT, status=OutcomeStatus.NOTHING_TO_DO),
)


def logged(*records: TickRecord) -> list[dict[str, Any]]:
    stream = io.StringIO()
    exporter = LogExporter(json_log(stream, VirtualClock(at=500.0)))
    for each in records:
        exporter.export(each)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_steady_tick_is_one_line() -> None:
    lines = logged(record(STEADY))

    assert [line["event"] for line in lines] == ["tick"]
    assert lines[0]["tick"] == 7
    assert lines[0]["at"] == 1000.0
    assert lines[0]["deployments"][0]["target"] == 2


def test_a_changed_target_is_a_line_of_its_own() -> None:
    change = logged(record())[0]

    assert change["event"] == "target_changed"
    assert (change["deployment"], change["current"], change["desired"]) == ("chat/LLMServer:tiny", 2, 3)
    assert change["reason"] == "forecast"
    assert change["at"] == 500.0


def test_a_refused_change_is_a_warning_with_its_reason() -> None:
    refused = deployment_record(outcome=Outcome(id=CHAT, status=OutcomeStatus.REFUSED, detail="target moved"))

    line = logged(record(refused))[0]

    assert (line["event"], line["level"], line["detail"]) == ("target_not_changed", "warning", "target moved")


def test_the_same_advice_is_logged_once_until_it_changes() -> None:
    advised = record(deployment_record(outcome=Outcome(id=CHAT, status=OutcomeStatus.ADVISED)))
    more = record(
        deployment_record(decision=decision(desired=4), outcome=Outcome(id=CHAT, status=OutcomeStatus.ADVISED))
    )

    lines = logged(advised, advised, more, record(STEADY), advised)

    assert [line["desired"] for line in lines if line["event"] == "target_advised"] == [3, 4, 3]


def test_degraded_conditions_are_logged_when_they_change() -> None:
    degraded = record(STEADY, degraded=("source ray/a is stale",))

    lines = logged(degraded, degraded, record(STEADY))

    assert [line["conditions"] for line in lines if line["event"] == "degraded"] == [["source ray/a is stale"], []]


def test_the_headless_line_has_demand_band_target_and_reason_with_unknown_as_null() -> None:
    stream = io.StringIO()

    LineExporter(stream).export(record())

    line = json.loads(stream.getvalue())
    shown = line["deployments"][0]
    assert (line["at"], line["tick"]) == (1000.0, 7)
    assert shown["demand"]["ongoing_requests"] == 6.0
    assert shown["demand"]["decode_tokens_per_s"] is None
    assert shown["band"]["ongoing_requests"] == {"0.1": 5.0, "0.5": 7.0, "0.9": 12.0}
    assert (shown["target"], shown["ready"], shown["desired"]) == (2, 1, 3)
    assert (shown["action"], shown["reason"], shown["outcome"]) == ("scale_up", "forecast", "applied")
