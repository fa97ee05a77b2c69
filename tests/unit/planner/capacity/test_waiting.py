import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.planner.capacity.waiting import share_too_late, utilisation_for

seats = st.floats(1.0, 1000.0)
shares = st.floats(1e-4, 0.5)
waits = st.floats(0.0, 10.0)


def simulated_share(*, servers: int, requests_per_s: float, wait_s: float, utilisation: float) -> float:
    """Share that waits longer in a queue with Poisson arrivals and exponential service, by plain simulation."""
    rng = np.random.default_rng(5)
    count = 60_000
    arrivals = np.cumsum(rng.exponential(1.0 / (utilisation * requests_per_s), count))
    service = rng.exponential(servers / requests_per_s, count)
    free = np.zeros(servers)
    late = 0
    for at, time in zip(arrivals, service, strict=True):
        server = int(free.argmin())
        begin = max(at, free[server])
        free[server] = begin + time
        late += begin - at > wait_s
    return late / count


@pytest.mark.parametrize("utilisation", [0.5, 0.65, 0.8])
@pytest.mark.parametrize("wait_s", [0.0, 0.5, 1.5])
def test_is_near_a_simulated_queue_and_rather_too_careful(utilisation, wait_s):
    given_queue = {"requests_per_s": 6.0, "wait_s": wait_s}

    predicted = share_too_late(utilisation, seats=8.0, **given_queue)

    real = simulated_share(servers=8, utilisation=utilisation, **given_queue)
    assert 0.9 * real - 0.005 <= predicted <= 1.7 * real + 0.005


@given(shares, seats, st.floats(0.1, 1000.0), waits)
def test_the_utilisation_found_keeps_the_share_and_a_little_more_would_not(share, count, rate, wait_s):
    queue = {"seats": count, "requests_per_s": rate, "wait_s": wait_s}

    found = utilisation_for(share, **queue)

    assert 0.0 <= found < 1.0
    assert found == 0.0 or share_too_late(found, **queue) <= share
    assert share_too_late(found + 1e-6, **queue) >= share


def test_full_load_and_beyond_makes_everybody_wait():
    assert share_too_late(1.0, seats=8.0, requests_per_s=6.0, wait_s=1.0) == 1.0
    assert share_too_late(1.3, seats=8.0, requests_per_s=6.0, wait_s=1.0) == 1.0
