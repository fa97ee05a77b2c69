"""What was learned goes on after a restart; what another version wrote is left alone."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controller.forecast.announced import Change
from controller.forecast.checkpoint import VERSION, dump, load_model, load_track
from controller.forecast.fitted import FittedModel
from controller.forecast.online import NAMES, Spec, Track, advance, predict, start
from controller.forecast.retrospect import Retrospect
from controller.forecast.target import Target
from tests.unit.forecast.test_fitted import FOREST

MODEL = FittedModel(
    version=1,
    fitted_at=7.0,
    horizon_s=60.0,
    step_s=5.0,
    season_s=None,
    probabilities=(0.5, 0.9),
    forests=(FOREST, FOREST),
    rows=300,
    events=("launch",),
)


def learned(target: Target = Target.MAXIMUM) -> Track:
    spec = Spec(horizon_s=60, step_s=5, probabilities=(0.5, 0.9), target=target)
    values = np.random.default_rng(6).poisson(30, 300).astype(float).tolist()
    track = start(spec, at=5, value=values[0])
    for place, value in enumerate(values[1:], start=2):
        track = advance(track, at=5.0 * place, value=value)
    return track


def written(**changes: Any) -> bytes:
    return json.dumps(json.loads(dump(MODEL)) | changes).encode()


def test_a_track_goes_on_after_being_stored() -> None:
    track = learned()

    restored = load_track(dump(track))

    assert restored is not None
    # A horizon's open predictions are not kept.
    assert predict(restored).served.tolist() == predict(replace(track, waiting=())).served.tolist()
    assert advance(restored, at=5.0 * 301, value=31.0).levels.last == 31


@pytest.mark.parametrize("body", [b"", b"{}", b'{"version": 0, "variants": [], "value": null}', b'{"version": 1}'])
def test_what_cannot_be_read_is_left_out(body: bytes) -> None:
    assert load_track(body) is None
    assert load_model(body) is None


@pytest.mark.parametrize("target", Target)
def test_a_track_is_stored_whole_but_for_its_open_predictions(target: Target) -> None:
    track = learned(target)

    restored = load_track(dump(track))

    assert restored is not None
    assert restored.spec == track.spec
    assert (restored.waiting, restored.look, restored.coming) == ((), None, None)
    assert dump(restored) == dump(track)
    assert restored.levels.values.dtype == track.levels.values.dtype


def test_what_is_seen_anew_each_time_is_not_stored() -> None:
    track = replace(learned(), look=Retrospect(at=0, level=1.0), coming=Change(on=True, multiple=2.0, extra=0.0))

    restored = load_track(dump(track))

    assert restored is not None
    assert (restored.look, restored.coming) == (None, None)


def test_numbers_of_numpy_are_stored_as_numbers() -> None:
    restored = load_model(dump(replace(MODEL, fitted_at=np.float32(3.5))))

    assert restored is not None
    assert restored.fitted_at == 3.5


def test_a_model_is_stored_whole() -> None:
    restored = load_model(dump(MODEL))

    assert restored is not None
    assert replace(restored, forests=()) == replace(MODEL, forests=())
    assert [forest.predict(np.array([2.0, 6.0])) for forest in restored.forests] == [122.0, 122.0]
    assert restored.forests[0].feature.dtype == FOREST.feature.dtype
    assert load_track(dump(MODEL)) is None
    assert load_model(dump(learned())) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"version": VERSION + 1}, id="another-version"),
        pytest.param({"variants": [*NAMES, "newer"]}, id="other-candidates"),
        pytest.param({"value": {"kind": "Popen", "args": "true"}}, id="a-kind-that-is-not-ours"),
        pytest.param({"value": {"kind": "FittedModel", "version": 1}}, id="a-part-is-missing"),
        pytest.param({"value": {"array": "AAAA", "of": "<f8", "shape": [7]}}, id="an-array-of-another-size"),
        pytest.param({"value": ["no", "model"]}, id="no-model"),
    ],
)
def test_what_is_not_understood_is_not_used(changes: dict[str, Any]) -> None:
    assert load_model(written()) is not None
    assert load_model(written(**changes)) is None
    assert load_track(written(**changes)) is None
