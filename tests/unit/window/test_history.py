"""Demand history: bins, gaps, restarts and the clock."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.window.history import DemandHistory, HistoryEntry
from tests.records import CHAT, snapshot

ONGOING = Signal.ONGOING_REQUESTS


def told(at: float, reading: Reading | float, deployment: DeploymentId = CHAT):
    known = Known(reading) if isinstance(reading, int | float) else reading
    return snapshot(at=at, id=deployment, demand={ONGOING: known})


def recorded(*moments: tuple[float, Reading | float], **sizes) -> DemandHistory:
    history = DemandHistory(**sizes)
    for at, reading in moments:
        history.record(told(at, reading))
    return history


def test_a_bin_is_the_mean_of_what_was_known_in_it():
    history = recorded((100, 2), (102, 4), (104, Unknown("stale")), (105, 9)).history(CHAT, ONGOING)

    assert history == History(start=100.0, step_s=5.0, values=(3.0,))


def test_the_unfinished_bin_is_held_back():
    assert recorded((100, 2), (104, 4)).history(CHAT, ONGOING).values == ()


def test_bins_without_a_known_reading_are_none_and_never_zero():
    history = recorded((100, 2), (105, Unknown("stale")), (120, 8), (125, 8)).history(CHAT, ONGOING)

    assert history.values == (2.0, None, None, None, 8.0)
    assert history.end == 125.0


def test_a_signal_that_was_never_recorded_has_no_past():
    assert recorded((100, 2)).history(DeploymentId("a", "b"), ONGOING).values == ()


def test_only_the_newest_bins_are_kept():
    history = recorded(*((float(at), float(at)) for at in range(0, 100, 5)), max_bins=3).history(CHAT, ONGOING)

    assert history.start == 80.0
    assert history.values == (80.0, 85.0, 90.0)


def test_a_long_gap_costs_no_more_than_the_bound():
    history = recorded((0, 1), (1e9, 2), (1e9 + 5, 3), max_bins=10).history(CHAT, ONGOING)

    assert len(history.values) == 10
    assert history.values[-1] == 2.0
    assert history.end == 1e9 + 5


def whole(history: DemandHistory) -> list[HistoryEntry]:
    return [(one.deployment, one.signal, one.history) for one in history.tails(lambda _deployment, _signal: None)]


def test_a_restored_history_goes_on_with_a_gap():
    before = recorded((100, 2), (105, 3), (110, 4))
    after = DemandHistory()

    after.restore(whole(before))
    after.record(told(125, 7))
    after.record(told(130, 8))

    assert after.history(CHAT, ONGOING) == History(start=100.0, step_s=5.0, values=(2.0, 3.0, None, None, None, 7.0))


def test_the_tail_of_the_entries_restores_the_tail():
    after = DemandHistory()

    after.restore([(CHAT, ONGOING, recorded((100, 2), (105, 3), (110, 4)).history(CHAT, ONGOING, last_bins=1))])

    assert after.history(CHAT, ONGOING) == History(start=105.0, step_s=5.0, values=(3.0,))


@pytest.mark.parametrize(
    "history",
    [History(start=100.0, step_s=10.0, values=(1.0,)), History(start=101.0, step_s=5.0, values=(1.0,))],
    ids=["another step", "other bin edges"],
)
def test_entries_with_other_bins_are_dropped(history):
    after = DemandHistory()

    after.restore([(CHAT, ONGOING, history)])

    assert after.history(CHAT, ONGOING).values == ()


def test_restored_values_that_are_no_numbers_are_unknown():
    after = DemandHistory()

    after.restore([(CHAT, ONGOING, History(start=0.0, step_s=5.0, values=(float("inf"), float("nan"), 1.0)))])

    assert after.history(CHAT, ONGOING).values == (None, None, 1.0)


def test_a_late_reading_is_left_out():
    history = recorded((100, 2), (105, 3), (101, 99), (110, 4)).history(CHAT, ONGOING)

    assert history.values == (2.0, 3.0)


def test_after_the_clock_was_set_back_the_future_is_forgotten():
    history = recorded((1000, 2), (5000, 3), (1005, 4), (1010, 5)).history(CHAT, ONGOING)

    assert history == History(start=1000.0, step_s=5.0, values=(2.0, 4.0))


def test_200_deployments_over_12_hours_fit_in_60_megabytes():
    history = DemandHistory()
    deployments = [DeploymentId("app", str(number)) for number in range(200)]

    for deployment in deployments:
        history.record(told(0, 1.0, deployment))
        history.record(told(8640 * 5.0, 2.0, deployment))

    tracks = history._tracks.values()
    assert {len(track.bins) for track in tracks} == {8640}
    assert sum(sys.getsizeof(track.bins) for track in tracks) < 60_000_000


NAN = float("nan")


def filled(history: DemandHistory, start: float, *values: float) -> int:
    return history.fill(CHAT, ONGOING, start, np.array(values))


def test_what_others_measured_fills_the_time_before_and_the_gaps():
    history = recorded((100, 2), (105, Unknown("stale")), (110, 8), (115, 1))

    count = filled(history, 90.0, 5, 6, 7, 7, 7, 9)

    assert history.history(CHAT, ONGOING) == History(start=90.0, step_s=5.0, values=(5.0, 6.0, 2.0, 7.0, 8.0, 9.0))
    assert count == 4


def test_filling_goes_on_after_a_restart_until_now_and_then_recording_does():
    history = DemandHistory()
    history.restore([(CHAT, ONGOING, History(start=100.0, step_s=5.0, values=(1.0, 2.0)))])

    filled(history, 110.0, NAN, 4, NAN)
    history.record(told(125, 6))
    history.record(told(130, 6))

    assert history.history(CHAT, ONGOING).values == (1.0, 2.0, None, 4.0, None, 6.0)


def test_nothing_known_fills_nothing():
    history = DemandHistory()

    assert filled(history, 100.0, NAN, NAN) == 0
    assert history.signals() == ()


BINS = st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=12)


@given(own=BINS, others=BINS, first=st.integers(0, 20), other_first=st.integers(0, 20), most=st.integers(1, 15))
def test_filling_never_changes_what_is_known_and_keeps_the_bound(own, others, first, other_first, most):
    history = DemandHistory(max_bins=most)
    values = tuple(None if one is None else float(one) for one in own)
    history.restore([(CHAT, ONGOING, History(start=first * 5.0, step_s=5.0, values=values))])
    before = history.history(CHAT, ONGOING)

    filled(history, other_first * 5.0, *(NAN if one is None else one for one in others))
    after = history.history(CHAT, ONGOING)

    at = {after.start + place * 5.0: value for place, value in enumerate(after.values)}
    told_by_others = {(other_first + place) * 5.0: one for place, one in enumerate(others) if one is not None}
    assert len(after.values) <= most
    for place, value in enumerate(before.values):
        when = before.start + place * 5.0
        if value is not None and when in at:
            assert at[when] == value
    for when, value in at.items():
        begins = round((when - before.start) / 5.0)
        mine = before.values[begins] if 0 <= begins < len(before.values) else None
        assert value == (mine if mine is not None else told_by_others.get(when))
