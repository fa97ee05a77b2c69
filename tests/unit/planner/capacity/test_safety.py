from dataclasses import replace

import numpy as np
import pytest

from controller.domain.capacity import SafetyEvidence
from controller.domain.engine import ServiceOutcomes
from controller.planner.capacity.safety import (
    HIGHEST,
    LATE_TARGET,
    LOWEST,
    evidence_for,
    judged,
    replicas_for,
    safe_utilisation,
)
from controller.planner.capacity.sustainable import full_load
from tests.synthetic_engine import RTX_4090
from tests.unit.planner.capacity.test_sustainable import CHAT, ENGINE
from tests.unit.planner.capacity.test_work import FULL

PRIOR = evidence_for((), 1)


def outcomes(share_late: float, *, requests: float = 300.0) -> ServiceOutcomes:
    return ServiceOutcomes(seconds=30.0, first_tokens=requests, late=share_late * requests)


def after(intervals: int, share_late: float, *, start: SafetyEvidence = PRIOR, utilisation=None, replicas=4):
    evidence = start
    for _ in range(intervals):
        level = safe_utilisation(evidence, FULL, replicas) if utilisation is None else utilisation
        evidence = judged(evidence, FULL, outcomes(share_late), utilisation=level, replicas=replicas, since_s=30.0)
    return evidence


def safe(evidence: SafetyEvidence, replicas: int = 4) -> float:
    return safe_utilisation(evidence, FULL, replicas)


def test_more_replicas_may_be_fuller():
    levels = [safe(PRIOR, replicas) for replicas in (1, 2, 4, 8, 16, 48)]

    assert levels == sorted(levels)
    assert levels[0] < 0.75 < levels[-1]


def test_seats_that_the_engine_limits_fluctuate_less_than_a_cache_shared_by_contexts():
    limits = replace(ENGINE, max_num_seqs=20, kv_cache_tokens=None)
    seated = full_load(RTX_4090, replace(CHAT, kv_share=None), limits, ttft_s=2.0, tpot_s=0.1)

    assert seated.bound == "max_num_seqs"
    assert LOWEST < safe_utilisation(PRIOR, seated, 1) < safe_utilisation(PRIOR, seated, 4) < HIGHEST
    assert safe_utilisation(PRIOR, seated, 1) > safe_utilisation(PRIOR, replace(seated, bound="KV cache"), 1)


def test_late_requests_below_the_planned_load_lower_it_quickly():
    hit = after(3, 0.05)

    assert safe(hit) < safe(PRIOR) - 0.02


def test_punctual_requests_raise_it_slowly():
    minutes, hours = after(4, 0.0), after(480, 0.0)

    assert safe(PRIOR) < safe(minutes) < safe(PRIOR) + 0.02
    assert safe(hours) > safe(minutes) + 0.02


def test_lateness_that_the_load_explains_teaches_nothing():
    overloaded = after(20, 0.6, utilisation=1.4)

    assert safe(overloaded) == pytest.approx(safe(PRIOR), abs=1e-6)


def test_idle_hours_teach_nothing():
    assert safe(after(240, 0.0, utilisation=0.1)) == pytest.approx(safe(PRIOR), abs=0.01)


def test_whatever_happens_it_stays_within_its_bounds():
    assert safe(after(400, 0.9, utilisation=0.5)) >= LOWEST
    assert safe(after(4000, 0.0, utilisation=0.9), replicas=48) <= HIGHEST


def test_it_settles_where_the_share_late_is_the_target():
    """Users whose lateness follows another law than the prior's: five times as many late at every load."""
    rng = np.random.default_rng(0)
    evidence, levels = PRIOR, []

    def true_share(level: float) -> float:
        return min(1.0, 5 * LATE_TARGET * float(np.exp(30.0 * (level - safe(PRIOR)))))

    for _ in range(2000):
        level = safe(evidence)
        late = rng.poisson(300 * true_share(level)) / 300
        evidence = judged(evidence, FULL, outcomes(late), utilisation=level, replicas=4, since_s=30.0)
        levels.append(level)

    settled = float(np.mean([true_share(level) for level in levels[-500:]]))
    assert LATE_TARGET / 3 < settled < LATE_TARGET * 1.5


@pytest.mark.parametrize("work", [0.0, 0.1, 0.7, 1.0, 3.3, 20.0, 47.0])
def test_the_fewest_replicas_that_carry_the_work_are_found(work):
    replicas = replicas_for(work, PRIOR, FULL)

    assert replicas * safe(PRIOR, replicas) >= work - 1e-6
    assert replicas == 1 or (replicas - 1) * safe(PRIOR, replicas - 1) < work
