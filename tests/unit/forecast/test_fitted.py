"""Trees as arrays: a branch to the left up to its threshold, and where what is missing goes."""

import numpy as np
import pytest

from controller.forecast.fitted import Forest

FOREST = Forest(
    baseline=100.0,
    roots=np.array([0, 3]),
    feature=np.array([0, 0, 0, 1, 0, 0, 0, 0]),
    threshold=np.array([1.0, 0.0, 0.0, 5.0, 0.0, 3.0, 0.0, 0.0]),
    missing_left=np.array([True, False, False, False, False, False, False, False]),
    left=np.array([1, 1, 2, 4, 4, 6, 6, 7]),
    right=np.array([2, 1, 2, 5, 4, 7, 6, 7]),
    value=np.array([0.0, 10.0, 20.0, 0.0, 1.0, 0.0, 2.0, 4.0]),
    depth=2,
)
"""One tree asks whether the first feature is at most 1; the other whether the second is 5, and then the first 3."""


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param([1.0, 5.0], 111.0, id="at-the-thresholds"),
        pytest.param([2.0, 6.0], 122.0, id="above-one-below-the-next"),
        pytest.param([4.0, 6.0], 124.0, id="above-all"),
        pytest.param([np.nan, np.nan], 114.0, id="missing"),
        pytest.param([np.nan, 5.0], 111.0, id="missing-goes-left-where-it-was-learned-so"),
    ],
)
def test_a_row_falls_through_every_tree(row: list[float], expected: float) -> None:
    assert FOREST.predict(np.array(row)) == expected
    assert FOREST.predict_rows(np.array([row, [4.0, 6.0], [1.0, 5.0]])).tolist() == [expected, 124.0, 111.0]
