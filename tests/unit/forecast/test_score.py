"""Losses are least where they should be, and few residuals make a wider band."""

import numpy as np
import pytest

from controller.forecast.score import Residuals, calibrated_loss, pinball_loss


def residuals(*values: float) -> Residuals:
    return Residuals.of(np.array(values), np.ones(len(values)))


@pytest.mark.parametrize(
    ("actual", "predicted", "probability", "expected"),
    [
        pytest.param(10.0, 8.0, 0.9, 1.8, id="under-costs-p"),
        pytest.param(8.0, 10.0, 0.9, 0.2, id="over-costs-one-minus-p"),
        pytest.param(5.0, 5.0, 0.9, 0.0, id="exact-costs-nothing"),
    ],
)
def test_pinball_loss(actual: float, predicted: float, probability: float, expected: float) -> None:
    assert pinball_loss(np.array([actual]), predicted, probability)[0] == pytest.approx(expected)


def test_pinball_loss_is_least_at_the_true_quantile() -> None:
    actual = np.arange(1001.0)

    losses = {guess: pinball_loss(actual, float(guess), 0.9).mean() for guess in (500, 800, 900, 950, 1000)}

    assert min(losses, key=losses.__getitem__) == 900


def test_a_constant_bias_costs_a_candidate_nothing_but_scatter_does() -> None:
    biased = residuals(*[7.0] * 20)
    scattered = residuals(*[-1.0, 1.0] * 10)

    assert calibrated_loss(biased, (0.5, 0.9)) == 0
    assert calibrated_loss(scattered, (0.5, 0.9)) > 0.1


def test_weights_say_how_much_a_residual_counts() -> None:
    values = np.array([0.0, 10.0])

    assert Residuals.of(values, np.array([1.0, 0.05])).quantile(0.9) == 0
    assert Residuals.of(values, np.array([1.0, 1.0])).quantile(0.9) == 10


def test_few_residuals_reach_beyond_the_largest_and_many_do_not() -> None:
    assert residuals(0.0, 1.0, 2.0).covering_quantile(0.9) > 2
    assert residuals(*np.linspace(0, 2, 1000)).covering_quantile(0.9) == pytest.approx(1.8, abs=0.01)
