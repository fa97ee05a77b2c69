"""Announced events: when they are on, as a pure function of policy and time."""

import datetime as dt
import itertools
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.policy.events import Event
from controller.policy.schedule import events_at, events_within, next_occurrence, occurrences

BERLIN = ZoneInfo("Europe/Berlin")


def event(**changes: Any) -> Event:
    return Event.model_validate({"name": "e", "duration_s": 3600, "min_replicas": 2, **changes})


def at(text: str, zone: dt.tzinfo = dt.UTC) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


OFFICE = event(name="office", cron="0 8 * * 1-5", timezone="Europe/Berlin", duration_s=36_000, min_replicas=4)
LAUNCH = event(name="launch", start="2026-12-01T09:00:00", timezone="America/New_York", min_replicas=7)


@pytest.mark.parametrize(
    ("moment", "is_on"),
    [
        ("2026-11-23T07:59:59", False),
        ("2026-11-23T08:00:00", True),
        ("2026-11-23T17:59:59.9", True),
        ("2026-11-23T18:00:00", False),
        ("2026-11-22T12:00:00", False),  # a Sunday
    ],
)
def test_a_window_is_on_from_its_start_until_before_its_end(moment: str, *, is_on: bool) -> None:
    assert bool(events_at([OFFICE], at(moment, BERLIN))) is is_on


@pytest.mark.parametrize("day", ["2026-03-27", "2026-03-30", "2026-10-23", "2026-10-26"])
def test_local_time_is_kept_when_clocks_change(day: str) -> None:
    (found,) = events_at([OFFICE], at(f"{day}T12:00:00", BERLIN))

    assert dt.datetime.fromtimestamp(found.start, BERLIN).hour == 8


def test_a_start_that_clocks_skip_or_repeat_happens_once() -> None:
    nightly = event(cron="30 2 * * *", timezone="Europe/Berlin", duration_s=600)
    for day in ("2026-03-29", "2026-10-25"):
        midnight = dt.datetime.fromisoformat(day).replace(tzinfo=BERLIN)
        following = midnight + dt.timedelta(days=1)

        assert len(occurrences(nightly, midnight.timestamp(), following.timestamp())) == 1


def test_a_single_start_is_read_in_its_time_zone_unless_it_has_an_offset() -> None:
    there = at("2026-12-01T09:00:00", ZoneInfo("America/New_York"))

    assert LAUNCH.starts_at == there
    assert event(start="2026-12-01T15:00:00+01:00", timezone="Asia/Tokyo").starts_at == there
    assert next_occurrence(LAUNCH, there + 3600) is None


def test_what_begins_within_the_lead_time_counts() -> None:
    eight = at("2026-11-23T08:00:00", BERLIN)

    assert events_within([OFFICE, LAUNCH], eight - 121, 120) == ()
    assert [one.event.name for one in events_within([OFFICE, LAUNCH], eight - 120, 120)] == ["office"]
    assert events_at([OFFICE], eight - 120) == ()


def test_events_that_overlap_are_all_on() -> None:
    noon = at("2026-12-01T14:30:00")

    assert [one.event.name for one in events_at([LAUNCH, OFFICE], noon)] == ["office", "launch"]


def test_an_event_longer_than_its_period_is_always_on() -> None:
    always = event(cron="0 * * * *", duration_s=7200)

    assert all(events_at([always], at("2026-11-23T08:00:00") + 600 * step) for step in range(30))


def test_past_occurrences_can_be_listed() -> None:
    since, until = at("2026-11-16T00:00:00", BERLIN), at("2026-11-30T00:00:00", BERLIN)

    found = occurrences(OFFICE, since, until)

    assert len(found) == 10
    assert all(since <= one.start < one.end <= until for one in found)
    assert occurrences(LAUNCH, since, until) == ()


crons = st.sampled_from(["0 8 * * 1-5", "*/7 3-5 * * *", "30 2 * * *", "0 0 29 2 *", "15 12 1,15 * *", "0 0 L * *"])
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])


@given(crons, zones, st.floats(1_600_000_000, 1_900_000_000), st.floats(60, 90_000))
@example("30 2 * * *", "Europe/Berlin", 1_774_746_000.0, 600.0)
def test_being_on_agrees_with_the_list_of_occurrences(cron: str, zone: str, now: float, duration_s: float) -> None:
    one = event(cron=cron, timezone=zone, duration_s=duration_s)
    listed = [found for found in occurrences(one, now - 1, now + 1) if found.is_on(now)]

    on = events_at([one], now)

    assert bool(on) == bool(listed)
    assert not on or on[0] == listed[-1]


@given(crons, zones, st.floats(1_600_000_000, 1_900_000_000), st.floats(0, 5000), st.floats(0, 5000))
def test_looking_further_ahead_never_finds_less(cron: str, zone: str, now: float, near: float, more: float) -> None:
    one = event(cron=cron, timezone=zone)

    assert set(events_within([one], now, near)) <= set(events_within([one], now, near + more))


@given(st.text(alphabet="0123456789*/,-#LW MONabc", min_size=9, max_size=40) | st.text(min_size=9, max_size=40))
def test_a_hostile_cron_is_refused_or_usable(cron: str) -> None:
    try:
        one = event(cron=cron)
    except ValidationError:
        return
    assert next_occurrence(one, 1_800_000_000.0) is not None


def test_a_year_of_ticks_is_looked_up_quickly() -> None:
    ticks = [1_800_000_000.0 + 10 * step for step in range(5000)]

    found = list(itertools.chain.from_iterable(events_at([OFFICE, LAUNCH], tick) for tick in ticks))

    assert found
