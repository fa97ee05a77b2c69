"""A record as a page of text: what was seen, expected, decided, done, and what came of it."""

import re
from dataclasses import replace

import pytest

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.plan import Action, Conflict, Outcome, OutcomeStatus, Reason
from controller.domain.reading import Known, Unknown
from controller.domain.record import DeploymentRecord
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.signals import Signal
from controller.explain.page import page
from controller.explain.wording import duration, number
from tests.episode import episode
from tests.records import CHAT, EMBED, decision, deployment_record, record, snapshot, standing


def lines_of(entry: DeploymentRecord, **changes: object) -> list[str]:
    return page(record(entry, **changes), entry, (), now=1012.0).plain.splitlines()


def line(lines: list[str], start: str) -> str:
    """Return the one line that begins like this, with runs of spaces as one."""
    (found,) = [text for text in lines if text.strip().startswith(start)]
    return re.sub(r" +", " ", found).strip()


def test_the_title_says_what_when_and_under_which_policy() -> None:
    assert lines_of(deployment_record())[0] == (
        "chat/LLMServer:tiny  tick 7  1970-01-01T00:16:40Z (12 s ago)  mode direct  policy 0123456789ab"
    )


def test_decision_result_and_reason_are_told_first() -> None:
    lines = lines_of(deployment_record())

    assert line(lines, "Decided") == "Decided 2 → 3 replicas: scale_up (reason: forecast)"
    assert line(lines, "Result") == "Result applied, and read back; 1 attempt in 0.05 s"
    assert line(lines, "Then") == "Then ordered, no later record yet (due 1970-01-01T00:17:25Z)"


def test_each_reading_has_value_unit_and_age_or_why_it_is_unknown() -> None:
    lines = lines_of(deployment_record())

    assert line(lines, "requests in flight") == "requests in flight 6 requests 0.5 s old"
    assert line(lines, "prompt tokens") == "prompt tokens 400 tokens/s 0.5 s old"
    assert line(lines, "output tokens") == "output tokens unknown no vLLM series"
    assert line(lines, "KV cache in use") == "KV cache in use unknown absent"
    assert line(lines, "TTFT p95") == "TTFT p95 0.9 s 0 s old, objective 2 s"
    assert line(lines, "replicas") == "replicas target 2; 1 ready, 1 starting, 0 stopping; Serve says HEALTHY"


def test_a_zero_is_shown_as_zero_and_not_as_unknown() -> None:
    seen = snapshot(demand={Signal.ONGOING_REQUESTS: Known(0.0, 1.0)}, idle=True)

    lines = lines_of(deployment_record(snapshot=seen))

    assert line(lines, "requests in flight") == "requests in flight 0 requests 1 s old"
    assert line(lines, "arriving requests") == "arriving requests unknown not observed"
    assert line(lines, "traffic") == "traffic none; two sources agree"


def test_band_lead_time_and_capacity_are_told_with_where_they_come_from() -> None:
    lines = lines_of(deployment_record())

    assert line(lines, "Forecast") == (
        "Forecast requests in flight, most within 50 s: p10 5, p50 7, p90 12 requests "
        "(damped_trend from 10 min of history)"
    )
    assert line(lines, "Lead time") == "Lead time p50 30 s, p90 40 s, p95 45 s (measured, 4 starts)"
    assert line(lines, "Capacity") == "Capacity 3 requests per replica (policy)"


def test_the_live_record_of_a_forecast_is_told_and_why_it_is_not_used() -> None:
    kept = lines_of(deployment_record())
    broken = lines_of(deployment_record(standings=(standing(trusted=False, fit_problem="MemoryError: "),)))

    assert line(kept, "On record") == (
        "On record requests in flight: 91% of outcomes within p90 over 40 horizons of 2 min; pinball loss 0.4, "
        "bias +1.5 requests; leading smoothing_2; model fitted 10 min ago"
    )
    assert line(broken, "On record").endswith(
        "last fit failed: MemoryError: ; not trusted, so only measured demand is followed"
    )


def test_a_missing_forecast_and_a_default_lead_time_are_told() -> None:
    lead = LeadTime(p50_s=120.0, p90_s=120.0, p95_s=150.0, source=LeadSource.DEFAULT, samples=0)
    chosen = decision(forecasts=(), forecast_unavailable="10 s of history, 60 s are needed", lead=lead)

    lines = lines_of(deployment_record(decision=chosen))

    assert line(lines, "Forecast") == "Forecast none: 10 s of history, 60 s are needed"
    assert line(lines, "Lead time") == "Lead time p50 2 min, p90 2 min, p95 2.5 min (default)"


def test_each_stage_has_its_number_and_reason() -> None:
    lines = lines_of(deployment_record())

    assert [re.sub(r" +", " ", text).strip() for text in lines[lines.index("Stages") + 1 :]] == [
        "size 4 forecast 12.0 / 3.0",
        "limit 3 max_step_up",
    ]


def test_conflicts_of_this_deployment_and_everything_degraded_are_told() -> None:
    stale = SourceHealth(
        source="ray/10.0.0.3:8080", kind=SourceKind.RAY, age_s=75.0, stale=True, error="connection refused"
    )
    entry = deployment_record(snapshot=snapshot(sources=(stale,), blind_spots=("ray/10.0.0.3:8080",)))

    lines = lines_of(
        entry,
        conflicts=(
            Conflict(id=CHAT, expected=3, found=1, cause="second_writer"),
            Conflict(id=EMBED, expected=3, found=1, cause="redeploy"),
        ),
        degraded=("the store cannot be written: disk full",),
    )

    assert line(lines, "Conflict") == "Conflict target expected at 3, found at 1: second_writer"
    assert line(lines, "Degraded") == "Degraded the store cannot be written: disk full"
    assert line(lines, "Blind spot") == "Blind spot ray/10.0.0.3:8080: nothing is lowered meanwhile"
    assert line(lines, "source") == "source ray/10.0.0.3:8080 75 s old, stale: connection refused"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"action": Action.NONE, "desired": 2, "binding": Reason.STEADY}, "keep 2 replicas (reason: steady)"),
        (
            {"action": Action.NONE, "current": None, "desired": None, "binding": Reason.NO_DATA, "steps": ()},
            "no opinion, the target stays as it is (reason: no_data)",
        ),
        (
            {"action": Action.SCALE_DOWN, "desired": 1, "binding": Reason.IDLE},
            "2 → 1 replica: scale_down (reason: idle)",
        ),
        ({"action": Action.REASSERT, "current": None}, "unknown → 3 replicas: reassert (reason: forecast)"),
    ],
)
def test_every_kind_of_decision_reads_as_a_sentence(changes: dict[str, object], expected: str) -> None:
    lines = lines_of(deployment_record(decision=decision(**changes)))

    assert line(lines, "Decided") == f"Decided {expected}"


@pytest.mark.parametrize("status", list(OutcomeStatus))
def test_every_result_is_told_with_its_detail(status: OutcomeStatus) -> None:
    outcome = Outcome(id=CHAT, status=status, detail="because of this")

    lines = lines_of(deployment_record(outcome=outcome))

    assert line(lines, "Result").endswith("; because of this")
    assert len(line(lines, "Result")) > len("Result ; because of this")


def test_what_was_never_observed_still_makes_a_page() -> None:
    nothing = snapshot(
        target_replicas=None,
        replicas=None,
        demand={},
        sources=(SourceHealth(source="serve/x", kind=SourceKind.SERVE, age_s=None, stale=True, error=None),),
    )
    entry = deployment_record(
        snapshot=replace(nothing, queued_requests=Unknown("never scraped")),
        decision=decision(current=None, desired=None, action=Action.NONE, steps=(), forecasts=()),
        terms=None,
    )

    lines = lines_of(entry)

    assert line(lines, "queued requests") == "queued requests unknown never scraped"
    assert line(lines, "source") == "source serve/x never answered, stale"
    assert lines[-1] == "  none ran"


def test_a_scale_up_is_told_with_its_arrival_in_a_whole_run() -> None:
    records = episode()
    index = next(i for i, r in enumerate(records) if r.deployments[0].decision.action is Action.SCALE_UP)

    text = page(records[index], records[index].deployments[0], records[index + 1 :], now=records[-1].at).plain

    assert "1 → 2 replicas: scale_up (reason: forecast)" in text
    assert "2 replicas ready 30 s after the order, in time (due within 45 s)" in text


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0"), (0.01234, "0.0123"), (6.0, "6"), (99.94, "99.9"), (1234.5, "1,234")]
)
def test_numbers_have_three_digits(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0.4 s"), (119.0, "119 s"), (600.0, "10 min"), (12_600.0, "3.5 h"), (181_440.0, "2.1 d"), (-3.0, "-3 s")],
)
def test_lengths_of_time_have_the_unit_that_suits_them(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
