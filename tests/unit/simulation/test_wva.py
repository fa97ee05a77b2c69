"""llm-d's saturation analysers, on fleets made by hand: replicas of 40,000 KV tokens, 2,048 batched, 256 sequences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.simulation.peers.wva import Engine, Fleet, Peak, SaturationV1, SaturationV2, wva
from tests.simulated import cluster_of
from tests.unit.simulation.test_peers import load, seen

ENGINE = Engine(kv_cache_tokens=40_000, max_num_batched_tokens=2048, max_num_seqs=256)


def fleet(
    *peaks: tuple[int, int], pending: int = 0, upstream: int = 0, shape: tuple[float, float] | None = None
) -> Fleet:
    return Fleet(
        replicas=len(peaks) + pending,
        ready=len(peaks),
        pending=pending,
        peaks=[Peak(*peak) for peak in peaks],
        prompt_tokens=shape and shape[0],
        output_tokens=shape and shape[1],
        upstream=upstream,
    )


@pytest.mark.parametrize(
    ("state", "desired"),
    [
        # 40,000 x 0.8 = 32,000 tokens each. Needed: demand / 0.85; spare: supply - demand / 0.70.
        pytest.param(fleet((27_000, 0), (27_000, 0)), 2, id="54,000 / 0.85 = 63,529 < 64,000: enough"),
        pytest.param(fleet((28_000, 0), (28_000, 0)), 3, id="56,000 / 0.85 = 65,882 > 64,000: one more"),
        pytest.param(fleet((28_000, 0), (28_000, 0), pending=1), 3, id="the one that starts counts"),
        pytest.param(fleet((11_000, 0), (11_000, 0)), 1, id="64,000 - 22,000 / 0.7 = 32,571: one fewer"),
        pytest.param(fleet((12_000, 0), (12_000, 0)), 2, id="64,000 - 24,000 / 0.7 = 29,714: none fewer"),
        pytest.param(fleet((0, 0)), 1, id="the last one stays"),
        pytest.param(fleet(), 0, id="nothing read, nothing changed"),
        pytest.param(
            fleet((20_000, 4), (20_000, 4), shape=(4000.0, 2000.0)),
            3,
            id="(40,000 + 8 x 4,000) / 0.85 over 20,480 each",
        ),
        pytest.param(fleet((20_000, 0), upstream=5, shape=(1000.0, 8000.0)), 3, id="45 k more wait upstream"),
    ],
)
def test_tokens_wanted_over_tokens_carried(state, desired):
    assert SaturationV2().desired(state, ENGINE) == desired


def test_what_a_replica_held_when_its_queue_was_full_is_what_it_carries():
    analyser = SaturationV2()
    before = analyser.desired(fleet((9_000, 0), (9_000, 0)), ENGINE)
    analyser.desired(fleet((10_000, 5), (10_000, 5)), ENGINE)
    assert (before, analyser.desired(fleet((9_000, 0), (9_000, 0)), ENGINE)) == (
        1,
        3,
    )  # 32,000 tokens each, then 10,000


@pytest.mark.parametrize(
    ("state", "desired"),
    [
        pytest.param(fleet((29_000, 0), (29_000, 0)), 3, id="0.8 - 0.725 = 0.075 spare: one more"),
        pytest.param(fleet((27_000, 0), (27_000, 0)), 2, id="0.125 spare, but not for one fewer"),
        pytest.param(fleet((4_000, 3), (4_000, 2)), 3, id="2.5 places in the queues: one more"),
        pytest.param(fleet((32_000, 0), (4_000, 0)), 2, id="the full one is not averaged, and one free one stays"),
        pytest.param(fleet((32_000, 0), (4_000, 6)), 3, id="all are full: one more"),
        pytest.param(fleet((29_000, 0), (29_000, 0), pending=1), 3, id="nothing while one starts"),
        pytest.param(fleet((9_000, 0), (9_000, 0)), 1, id="0.8 - 2 x 0.225 = 0.35 left: one fewer"),
        pytest.param(fleet((1_000, 0)), 1, id="the last one stays"),
    ],
)
def test_one_replica_at_a_time_by_what_is_spare(state, desired):
    assert SaturationV1().desired(state, ENGINE) == desired


peaks = st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 60)), min_size=1, max_size=20)


@given(peaks, st.integers(0, 5), st.integers(0, 100))
def test_a_replica_that_serves_is_always_left(each, pending, upstream):
    state = fleet(*each, pending=pending, upstream=upstream, shape=(1000.0, 200.0))
    assert SaturationV2().desired(state, ENGINE) >= 1
    assert SaturationV1().desired(state, ENGINE) >= 1


@given(peaks, st.integers(1, 30))
def test_more_waiting_upstream_never_wants_fewer(each, more):
    less = SaturationV2().desired(fleet(*each, shape=(1000.0, 200.0)), ENGINE)
    assert SaturationV2().desired(fleet(*each, upstream=more, shape=(1000.0, 200.0)), ENGINE) >= less


def test_an_hpa_follows_what_is_published_every_half_minute():
    policy = wva("wva", SaturationV2(), cluster_of(replica__kv_cache_tokens=40_000))
    full = tuple(load(n, kv_tokens=31_000) for n in range(4))
    targets = [
        policy.target(seen(at, 0, 4, replicas=full if at else tuple(load(n, kv_tokens=24_000) for n in range(4))), at)
        for at in (0.0, 15.0, 30.0)
    ]
    assert targets == [4, 4, 5]
