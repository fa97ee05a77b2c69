"""A fitted model sees the day, is the same for a seed, and answers as scikit-learn would."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from controller.domain.snapshot import History
from controller.forecast.arrays import FloatArray
from controller.forecast.checkpoint import dump, load_model
from controller.forecast.features import features
from controller.forecast.fitting import _flattened, fit
from controller.forecast.past import Past
from controller.forecast.retrospect import look_back
from controller.forecast.seasons import season_s

STEP_S = 300.0
DAY = 288


def days(count: float, *, level: float = 100.0) -> FloatArray:
    """A peak of three times the night's level at noon, and Poisson noise."""
    bins = np.arange(round(count * DAY))
    noon = np.exp(-0.5 * ((bins % DAY - DAY / 2) / 20) ** 2)
    return np.random.default_rng(1).poisson(level * (1 + 2 * noon)).astype(float)


def history(values: FloatArray) -> History:
    return History(start=0, step_s=STEP_S, values=tuple(values.tolist()))


def test_it_predicts_the_rise_before_noon() -> None:
    values = days(5)
    model = fit(history(values), horizon_s=6 * STEP_S, probabilities=(0.9,), seed=0)
    before_noon = Past.of(history(days(5 + (DAY / 2 - 30) / DAY)))

    look = look_back(
        before_noon, level=100.0, horizon_s=6 * STEP_S, probabilities=(0.9,), season_s=86_400.0, model=model
    )

    assert look.boosted is not None
    assert look.newest_rise is not None
    assert look.boosted[0] > 1.3 * before_noon.values[-3:].mean()
    assert look.newest_rise > 1.2


def test_what_was_learned_at_one_level_holds_at_another() -> None:
    values = days(5)
    model = fit(history(values), horizon_s=1800, probabilities=(0.9,), seed=0)
    looks = [
        look_back(
            Past(STEP_S, 0.0, scale * values),
            level=0.0,
            horizon_s=1800,
            probabilities=(0.9,),
            season_s=86_400.0,
            model=model,
        )
        for scale in (1.0, 64.0)
    ]

    assert looks[0].boosted is not None
    assert looks[1].boosted is not None
    assert looks[1].boosted[0] == pytest.approx(64 * looks[0].boosted[0])


def test_the_same_seed_gives_the_same_model_and_it_survives_being_stored() -> None:
    first, again = (fit(history(days(3)), horizon_s=1800, probabilities=(0.5, 0.9), seed=7) for _ in range(2))

    assert first is not None
    assert again is not None
    assert dump(first) == dump(again)
    restored = load_model(dump(first))
    assert restored is not None
    assert dump(restored) == dump(first)


def test_there_is_no_model_of_too_little() -> None:
    assert fit(history(days(0.6)), horizon_s=1800, probabilities=(0.9,), seed=0) is None
    assert fit(History(start=0, step_s=60, values=(None,) * 5000), horizon_s=60, probabilities=(0.9,), seed=0) is None


def test_the_flat_trees_answer_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(0, 1, (2000, 5))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    target = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 3]) ** 2 + rng.normal(0, 0.3, 2000)
    model = HistGradientBoostingRegressor(loss="quantile", quantile=0.9, max_iter=30).fit(rows, target)

    ours = _flattened(model, np.arange(5)).predict_rows(rows[:500])

    np.testing.assert_allclose(ours, model.predict(rows[:500]))


def test_features_know_nothing_of_the_future() -> None:
    values = days(4)
    changed = values.copy()
    changed[3 * DAY + 1 :] = 9999.0
    origins = np.arange(2 * DAY, 3 * DAY + 1)

    shown = [
        features(Past(STEP_S, 4 * 86_400.0, one), origins, ahead=6, season_s=86_400.0).rows for one in (values, changed)
    ]

    np.testing.assert_array_equal(shown[0], shown[1])


@pytest.mark.parametrize(("hours", "found"), [(24, 24), (6, 6)])
def test_a_season_is_found_whatever_its_length(hours: float, found: float) -> None:
    bins = np.arange(6 * DAY)
    wave = 50 + 30 * np.sin(2 * np.pi * bins / (hours * 12)) + np.random.default_rng(2).normal(0, 10, bins.size)

    season = season_s(Past(STEP_S, 0.0, wave))

    assert season is not None
    assert season / 3600 == pytest.approx(found, abs=0.5)


def test_noise_and_a_walk_have_no_season() -> None:
    rng = np.random.default_rng(3)

    assert season_s(Past(STEP_S, 0.0, rng.poisson(50, 6 * DAY).astype(float))) is None
    assert season_s(Past(STEP_S, 0.0, np.full(6 * DAY, 7.0))) is None
