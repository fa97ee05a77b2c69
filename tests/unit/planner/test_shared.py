"""What a deployment brings to the division of a budget: what it wants, holds, may yet hold, and must not lose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.plan import Reason, Step
from controller.domain.reading import Unknown
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.snapshot import NOT_DEPLOYED, Snapshot
from controller.domain.state import DeploymentMemory
from controller.planner.budget import Bid, Resource
from controller.planner.shared import bid_of, resources_of
from controller.policy.model import Budget, DeploymentPolicy
from tests.planning import NOW, given, policy, seen
from tests.records import CHAT

RULES = policy(gpus_per_replica=2, weight=2, priority=3, limits={"max_step_down": 4})
KNOWN = DeploymentMemory(known_since=0.0, slo_debt=0.5)
WANTED = Step("limit", 5, Reason.DEMAND)
BOTH = Budget(gpus=10, spend_per_hour=100)
USUAL = seen(20, target=4, ready=3, starting=1, stopping=2)
BID = Bid(
    id=CHAT,
    wanted=5,
    target=4,
    alive=4,
    expected=4,
    leaving=2,
    assured=1,
    in_flight=3,
    cost=(2.0, 8.0),
    urgency=3.0,
    priority=3,
    max_step_down=4,
)


def bid(
    snapshot: Snapshot = USUAL,
    memory: DeploymentMemory = KNOWN,
    *,
    rules: DeploymentPolicy = RULES,
    budget: Budget = BOTH,
    wanted: Step | None = WANTED,
    price: float | None = 4.0,
) -> Bid:
    capacity = given(snapshot, rules).capacity
    return bid_of(rules, snapshot, capacity, memory, budget, wanted=wanted, gpu_price=price)


def test_a_bid_is_what_is_wanted_and_what_is_held() -> None:
    assert bid() == BID
    assert (BID.running, BID.reserved) == (4, 6)
    assert (replace(BID, alive=1).running, replace(BID, expected=7).reserved) == (4, 9)


@pytest.mark.parametrize(
    ("given_bid", "changes"),
    [
        pytest.param(bid(memory=replace(KNOWN, known_since=None)), {"assured": 4}, id="unknown-demand-keeps-all"),
        pytest.param(bid(rules=RULES.model_copy(update={"paused": True})), {"assured": 4}, id="paused-keeps-all"),
        pytest.param(
            bid(rules=RULES.model_copy(update={"limits": RULES.limits.model_copy(update={"min_replicas": 0})})),
            {"assured": 0},
            id="where-none-is-the-least-none-is-assured",
        ),
        pytest.param(bid(replace(USUAL, demand={}, idle=False)), {"in_flight": 4}, id="what-is-in-flight-is-unknown"),
        pytest.param(bid(seen(99, target=4, ready=3, starting=1, stopping=2)), {"in_flight": 4}, id="more-than-fit"),
        pytest.param(bid(replace(USUAL, replicas=None)), {"alive": 0, "leaving": 0}, id="counts-unknown"),
        pytest.param(bid(memory=replace(KNOWN, attempted=6)), {"expected": 6}, id="asked-for-without-an-answer"),
        pytest.param(bid(memory=replace(KNOWN, last_set=7)), {}, id="set-and-read-since"),
        pytest.param(
            bid(memory=replace(KNOWN, last_set=7, last_set_seen_at=USUAL.at)),
            {"expected": 7},
            id="set-and-not-read-since",
        ),
        pytest.param(bid(budget=Budget(gpus=10)), {"cost": (2.0,)}, id="gpus-only"),
        pytest.param(bid(budget=Budget(spend_per_hour=100)), {"cost": (8.0,)}, id="money-only"),
        pytest.param(bid(price=None), {"cost": (2.0, 0.0)}, id="without-a-price"),
    ],
)
def test_what_makes_a_bid_another(given_bid: Bid, changes: dict[str, Any]) -> None:
    assert given_bid == replace(BID, **changes)


LOST = replace(USUAL, target_replicas=None, replicas=None)


@pytest.mark.parametrize(
    ("snapshot", "memory", "wanted", "expected"),
    [
        pytest.param(LOST, KNOWN, 0, 10, id="never-set-it-may-hold-the-most"),
        pytest.param(LOST, replace(KNOWN, last_set=2), 2, 2, id="what-was-set-last"),
        pytest.param(LOST, replace(KNOWN, last_set=2, attempted=3), 2, 3, id="what-was-asked-for"),
        pytest.param(replace(LOST, status=NOT_DEPLOYED), replace(KNOWN, last_set=2), 2, 0, id="not-deployed"),
    ],
)
def test_without_an_opinion_it_only_holds(
    snapshot: Snapshot, memory: DeploymentMemory, wanted: int, expected: int
) -> None:
    assert bid(snapshot, memory, wanted=None) == replace(
        BID, wanted=wanted, target=0, alive=0, expected=expected, leaving=0, assured=1, in_flight=0, fixed=True
    )


def test_a_reading_of_before_the_write_says_so_by_its_time() -> None:
    serve = SourceHealth(source="serve", kind=SourceKind.SERVE, age_s=7.0, stale=False)
    observed = replace(USUAL, sources=(serve,))

    unread = bid(observed, replace(KNOWN, last_set=7, last_set_seen_at=NOW - 7.0))
    read = bid(observed, replace(KNOWN, last_set=7, last_set_seen_at=NOW - 8.0))

    assert (unread.expected, read.expected) == (7, 4)


def test_only_limits_that_are_set_divide() -> None:
    assert resources_of(BOTH) == (Resource("GPUs", 10.0), Resource("an hour", 100.0))
    assert resources_of(Budget(gpus=10)) == (Resource("GPUs", 10.0),)
    assert resources_of(Budget(spend_per_hour=100)) == (Resource("an hour", 100.0),)


def test_unknown_demand_is_no_demand_in_flight() -> None:
    blind = seen(Unknown("stale"), target=4, ready=3, starting=1, stopping=2)

    assert bid(blind, replace(KNOWN, known_since=None)) == replace(BID, assured=4, in_flight=4)
