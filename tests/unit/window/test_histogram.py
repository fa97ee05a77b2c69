from __future__ import annotations

import math

import pytest

from controller.window.histogram import mean, quantile


@pytest.mark.parametrize(
    ("buckets", "probability", "value"),
    [
        ({1.0: 10, 2.0: 10, math.inf: 10}, 0.5, 0.5),
        ({1.0: 0, 2.0: 10, math.inf: 10}, 0.5, 1.5),
        ({1.0: 5, 2.0: 10, math.inf: 10}, 0.95, 1.9),
        ({1.0: 0, 2.0: 0, math.inf: 10}, 0.5, 2.0),
        ({1.0: 5, 2.0: 5, math.inf: 10}, 0.95, 2.0),
        ({1.0: 10, 2.0: 10, math.inf: 10}, 1.0, 1.0),
        ({1.0: 10, 2.0: 4, math.inf: 10}, 0.5, 0.5),
    ],
)
def test_a_quantile_is_linear_in_its_bucket_and_clamped_to_the_highest_bound(buckets, probability, value):
    assert quantile(buckets, probability) == pytest.approx(value)


@pytest.mark.parametrize("buckets", [{}, {1.0: 0, math.inf: 0}, {math.inf: 7}])
def test_without_observations_or_bounds_there_is_no_quantile_and_no_mean(buckets):
    assert quantile(buckets, 0.5) is None
    assert mean(buckets) is None


def test_the_mean_takes_the_middle_of_each_bucket():
    assert mean({1.0: 2, 3.0: 4, math.inf: 5}) == pytest.approx((2 * 0.5 + 2 * 2.0 + 1 * 3.0) / 5)
