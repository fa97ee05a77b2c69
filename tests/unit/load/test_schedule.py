from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import BadInputError
from controller.load.schedule import ScheduleOptions, arrivals, replay_seconds, scale_rate
from controller.load.stages import parse_stages, staged_trace
from controller.load.trace import Trace

times = st.lists(st.floats(0, 1000), min_size=1, max_size=200).map(sorted)
seeds = st.integers(0, 2**32)


def traced(t_s: list[float], length_s: float | None = None) -> Trace:
    numbers = np.arange(len(t_s), dtype=np.int64)
    return Trace(
        name="test",
        t_s=np.array(t_s, dtype=np.float64),
        prompt_tokens=100 + numbers,
        output_tokens=10 + numbers,
        length_s=length_s or (max(t_s) + 1.0),
    )


@settings(deadline=None)
@given(times, st.floats(0.01, 6), seeds)
def test_every_request_is_laid_over_itself_scale_times(t_s: list[float], scale: float, seed: int) -> None:
    at_s, rows = scale_rate(np.array(t_s), scale, 1001.0, np.random.default_rng(seed))

    copies = Counter(rows.tolist())
    assert all(int(scale) <= copies[row] <= int(scale) + 1 for row in range(len(t_s)))
    assert np.all(np.diff(at_s) >= 0)
    assert np.all((at_s >= 0) & (at_s <= 1001.0))


@settings(deadline=None)
@given(times, st.floats(0.01, 0.99), st.floats(0.01, 0.99), seeds)
def test_thinning_further_keeps_a_part_of_what_was_kept(t_s: list[float], one: float, other: float, seed: int) -> None:
    less, more = sorted([one, other])
    few = scale_rate(np.array(t_s), less, 1001.0, np.random.default_rng(seed))
    many = scale_rate(np.array(t_s), more, 1001.0, np.random.default_rng(seed))

    assert set(few[1].tolist()) <= set(many[1].tolist())
    assert set(few[0].tolist()) <= set(t_s)  # thinning moves nothing


@settings(deadline=None)
@given(times, seeds)
def test_scale_one_changes_nothing(t_s: list[float], seed: int) -> None:
    at_s, rows = scale_rate(np.array(t_s), 1.0, 1001.0, np.random.default_rng(seed))

    assert at_s.tolist() == t_s
    assert sorted(rows.tolist()) == list(range(len(t_s)))


@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 5), seeds)
def test_the_number_of_requests_follows_the_scale(scale: float, seed: int) -> None:
    t_s = np.sort(np.random.default_rng(seed).uniform(0, 100, 4000))

    at_s, _ = scale_rate(t_s, scale, 100.0, np.random.default_rng(seed))

    share = scale - int(scale)
    assert abs(len(at_s) - scale * 4000) <= 6 * np.sqrt(4000 * share * (1 - share)) + 1


def test_copies_keep_the_shape_of_the_rate() -> None:
    t_s = np.concatenate([np.linspace(0, 49, 200), np.linspace(50, 99, 1000)])

    at_s, _ = scale_rate(t_s, 3.0, 100.0, np.random.default_rng(1))

    assert np.count_nonzero(at_s < 50) == pytest.approx(600, rel=0.05)


@settings(deadline=None)
@given(times, st.floats(0.1, 5), seeds)
def test_the_same_seed_gives_the_same_schedule(t_s: list[float], scale: float, seed: int) -> None:
    options = ScheduleOptions(speed=3.0, rate_scale=scale, seed=seed)

    assert list(arrivals(traced(t_s), options)) == list(arrivals(traced(t_s), options))


def test_another_seed_keeps_other_requests() -> None:
    trace = traced([float(second) for second in range(100)])

    one = [arrival.at_s for arrival in arrivals(trace, ScheduleOptions(rate_scale=0.5, seed=1))]
    other = [arrival.at_s for arrival in arrivals(trace, ScheduleOptions(rate_scale=0.5, seed=2))]

    assert one != other


def test_speed_compresses_the_chosen_part() -> None:
    trace = traced([0.0, 10.0, 20.0, 30.0, 40.0])
    options = ScheduleOptions(speed=10.0, start_s=10.0, duration_s=25.0)

    assert [arrival.at_s for arrival in arrivals(trace, options)] == [0.0, 1.0, 2.0]
    assert replay_seconds(trace, options) == 2.5


def test_sizes_are_clipped_and_never_zero() -> None:
    trace = Trace(
        name="sizes",
        t_s=np.array([0.0, 1.0]),
        prompt_tokens=np.array([0, 5000]),
        output_tokens=np.array([0, 900]),
        length_s=2.0,
    )

    sizes = [
        (arrival.prompt_tokens, arrival.output_tokens)
        for arrival in arrivals(trace, ScheduleOptions(prompt_tokens_max=256, output_tokens_max=64))
    ]

    assert sizes == [(1, 1), (256, 64)]


def test_a_loop_begins_again_after_the_length_of_the_trace() -> None:
    trace = traced([0.0, 2.0], length_s=5.0)

    looped = list(itertools.islice(arrivals(trace, ScheduleOptions(loop=True)), 5))

    assert [arrival.at_s for arrival in looped] == [0.0, 2.0, 5.0, 7.0, 10.0]
    assert [arrival.index for arrival in looped] == [0, 1, 2, 3, 4]


def test_each_lap_is_drawn_anew() -> None:
    trace = traced([float(second) for second in range(100)], length_s=100.0)
    options = ScheduleOptions(loop=True, rate_scale=0.5)

    laps = itertools.groupby(arrivals(trace, options), key=lambda arrival: arrival.at_s // 100)
    first, second = ([arrival.at_s % 100 for arrival in lap] for _, lap in itertools.islice(laps, 2))

    assert first != second


def test_a_part_without_requests_is_bad_input() -> None:
    with pytest.raises(BadInputError, match="no request from 50 s to 60 s; it is 41 s long"):
        arrivals(traced([0.0, 40.0]), ScheduleOptions(start_s=50.0, duration_s=10.0))


def test_stages_follow_each_other_at_their_rates() -> None:
    trace = staged_trace(parse_stages("2x2, 0x3,4x1"), prompt_tokens=9, output_tokens=3)

    assert trace.t_s.tolist() == [0.0, 0.5, 1.0, 1.5, 5.0, 5.25, 5.5, 5.75]
    assert trace.length_s == 6.0
    assert set(trace.prompt_tokens) == {9}


@pytest.mark.parametrize("text", ["", "2", "2x", "x30", "2x30;4x5", "-1x5", "2x0", "nanx5", "2xinf", "axb", "0x10"])
def test_stages_that_make_no_sense_are_bad_input(text: str) -> None:
    with pytest.raises(BadInputError, match="expected RPSxSECONDS"):
        parse_stages(text)


def test_too_many_staged_requests_are_bad_input() -> None:
    with pytest.raises(BadInputError, match="at most 5,000,000"):
        staged_trace(parse_stages("100000x100000"), prompt_tokens=1, output_tokens=1)
