"""NVIDIA Dynamo's planner on engines whose iterations take 20 ms and 0.1 ms per prompt token, 1 ms per sequence."""

from __future__ import annotations

import pytest

from controller.errors import BadInputError
from controller.simulation.outcome import Objectives
from controller.simulation.peers.catalogue import parse_peers
from controller.simulation.peers.dynamo import DynamoPlanner, EngineModel
from controller.simulation.peers.dynamo_predictors import LastValue, LocalTrend, is_wheel_installed, predictor
from tests.simulated import cluster_of
from tests.unit.simulation.test_peers import load, seen

SPEC = cluster_of(
    replica__iteration_base_s=0.02,
    replica__per_sequence_s=0.001,
    replica__per_context_token_s=0.0,
    replica__per_prefill_token_s=0.0001,
    replica__max_num_batched_tokens=1000,
    replica__max_num_seqs=100,
    replica__kv_cache_tokens=50_000,
).replica
MODEL = EngineModel(SPEC)
OBJECTIVES = Objectives(ttft_s=1.0, tpot_s=0.1)


def planner(**objectives: float) -> DynamoPlanner:
    return DynamoPlanner(
        SPEC, Objectives(**{"ttft_s": 1.0, "tpot_s": 0.1} | objectives), kind="constant", name="dynamo"
    )


def test_prompts_are_read_in_full_chunks_and_a_rest():
    assert MODEL.read_s(2500, 10, 0) == pytest.approx(2 * (0.02 + 0.01 + 0.1) + (0.02 + 0.01 + 0.05))


@pytest.mark.parametrize(
    ("prompt", "output", "tpot_s", "rps"),
    [
        # A batch of b reads b * prompt / output prompt tokens beside each of its iterations.
        pytest.param(100, 100, 1.0, 100 / (100 * (0.02 + 0.1 + 0.01)), id="all 100 seats"),
        pytest.param(1900, 200, 1.0, 25 / (200 * (0.02 + 0.025 + 0.0238)), id="25 of 2,000 tokens fill the cache"),
        pytest.param(100, 100, 0.0751, 50 / (100 * (0.02 + 0.05 + 0.005)), id="50 keep 75.1 ms"),
        pytest.param(100, 100, 0.001, 100 / (100 * 0.13), id="none keeps 1 ms: the best of all"),
        pytest.param(0, 100, 0.1, 0.0, id="no prompt is no shape"),
    ],
)
def test_the_best_rate_of_one_engine(prompt, output, tpot_s, rps):
    assert MODEL.most_rps(prompt, output, Objectives(ttft_s=100.0, tpot_s=tpot_s)) == pytest.approx(rps)


@pytest.mark.parametrize(
    ("requests", "floor"),
    [
        pytest.param(5_400, 5, id="30/s: 72 keep 99.2 ms, which turns over 7.26/s"),
        pytest.param(90_000, 10, id="500/s: eight more at most"),
        pytest.param(0, 2, id="no request tells no shape: what is there"),
    ],
)
def test_the_floor_is_the_rate_over_the_best_rate(requests, floor):
    policy = planner()
    policy.target(seen(0.0, 0, 2), 0.0)
    arrived = {"arrived": requests, "arrived_prompt_tokens": 100 * requests, "arrived_output_tokens": 100 * requests}
    assert policy.target(seen(180.0, 0, 2, **arrived), 180.0) == floor


def busy(count: int, **each: int) -> tuple:
    return tuple(load(n, **each) for n in range(count))


@pytest.mark.parametrize(
    ("each", "target", "stopping", "wanted"),
    [
        pytest.param({"backlog_tokens": 9000}, 2, 0, 3, id="every queue takes 9 x 0.12 s: one more"),
        pytest.param({"backlog_tokens": 2000}, 2, 0, 2, id="0.24 s: neither"),
        pytest.param({"decoding": 90}, 2, 0, 3, id="111 ms per token: one more"),
        pytest.param({"backlog_tokens": 9000}, 3, 0, 3, id="nothing more while one starts"),
        pytest.param({"backlog_tokens": 9000}, 2, 1, 2, id="nothing while one drains"),
    ],
)
def test_the_load_loop_adds_one_when_every_engine_is_late(each, target, stopping, wanted):
    state = seen(0.0, 0, target, ready=2, replicas=busy(2, **each), stopping=stopping)
    assert planner().target(state, 0.0) == wanted


def test_the_load_loop_gives_one_up_only_when_the_others_could_carry_its_load():
    """The floor is 1 here: three minutes without a request. With 2 of 3 left each decodes half as much again."""
    wanted = {}
    for decoding in (30, 50):
        policy = planner()
        policy.target(seen(0.0, 0, 3), 0.0)
        state = seen(
            180.0,
            0,
            3,
            replicas=busy(3, decoding=decoding),
            arrived=1,
            arrived_prompt_tokens=100,
            arrived_output_tokens=100,
        )
        wanted[decoding] = policy.target(state, 180.0)
    assert wanted == {30: 2, 50: 3}  # 20 + 45 + 1 = 66 ms and 20 + 75 + 1 = 96 ms against 80 ms


def test_one_late_engine_is_not_enough():
    late, idle = load(0, backlog_tokens=90_000), load(1)
    assert planner().target(seen(0.0, 0, 2, replicas=(late, idle)), 0.0) == 2


def test_starting_replicas_are_given_up_when_nothing_needs_them():
    state = seen(0.0, 0, 3, ready=2, replicas=busy(2))
    assert planner().target(state, 0.0) == 2


def test_the_local_trend_is_the_last_value_until_the_fifth_and_then_goes_on():
    trend = LocalTrend()
    predictions = []
    for value in (0.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 24.0, 26.0):
        trend.add_data_point(value)
        predictions.append(trend.predict_next())
    assert predictions[:5] == [0.0, 10.0, 12.0, 14.0, 16.0]
    assert predictions[-1] == pytest.approx(28.0, abs=1.5)
    assert trend.predict_next() == predictions[-1]


def test_the_constant_predictor_repeats():
    last = LastValue()
    last.add_data_point(3.0)
    assert last.predict_next() == 3.0


@pytest.mark.skipif(not is_wheel_installed(), reason="ai-dynamo is not installed")
def test_the_trend_written_down_here_is_that_of_the_wheel():
    theirs, ours = predictor("kalman", 180.0), LocalTrend()
    for value in (0.0, 4.0, 9.0, 3.0, 12.0, 40.0, 35.0, 20.0, 21.0):
        theirs.add_data_point(value)
        ours.add_data_point(value)
        assert ours.predict_next() == pytest.approx(theirs.predict_next())


@pytest.mark.skipif(is_wheel_installed(), reason="ai-dynamo is installed")
def test_what_needs_the_wheel_says_so():
    with pytest.raises(BadInputError, match="dynamo-arima needs the wheel of ai-dynamo"):
        parse_peers("dynamo-arima")
