"""Offsets find the promised quantile, weights find the better prediction."""

import numpy as np
import pytest

from controller.forecast.experts import Experts, mean
from controller.forecast.pending import Outcome, Prediction

P = np.array([0.5, 0.9])
FREE = np.ones(2)


def learn(experts: Experts, points: list[float], actual: float, *, scale: float = 1.0) -> Experts:
    shown = np.broadcast_to(np.array(points), (2, 2))
    scales = np.full(3, scale)
    quantiles = experts.quantiles(shown, scales, FREE)
    nothing = np.zeros(2)
    prediction = Prediction(0.0, shown, scales, quantiles, nothing, nothing)
    return experts.learning(Outcome(prediction, actual), P, per_horizon=1.0)


def fresh() -> Experts:
    return Experts.fresh((0.5, 0.9), 2, scales=3, steps=1)


def test_an_offset_covers_what_its_probability_promises() -> None:
    rng, experts = np.random.default_rng(1), fresh()
    covered = []

    for error in rng.gamma(2, 3, 4000):
        covered.append(error <= experts.quantiles(np.zeros((2, 2)), np.ones(3), FREE)[:, 0, :])
        experts = learn(experts, [0.0, 0.0], float(error))

    shares = np.mean(covered[500:], axis=0)
    assert shares[0] == pytest.approx([0.5] * 3, abs=0.02)
    assert shares[1] == pytest.approx([0.9] * 3, abs=0.02)


def test_the_better_variant_ends_up_with_the_weight() -> None:
    rng, experts = np.random.default_rng(2), fresh()

    for value in rng.normal(0, 1, 600):
        experts = learn(experts, [20 + 0.2 * value, 20 - value], float(20 + value))

    quantiles = experts.quantiles(np.full((2, 2), 20.0), np.ones(3), FREE)
    weights = experts.weights(quantiles, np.zeros(2), per_horizon=1.0)
    assert weights[:, 0].sum(axis=-1).min() > 0.95


def test_who_has_no_opinion_has_no_weight_and_learns_nothing() -> None:
    experts = fresh()

    after = learn(experts, [np.nan, 1.0], 5.0)
    quantiles = after.quantiles(np.array([[np.nan, 1.0]] * 2), np.ones(3), FREE)
    weights = after.weights(quantiles, np.zeros(2), per_horizon=1.0)

    assert np.array_equal(after.offsets[:, 0], experts.offsets[:, 0])
    assert not np.array_equal(after.offsets[:, 1], experts.offsets[:, 1])
    assert weights[:, 0].max() == 0
    assert weights.sum(axis=(1, 2)) == pytest.approx([1, 1])


def test_before_the_first_surprise_nothing_is_learned_about_offsets() -> None:
    assert np.array_equal(learn(fresh(), [3.0, 3.0], 9.0, scale=0.0).offsets, fresh().offsets)


def test_doubt_decides_while_nothing_was_scored() -> None:
    experts = fresh()
    quantiles = experts.quantiles(np.full((2, 2), 1.0), np.zeros(3), FREE)

    weights = experts.weights(quantiles, np.array([0.0, 2.0]), per_horizon=8.0)

    assert weights[0, 0, 0] / weights[0, 1, 0] == pytest.approx(np.exp(2))


def test_equal_values_have_exactly_that_mean() -> None:
    weights = np.full((1, 3, 3), 1 / 9)

    assert mean(weights, np.full((1, 3, 3), 0.1)).tolist() == [0.1]
