from __future__ import annotations

import json

import pytest

from controller.codec import load_record
from controller.domain.plan import Action, Outcome, OutcomeStatus, Reason, Step
from controller.live.startup import StepStatus
from controller.local.account import Account, changes
from controller.local.views import HeadlessView, PlainView, decision_line
from tests.records import CHAT, decision, deployment_record, record

UP = decision(
    current=1,
    desired=2,
    action=Action.SCALE_UP,
    binding=Reason.DEMAND,
    steps=(Step("size", 2, Reason.DEMAND, "5.0 / 4 → 2"), Step("limit", 2, Reason.DEMAND, "2 is within 1 to 2")),
)


def test_headless_prints_each_record_once_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    view = HeadlessView()
    view.changed(StepStatus(name="Ray", state="running"))
    for each in (None, record(tick=1), record(tick=1), record(tick=2)):
        view.update(each, None)
    view.note("Stopping everything ...")

    printed = capsys.readouterr()
    assert [load_record(line).tick for line in printed.out.splitlines()] == [1, 2]
    assert all(json.loads(line) for line in printed.out.splitlines())
    assert "Ray ..." in printed.err


def test_a_step_is_printed_when_it_begins_and_with_its_seconds_when_it_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = PlainView()
    view.changed(StepStatus(name="Ray", state="running"))
    view.changed(StepStatus(name="Ray", state="done", seconds=3.26, detail="up"))

    assert capsys.readouterr().err.splitlines() == ["Ray ...", "Ray: done after 3.3 s (up)"]


def test_plain_prints_a_decision_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    up = record(deployment_record(decision=UP))
    for each in (up, up, record()):
        view.update(each, None)

    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_decision_is_told_with_the_arithmetic_of_the_stage_that_made_it() -> None:
    assert decision_line(UP) == f"{CHAT}: 1 → 2 (demand: 5.0 / 4 → 2)"


def test_a_decision_about_the_unknown_is_told_as_such() -> None:
    held = decision(current=None, desired=None, binding=Reason.NO_DATA, steps=())

    assert decision_line(held) == f"{CHAT}: unknown → no opinion (no_data)"


def test_changes_are_the_targets_that_were_written() -> None:
    nothing = Outcome(id=CHAT, status=OutcomeStatus.NOTHING_TO_DO)
    steady = decision(current=2, desired=2, action=Action.NONE, binding=Reason.STEADY, steps=())
    records = [
        record(deployment_record(decision=steady, outcome=nothing), at=1000.0, tick=1),
        record(deployment_record(decision=UP), at=1042.0, tick=2),
    ]

    assert changes(records) == (f"+42 s {CHAT}: 1 → 2 (demand: 5.0 / 4 → 2): applied",)


def test_a_run_without_any_change_says_so(tmp_path: object) -> None:
    account = Account(
        first_token_s=41.7,
        ticks=3,
        max_target=1,
        changes=(),
        load=None,
        files=tmp_path,
        report=None,  # type: ignore[arg-type]
    )

    assert account.lines() == [
        "First token 42 s after the start.",
        "3 ticks; most replicas wanted: 1.",
        "No target was changed.",
        f"Files: {tmp_path}",
    ]
