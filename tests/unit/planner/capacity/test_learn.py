"""Learning tick by tick, as the loop does it."""

from dataclasses import replace

import numpy as np
import pytest

from controller.codec import dump_state, load_state
from controller.domain.capacity import CapacityMemory
from controller.domain.engine import ServiceOutcomes
from controller.domain.identity import DeploymentId
from controller.domain.plan import CapacitySource
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.capacity import Experience, capacity, full_load_of, learn
from controller.planner.capacity.iteration import iteration_time
from controller.policy.model import DeploymentPolicy
from tests.synthetic_engine import RTX_4090, SyntheticEngine

MEASURED = {
    "base_s": RTX_4090.base_s,
    "per_sequence_s": RTX_4090.per_sequence_s,
    "per_context_token_s": RTX_4090.per_context_token_s,
    "per_prefill_token_s": RTX_4090.per_prefill_token_s,
}


def policy(**prior: object) -> DeploymentPolicy:
    return DeploymentPolicy.model_validate(
        {
            "application": "chat",
            "deployment": "llama",
            "limits": {"max_replicas": 10},
            "capacity": {"learn": True, "target_ongoing_requests": 12, "kv_cache_tokens": 41_900, **prior},
        }
    )


def experience(interval, *, digest="d", **changes) -> Experience:
    told = Experience(at=interval.until, digest=digest, intervals=[interval], outcomes=None, work=Unknown("-"), ready=1)
    return replace(told, **changes)


def taught(engine: SyntheticEngine, intervals: int, rules: DeploymentPolicy, memory=None) -> CapacityMemory:
    rng = np.random.default_rng(3)
    for number in range(intervals):
        if number % 10 == 0:
            engine.rate = rng.uniform(0.8, 2.6)
        memory = learn(memory, experience(engine.interval(30.0)), rules)
    assert memory is not None
    return memory


@pytest.fixture(scope="module")
def chat() -> CapacityMemory:
    return taught(SyntheticEngine(RTX_4090, 1155, 211, 2.0, noise=0.02), 120, policy())


def test_capacity_is_learned_from_nothing_to_within_a_tenth(chat):
    learned = full_load_of(policy(), chat)
    true = full_load_of(policy(iteration=MEASURED), CapacityMemory(mix=chat.mix))

    assert not isinstance(learned, str)
    assert not isinstance(true, str)
    assert learned.requests_per_s == pytest.approx(true.requests_per_s, rel=0.1)
    assert learned.bound == true.bound == "KV cache"


def test_what_was_learned_is_explained(chat):
    carried = capacity(policy(), chat, work=3.0)

    assert carried.source is CapacitySource.LEARNED
    assert 0.5 < carried.per_replica[Signal.WORK] < 0.95
    assert "bound by KV cache" in carried.detail
    assert "too little spread to learn per sequence, per context token: kept from the prior" in carried.detail
    assert "is safe with" in carried.detail


def test_until_enough_was_seen_the_policys_figures_are_used_and_the_reason_said():
    young = taught(SyntheticEngine(RTX_4090, 1155, 211, 2.0), 4, policy())

    carried = capacity(policy(), young)

    assert carried.source is CapacitySource.POLICY
    assert carried.per_replica == {Signal.ONGOING_REQUESTS: 12}
    assert "of 10 intervals" in carried.detail


def test_a_measured_prior_is_used_as_soon_as_the_mix_is_known():
    young = taught(SyntheticEngine(RTX_4090, 1155, 211, 2.0), 2, policy(iteration=MEASURED))

    assert capacity(policy(iteration=MEASURED), young).source is CapacitySource.LEARNED


def test_a_model_learned_from_small_batches_is_not_believed_for_large_ones():
    """On a real engine with eight seats and a lenient objective, batches of 6 once foretold batches of 179."""
    lenient = {"kv_cache_tokens": None}
    few = None
    engine = SyntheticEngine(RTX_4090, 1155, 211, 0.9, noise=0.02)
    for _ in range(30):
        few = learn(few, experience(replace(engine.interval(30.0), kv_usage=None)), policy(**lenient))

    (estimate,) = few.estimates
    bounded = full_load_of(policy(**lenient), few)
    assert bounded.bound == "what was seen so far"
    assert bounded.concurrency == pytest.approx(3.0 * estimate.most_sequences)
    measured = full_load_of(policy(**lenient, iteration=MEASURED), few)
    assert measured.concurrency > bounded.concurrency


def test_learning_can_be_switched_off(chat):
    carried = capacity(policy(learn=False), chat)

    assert carried.source is CapacitySource.POLICY
    assert "switched off by the policy" in carried.detail


def test_another_configuration_starts_afresh_and_coming_back_goes_on(chat):
    engine = SyntheticEngine(RTX_4090, 1155, 211, 2.0, seed=9, now=1e6)
    interval = engine.interval(30.0)

    other = learn(chat, experience(interval, digest="other"), policy())
    back = learn(other, experience(engine.interval(30.0)), policy())

    assert "of 10 intervals" in capacity(policy(), other).detail
    assert capacity(policy(), back).source is CapacitySource.LEARNED


def test_overlapping_windows_are_taken_in_once(chat):
    engine = SyntheticEngine(RTX_4090, 1155, 211, 2.0, seed=9, now=1e6)
    interval = engine.interval(30.0)
    once = learn(chat, experience(interval), policy())

    again = learn(once, experience(replace(interval, until=interval.until + 10.0)), policy())

    assert again == once


def test_replicas_are_pooled():
    memory = None
    engines = [SyntheticEngine(RTX_4090, 1155, 211, 2.0, seed=seed, name=f"r{seed}") for seed in range(4)]
    for _ in range(4):
        intervals = [engine.interval(30.0) for engine in engines]
        told = replace(experience(intervals[0]), intervals=intervals, ready=4)
        memory = learn(memory, told, policy())

    assert memory is not None
    assert memory.estimates[0].intervals == 16


def test_the_slowest_of_several_accelerators_counts(chat):
    fast = chat.estimates[0]
    slow = replace(fast, key="m/slow/d", mean=tuple(1.5 * value for value in fast.mean))
    mixed = replace(chat, estimates=(fast, slow), active=(fast.key, slow.key))

    one, both = full_load_of(policy(), chat), full_load_of(policy(), mixed)

    assert not isinstance(one, str)
    assert not isinstance(both, str)
    assert both.requests_per_s < one.requests_per_s


def test_late_requests_lower_what_is_planned(chat):
    late = ServiceOutcomes(seconds=30.0, first_tokens=100.0, late=5.0)
    engine = SyntheticEngine(RTX_4090, 1155, 211, 2.0, seed=9, now=1e6)
    memory = chat
    for _ in range(6):
        told = experience(engine.interval(30.0), outcomes=late, work=Known(0.6))
        memory = learn(memory, told, policy())

    before, after = (capacity(policy(), one).per_replica[Signal.WORK] for one in (chat, memory))
    assert after < before - 0.02


def test_how_users_fared_is_counted_once_even_before_capacity_is_known():
    rules, engine = policy(), SyntheticEngine(RTX_4090, 1155, 211, 2.0)
    told = experience(engine.interval(30.0), outcomes=ServiceOutcomes(seconds=30, first_tokens=60, late=6))

    first = learn(None, told, rules)
    again = learn(first, replace(told, at=told.at + 5), rules)
    later = learn(again, replace(told, at=told.at + 30), rules)

    assert first.record is not None
    assert (first.record.requests, first.record.missed) == pytest.approx((60, 6))
    assert again.record == first.record
    assert later.record is not None
    assert later.record.requests == pytest.approx(120, rel=0.01)


def test_what_was_learned_survives_a_checkpoint(chat):
    of = DeploymentId("chat", "llama")
    state = PlannerState(deployments=((of, DeploymentMemory(capacity=chat)),))

    restored = load_state(dump_state(state)).memory(of).capacity

    assert restored == chat
    assert capacity(policy(), restored) == capacity(policy(), chat)


def test_state_of_another_version_is_dropped(chat):
    engine = SyntheticEngine(RTX_4090, 1155, 211, 2.0)

    memory = learn(replace(chat, version=999), experience(engine.interval(30.0)), policy())

    assert memory.estimates[0].intervals <= 1


def test_iteration_time_is_close_at_the_loads_that_were_seen(chat):
    found = iteration_time(chat.estimates[0])
    usual = {"sequences": 10, "context_tokens": 13_000, "prefill_tokens": 60}

    assert found.seconds(**usual) == pytest.approx(RTX_4090.seconds(**usual), rel=0.03)
