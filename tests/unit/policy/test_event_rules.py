"""What is wrong with an announced event is said with its place and what would be right."""

from pathlib import Path

import pytest

from controller.policy.load import load_policy
from tests.unit.policy.test_load import problems_of

POLICY = """\
version: 1
deployments:
  - application: chat
    deployment: tiny
    limits: {max_replicas: 4}
    capacity: {target_ongoing_requests: 8}
    events:
      - name: office
        %s
        duration_s: 3600
        %s
"""


@pytest.mark.parametrize(
    ("when", "what", "expected"),
    [
        pytest.param(
            'cron: "0 25 * * *"',
            "min_replicas: 2",
            "9:9: deployments[0].events[0].cron: '0 25 * * *' is no cron expression (its hour); write five fields: "
            'minute hour day-of-month month day-of-week, as in "30 8 * * 1-5"',
            id="cron-hour",
        ),
        pytest.param(
            'cron: "0 8 * * * *"',
            "min_replicas: 2",
            "9:9: deployments[0].events[0].cron: '0 8 * * * *' has 6 fields; write five fields: "
            'minute hour day-of-month month day-of-week, as in "30 8 * * 1-5"',
            id="cron-with-seconds",
        ),
        pytest.param(
            'cron: "0 0 31 2 *"',
            "min_replicas: 2",
            "9:9: deployments[0].events[0].cron: '0 0 31 2 *' is no cron expression (its day-of-month); write five "
            'fields: minute hour day-of-month month day-of-week, as in "30 8 * * 1-5"',
            id="cron-that-never-happens",
        ),
        pytest.param(
            'cron: "0 8 * * *"\n        timezone: Europe/Berlyn',
            "min_replicas: 2",
            "10:9: deployments[0].events[0].timezone: 'Europe/Berlyn' is no time zone known here; "
            "write an IANA name such as Europe/Berlin or UTC",
            id="time-zone",
        ),
        pytest.param(
            "start: 1st of December",
            "min_replicas: 2",
            "9:9: deployments[0].events[0].start: '1st of December' is no time; "
            "write it as 2026-12-01T09:00:00 or 2026-12-01T09:00:00+01:00",
            id="start",
        ),
        pytest.param(
            "start: 2026-13-01T09:00:00",
            "min_replicas: 2",
            "9:9: deployments[0].events[0].start: '2026-13-01T09:00:00' is no time; "
            "write it as 2026-12-01T09:00:00 or 2026-12-01T09:00:00+01:00",
            id="month-13",
        ),
        pytest.param(
            'start: 2026-12-01T09:00:00\n        cron: "0 8 * * *"',
            "min_replicas: 2",
            "10:9: deployments[0].events[0]: has both cron and start; "
            "give cron for what recurs, start for what happens once",
            id="both",
        ),
        pytest.param(
            "timezone: UTC",
            "min_replicas: 2",
            "8:9: deployments[0].events[0]: has neither cron nor start; "
            "give cron for what recurs, start for what happens once",
            id="neither",
        ),
        pytest.param(
            'cron: "0 8 * * *"',
            "timezone: UTC",
            "8:9: deployments[0].events[0]: changes nothing; give min_replicas, demand_multiple or extra_load",
            id="no-effect",
        ),
        pytest.param(
            'cron: "0 8 * * *"',
            "min_replicas: 5",
            "7:5: deployments[0]: events[0] (office) asks for 5 replicas; "
            "raise limits.max_replicas (4) or ask for fewer",
            id="above-the-limit",
        ),
        pytest.param(
            'cron: "0 8 * * *"',
            "extra_load: {decode_tokens_per_s: 100}",
            "7:5: deployments[0]: events[0] (office) gives extra_load.decode_tokens_per_s; "
            "say what one replica carries of it: capacity.decode_tokens_per_s",
            id="load-without-a-figure",
        ),
        pytest.param(
            'cron: "0 8 * * *"',
            "extra_load: {}",
            "11:9: deployments[0].events[0].extra_load: adds nothing; give one of ongoing_requests, requests_per_s, "
            "prefill_tokens_per_s, decode_tokens_per_s",
            id="no-load",
        ),
        pytest.param(
            'cron: "0 8 * * *"',
            "demand_multiple: 1",
            "11:9: deployments[0].events[0].demand_multiple: is 1; expected a number above 1, at most 1000",
            id="multiple-of-one",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, when: str, what: str, expected: str) -> None:
    assert problems_of(tmp_path, POLICY % (when, what)) == [expected]


def test_an_unquoted_timestamp_is_a_start(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY % ("start: 2026-12-01 09:00:00", "min_replicas: 2"), encoding="utf-8")

    (event,) = load_policy(path).policy.deployments[0].events

    assert event.starts_at == 1_796_115_600


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "max_replicas: 4",
            "min_replicas: 0, max_replicas: 4",
            "5:5: deployments[0]: limits.min_replicas is 0 without scale_to_zero; "
            "say when nothing may run: scale_to_zero: {after_idle_s, cold_start_promise_s}",
            id="zero-without-a-promise",
        ),
        pytest.param(
            "    events:",
            "    scale_to_zero: {after_idle_s: 60, cold_start_promise_s: 60}\n    events:",
            "7:5: deployments[0]: scale_to_zero is given, but limits.min_replicas is 1; set it to 0",
            id="a-promise-without-zero",
        ),
    ],
)
def test_zero_needs_its_promise_and_the_other_way_round(tmp_path: Path, old: str, new: str, expected: str) -> None:
    policy = POLICY % ('cron: "0 8 * * *"', "min_replicas: 2")

    assert problems_of(tmp_path, policy.replace(old, new)) == [expected]
