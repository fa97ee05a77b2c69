import numpy as np
import pytest

from controller.domain.capacity import IterationEstimate, IterationTime
from controller.planner.capacity.batches import Batches
from controller.planner.capacity.from_policy import DEFAULT_ITERATION
from controller.planner.capacity.iteration import FIRM, LOOSE, iteration_time, learned, new_estimate, unidentified
from tests.synthetic_engine import RTX_4090


def batch(time: IterationTime, sequences: float, context: float, prefill: float, *, factor: float = 1.0) -> Batches:
    seconds = time.seconds(sequences=sequences, context_tokens=context, prefill_tokens=prefill)
    return Batches(seconds * factor, sequences, context, prefill)


def spread_batches(rng, count, *, time=RTX_4090, noise=0.0) -> list[Batches]:
    made = []
    for _ in range(count):
        sequences = rng.uniform(5, 200)
        context = sequences * rng.uniform(100, 6000)
        made.append(batch(time, sequences, context, rng.uniform(0, 1800), factor=1 + noise * rng.standard_normal()))
    return made


def taught(batches, estimate=None) -> IterationEstimate:
    estimate = estimate or new_estimate("k", DEFAULT_ITERATION, spread=LOOSE)
    for at, one in enumerate(batches):
        estimate = learned(estimate, one, at=float(at))
    return estimate


def ratios(estimate, truth=RTX_4090):
    return np.array(iteration_time(estimate).coefficients) / np.array(truth.coefficients)


@pytest.mark.parametrize(("noise", "count"), [(0.0, 60), (0.03, 800)])
def test_all_four_coefficients_are_found_within_five_percent_when_load_varies(noise, count):
    estimate = taught(spread_batches(np.random.default_rng(1), count, noise=noise))

    assert ratios(estimate) == pytest.approx(np.ones(4), abs=0.05)
    assert unidentified(estimate) == ()


def test_outliers_hardly_move_the_estimate():
    rng = np.random.default_rng(2)
    batches = [
        batch(RTX_4090, one.sequences, one.context_tokens, one.prefill_tokens, factor=8.0)
        if rng.random() < 0.1
        else one
        for one in spread_batches(rng, 300, noise=0.02)
    ]

    estimate = taught(batches)

    assert ratios(estimate) == pytest.approx(np.ones(4), abs=0.05)
    assert estimate.drifted_at is None


def test_without_spread_the_prior_is_kept_where_nothing_was_learned_and_that_is_said():
    same = [batch(RTX_4090, 20.0, 24_000.0, 100.0)] * 200

    estimate = taught(same, new_estimate("k", DEFAULT_ITERATION, spread=FIRM))

    found = iteration_time(estimate)
    assert found.seconds(sequences=20, context_tokens=24_000, prefill_tokens=100) == pytest.approx(
        same[0].seconds, rel=0.01
    )
    assert found.per_sequence_s == pytest.approx(DEFAULT_ITERATION.per_sequence_s, rel=0.1)
    assert {"per sequence", "per context token"} <= set(unidentified(estimate))


def test_what_a_busy_day_taught_is_not_lost_over_a_quiet_night():
    day = taught(spread_batches(np.random.default_rng(3), 300))

    night = taught([batch(RTX_4090, 3.0, 3000.0, 30.0)] * 2000, day)

    assert ratios(night) == pytest.approx(np.ones(4), abs=0.05)


def test_a_lasting_change_is_noticed_and_followed_within_fifty_intervals():
    rng = np.random.default_rng(4)
    slower = IterationTime(**{name: 1.4 * getattr(RTX_4090, name) for name in RTX_4090.__slots__})
    before = taught(spread_batches(rng, 300, noise=0.02))

    after = taught(spread_batches(rng, 50, time=slower, noise=0.02), before)

    assert before.drifted_at is None
    assert after.drifted_at is not None
    assert ratios(after, slower) == pytest.approx(np.ones(4), abs=0.2)
    heavy = {"sequences": 60, "context_tokens": 80_000, "prefill_tokens": 500}
    assert iteration_time(after).seconds(**heavy) == pytest.approx(slower.seconds(**heavy), rel=0.05)


def test_coefficients_are_never_negative():
    flat = IterationTime(base_s=0.02, per_sequence_s=0.0, per_context_token_s=0.0, per_prefill_token_s=0.0)

    estimate = taught(spread_batches(np.random.default_rng(5), 300, time=flat, noise=0.05))

    found = iteration_time(estimate)
    assert min(found.coefficients) >= 0.0
    assert found.base_s == pytest.approx(0.02, rel=0.05)
