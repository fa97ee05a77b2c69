"""Trust is lost by broken promises, survives bad luck, and comes back by itself."""

import numpy as np
import pytest

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.adaptive import AdaptiveForecaster
from controller.forecast.conformal import Correction
from controller.forecast.pending import Outcome, Prediction
from controller.forecast.trust import TRUSTED, Score, Trust

LOST = Trust(100.0)


@pytest.mark.parametrize(
    ("before", "coverage", "horizons", "lost_at"),
    [
        pytest.param(TRUSTED, 0.88, 100, None, id="kept"),
        pytest.param(TRUSTED, 0.60, 10, None, id="too-early-to-tell"),
        pytest.param(TRUSTED, 0.80, 30, None, id="may-be-bad-luck"),
        pytest.param(TRUSTED, 0.70, 100, 500.0, id="broken"),
        pytest.param(TRUSTED, 0.60, 24, 500.0, id="just-enough-to-tell"),
        pytest.param(TRUSTED, 0.791, 100, None, id="beyond-chance-by-just-too-little"),
        pytest.param(TRUSTED, 0.789, 100, 500.0, id="just-beyond-chance"),
        pytest.param(TRUSTED, 0.761, 25, None, id="chance-explains-more-of-a-short-record"),
        pytest.param(TRUSTED, 0.759, 25, 500.0, id="but-not-all"),
        pytest.param(LOST, 0.84, 100, 100.0, id="not-yet-back"),
        pytest.param(LOST, 0.859, 100, 100.0, id="nearly-back"),
        pytest.param(LOST, 0.9 - 0.04, 1, None, id="just-back"),
        pytest.param(LOST, 0.87, 100, None, id="back"),
    ],
)
def test_trust_follows_coverage(before: Trust, coverage: float, horizons: float, lost_at: float | None) -> None:
    after = before.reconsidered(coverage=coverage, promised=0.9, horizons=horizons, now=500.0)

    assert after.lost_at == lost_at


def outcome(served: float, actual: float, at: float = 0.0, scale: float = 1.0) -> Outcome:
    one = np.array([served])
    return Outcome(Prediction(at, one[:, None], np.full(3, scale), one[:, None, None], one, one), actual)


def test_the_record_tells_coverage_loss_and_bias() -> None:
    score = Score.fresh(1)

    for number, actual in enumerate([8.0, 9.0, 12.0, 9.0]):
        score = score.counting(outcome(10, actual, at=number), np.array([0.9]), horizon_s=1.0)

    assert score.coverage[0] == pytest.approx(0.75, abs=0.01)
    assert score.loss[0] == pytest.approx((0.2 + 0.1 + 1.8 + 0.1) / 4, abs=0.01)
    assert score.bias[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("later_s", "horizon_s", "kept"),
    [
        pytest.param(3600.0, 7200.0, 0.5 ** (3600 / 144_000), id="twenty-horizons-where-these-are-longer"),
        pytest.param(99_999.0, 7200.0, 0.5 ** (7200 / 144_000), id="a-gap-counts-as-one-horizon-at-most"),
        pytest.param(30.0, 60.0, 0.5 ** (30 / 21_600), id="six-hours"),
    ],
)
def test_the_record_fades(later_s: float, horizon_s: float, kept: float) -> None:
    first = Score.fresh(1).counting(outcome(10, 8, at=1000), np.array([0.9]), horizon_s=horizon_s)

    then = first.counting(outcome(10, 13, at=1000 + later_s), np.array([0.9]), horizon_s=horizon_s)

    assert (first.coverage[0], first.bias[0], first.weight, first.last_at) == (1.0, 2.0, 1.0, 1000.0)
    assert first.loss[0] == pytest.approx(0.2)
    share = 1 / (kept + 1)
    assert then.weight == pytest.approx(kept + 1)
    assert then.last_at == 1000 + later_s
    assert then.coverage[0] == pytest.approx(1 - share)
    assert then.loss[0] == pytest.approx(0.2 + share * (2.7 - 0.2))
    assert then.bias[0] == pytest.approx(2 - share * 5)


@pytest.mark.parametrize(("actual", "coverage"), [(10.0, 1.0), (10.5, 0.0)])
def test_an_outcome_as_it_was_said_is_covered_and_one_just_above_is_not(actual: float, coverage: float) -> None:
    score = Score.fresh(1).counting(outcome(10, actual), np.array([0.9]), horizon_s=60.0)

    assert score.coverage[0] == coverage


def test_the_correction_covers_what_is_promised_whatever_the_blend() -> None:
    rng, correction, covered = np.random.default_rng(3), Correction.fresh(1), []

    for _ in range(6000):
        blend, actual = 10.0, float(rng.normal(13, 1))
        served = blend + float(correction.offsets[0])
        covered.append(actual <= served)
        one, both = np.array([blend]), np.array([served])
        said = Prediction(0.0, one[:, None], np.ones(3), one[:, None, None], one, both)
        correction = correction.learning(Outcome(said, actual), np.array([0.9]), per_horizon=1.0)

    assert np.mean(covered[1500:]) == pytest.approx(0.9, abs=0.02)


def test_a_forecast_that_keeps_breaking_its_promise_is_switched_off_and_comes_back() -> None:
    """Ever higher steps that nothing announced, and then an even demand."""
    rng, llm, forecaster = np.random.default_rng(5), DeploymentId("app", "llm"), AdaptiveForecaster()
    steps = np.cumsum(np.exp(rng.normal(1, 1, 160)) * (1.06 ** np.arange(160)))
    values = np.concatenate([np.repeat(steps, 7), np.full(8000, steps[-1]) + rng.normal(0, 1, 8000)])
    answers: list[Forecast | Unknown] = []

    for end in range(20, values.size, 5):
        recent = tuple(values[max(0, end - 20) : end].tolist())
        history = History(start=(end - len(recent)) * 5.0, step_s=5.0, values=recent)
        answers.append(
            forecaster.forecast(
                history, Signal.REQUESTS, now=history.end, horizon_s=30, quantiles=(0.9,), deployment=llm
            )
        )

    lost = [isinstance(answer, Unknown) for answer in answers]
    assert any(lost[: 7 * 160 // 5])
    assert next(answer for answer in answers if isinstance(answer, Unknown)).reason.startswith("trust lost: ")
    assert isinstance(answers[-1], Forecast)
    assert forecaster.standings()[llm, Signal.REQUESTS, 30.0].trusted
