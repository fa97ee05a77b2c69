"""What waits beyond what arrivals explain is not ordered for."""

from __future__ import annotations

from dataclasses import replace

import hypothesis as h
import hypothesis.strategies as st
import pytest

from controller.domain.capacity import CapacityMemory, MixEstimate
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.planner.backlog import backlog, with_run_time
from tests.planning import seen

PROMPT = 1000.0
MIX = MixEstimate(at=0.0, prompt_tokens=100 * PROMPT, generation_tokens=20_000.0, first_tokens=100.0)
KNOWN_MIX = DeploymentMemory(capacity=CapacityMemory(mix=MIX))
STALE = Unknown("stale")


def looks(in_flight: float, waiting: float, *, arrivals: float = 20.0, admitted: float = 2.5) -> Snapshot:
    """So many in flight, ``waiting`` of them not running; rates are a second."""
    demand: dict[Signal, Reading] = {
        Signal.ONGOING_REQUESTS: Known(in_flight),
        Signal.REQUESTS: Known(arrivals),
        Signal.PREFILL_TOKENS: Known(admitted * PROMPT),
    }
    return seen(demand, queued_requests=Known(waiting))


def without(snapshot: Snapshot, signal: Signal) -> Snapshot:
    return replace(snapshot, demand={**snapshot.demand, signal: STALE})


@pytest.mark.parametrize(
    ("snapshot", "before", "run_s"),
    [
        pytest.param(looks(100, 75), None, 10.0, id="25-run-and-2.5-are-admitted-a-second"),
        pytest.param(looks(100, 75), 20.0, 10.0, id="the-least"),
        pytest.param(looks(100, 75, admitted=0.1), 10.0, 10.0, id="an-engine-that-is-stuck-teaches-nothing"),
        pytest.param(looks(100, 75, admitted=0.0), None, None, id="nothing-is-admitted"),
        pytest.param(looks(75, 75), None, None, id="nothing-runs"),
        pytest.param(looks(25, 0), 10.0, None, id="nothing-waits-any-more"),
        pytest.param(replace(looks(100, 75), queued_requests=STALE), 10.0, 10.0, id="queue-unknown"),
        pytest.param(without(looks(100, 75), Signal.PREFILL_TOKENS), 10.0, 10.0, id="tokens-unknown"),
        pytest.param(without(looks(100, 75), Signal.ONGOING_REQUESTS), 10.0, 10.0, id="in-flight-unknown"),
    ],
)
def test_how_long_an_admitted_request_runs(snapshot: Snapshot, before: float | None, run_s: float | None) -> None:
    assert with_run_time(replace(KNOWN_MIX, run_s=before), snapshot).run_s == run_s


@pytest.mark.parametrize("capacity", [None, CapacityMemory(), CapacityMemory(mix=replace(MIX, first_tokens=3.0))])
def test_without_the_sizes_of_requests_nothing_is_known(capacity: CapacityMemory | None) -> None:
    assert with_run_time(DeploymentMemory(capacity=capacity), looks(100, 75)).run_s is None


@pytest.mark.parametrize(
    ("snapshot", "run_s", "expected"),
    [
        pytest.param(looks(300, 275), 10.0, 100.0, id="200-would-be-in-flight-were-all-admitted"),
        pytest.param(looks(150, 125), 10.0, 0.0, id="fewer-than-arrivals-explain"),
        pytest.param(looks(300, 275, arrivals=2.5), 10.0, 275.0, id="what-runs-always-counts"),
        pytest.param(looks(300, 275, arrivals=0.0), 10.0, 275.0, id="no-arrivals"),
        pytest.param(looks(300, 275), None, 0.0, id="run-time-unknown"),
        pytest.param(without(looks(300, 275), Signal.REQUESTS), 10.0, 0.0, id="arrivals-unknown"),
        pytest.param(replace(looks(300, 275), queued_requests=STALE), 10.0, 0.0, id="queue-unknown"),
    ],
)
def test_what_only_waits(snapshot: Snapshot, run_s: float | None, expected: float) -> None:
    assert backlog(snapshot, DeploymentMemory(run_s=run_s)) == pytest.approx(expected)


@h.given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 500), st.floats(0, 500), st.floats(0.1, 100))
def test_it_is_never_more_than_waits_and_more_arrivals_never_make_it_more(
    running: float, waiting: float, arrivals: float, more: float, run_s: float
) -> None:
    memory = DeploymentMemory(run_s=run_s)

    found = backlog(looks(running + waiting, waiting, arrivals=arrivals), memory)
    busier = backlog(looks(running + waiting, waiting, arrivals=arrivals + more), memory)

    assert 0.0 <= busier <= found <= waiting
