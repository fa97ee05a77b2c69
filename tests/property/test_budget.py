"""Laws of the budget that all deployments share."""

import random
from dataclasses import replace

from hypothesis import assume, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from controller.domain.identity import DeploymentId
from controller.domain.plan import Reason
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import ReplicaCounts
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.budget import Bid, Resource, allocate, spared
from controller.planner.decide import PlanInput, decide
from controller.policy.model import Budget
from tests.planning import NOW, applied, given, policy, seen

MOST = 12
NAMES = tuple(DeploymentId("app", letter) for letter in "abcdef")
small = st.integers(0, MOST)


@st.composite
def bids(draw: st.DrawFn, name: DeploymentId, *, settled: bool = False) -> Bid:
    target = draw(small)
    gpus = draw(st.sampled_from([0, 1, 1, 2, 4]))
    return Bid(
        id=name,
        wanted=draw(small),
        target=target,
        alive=target if settled else draw(small),
        expected=target if settled else max(target, draw(small)),
        leaving=0 if settled else draw(st.integers(0, 2)),
        assured=draw(st.integers(0, 3)),
        in_flight=draw(st.integers(0, target)),
        cost=(float(gpus), gpus * draw(st.sampled_from([0.9, 2.5]))),
        urgency=draw(st.sampled_from([0.5, 1.0, 1.3, 2.0])),
        priority=draw(st.sampled_from([0, 0, 0, 1])),
        max_step_down=draw(st.integers(1, MOST)),
        fixed=not settled and draw(st.integers(0, 9)) == 0,
    )


@st.composite
def markets(draw: st.DrawFn, *, settled: bool = False) -> tuple[list[Bid], list[Resource]]:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    limits = [Resource("GPUs", draw(st.integers(1, 60))), Resource("an hour", draw(st.floats(1, 120)))]
    return [draw(bids(name, settled=settled)) for name in names], limits


def held(bid: Bid, target: int) -> int:
    return max(bid.running, target) + bid.leaving


@settings(max_examples=250)
@for_all(markets())
def test_what_is_held_never_grows_beyond_a_limit(market: tuple[list[Bid], list[Resource]]) -> None:
    found, limits = market
    grants = allocate(found, limits)

    for index, resource in enumerate(limits):
        before = sum(bid.cost[index] * held(bid, bid.target) for bid in found)
        after = sum(
            bid.cost[index] * held(bid, grants[bid.id].replicas if bid.id in grants else bid.target) for bid in found
        )
        assert after <= max(resource.limit, before) + 1e-6


@settings(max_examples=250)
@for_all(markets())
def test_what_all_are_entitled_to_fits(market: tuple[list[Bid], list[Resource]]) -> None:
    found, limits = market
    grants = allocate(found, limits)

    for index, resource in enumerate(limits):
        fixed = sum(bid.cost[index] * bid.wanted for bid in found if bid.fixed)
        entitled = sum(bid.cost[index] * grants[bid.id].entitled for bid in found if bid.id in grants)
        assert entitled == 0 or fixed + entitled <= resource.limit + 1e-6


@for_all(markets())
def test_nobody_gets_more_than_is_wanted_nor_falls_faster_than_allowed(
    market: tuple[list[Bid], list[Resource]],
) -> None:
    found, limits = market
    for bid in found:
        if not bid.fixed:
            grant = allocate(found, limits)[bid.id]
            assert bid.target - bid.max_step_down <= grant.replicas <= max(bid.wanted, bid.target - bid.max_step_down)
            assert grant.replicas >= 0


@settings(max_examples=150)
@for_all(markets(), st.randoms())
def test_the_order_of_bids_does_not_matter(market: tuple[list[Bid], list[Resource]], chance: random.Random) -> None:
    found, limits = market

    assert allocate(chance.sample(found, len(found)), limits) == allocate(found, limits)


@settings(max_examples=250)
@for_all(markets(), st.integers(1, MOST))
def test_wanting_more_never_gets_less(market: tuple[list[Bid], list[Resource]], more: int) -> None:
    found, limits = market
    assume(not found[0].fixed)
    greedier = [replace(found[0], wanted=found[0].wanted + more), *found[1:]]
    before, after = (allocate(some, limits)[found[0].id] for some in (found, greedier))

    assert after.entitled >= before.entitled
    assert after.replicas >= before.replicas


@settings(max_examples=250)
@for_all(markets(settled=True), st.integers(1, MOST))
def test_an_equal_that_wants_more_takes_nothing_that_is_in_flight(
    market: tuple[list[Bid], list[Resource]], more: int
) -> None:
    found, limits = market
    found = [replace(bid, priority=0) for bid in found]
    for index, resource in enumerate(limits):
        assume(sum(bid.cost[index] * max(bid.assured, bid.in_flight) for bid in found) <= resource.limit)
    greedier = [replace(found[0], wanted=found[0].wanted + more), *found[1:]]
    grants = allocate(greedier, limits)

    for bid in found[1:]:
        assert grants[bid.id].entitled >= min(bid.wanted, max(bid.assured, bid.in_flight))


@settings(max_examples=100)
@for_all(markets(settled=True))
def test_grants_that_were_followed_come_to_rest(market: tuple[list[Bid], list[Resource]]) -> None:
    found, limits = market
    for _ in range(4 * MOST):
        grants = allocate(found, limits)
        moved = [
            replace(bid, in_flight=0, **dict.fromkeys(("target", "alive", "expected"), grants[bid.id].replicas))
            for bid in found
        ]
        if moved == found:
            break
        found = moved

    assert [grants[bid.id].replicas for bid in found] == [bid.target for bid in found]
    assert all(grants[bid.id].entitled == bid.target for bid in found)


# The whole plan


@st.composite
def fleets(draw: st.DrawFn, demand: st.SearchStrategy[Reading] | None = None) -> tuple[list[PlanInput], PlannerState]:
    """Several deployments with known targets, in any state."""
    readings = demand or st.one_of(st.floats(0, 150).map(Known), st.just(Unknown("stale")))
    inputs, memories = [], []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        least = draw(st.integers(0, 2))
        target = draw(st.integers(least, MOST))
        rules = policy(
            name,
            limits={"min_replicas": least, "max_replicas": MOST, "max_step_down": draw(st.integers(1, MOST))},
            stabilisation={"upscale_delay_s": 0, "downscale_delay_s": 0, "max_drain_wait_s": 0},
            gpus_per_replica=draw(st.sampled_from([0, 1, 1, 2, 4])),
            priority=draw(st.sampled_from([0, 0, 1])),
            weight=draw(st.sampled_from([0.5, 1.0, 3.0])),
            paused=draw(st.integers(0, 9)) == 0,
        )
        observed = seen(
            {Signal.ONGOING_REQUESTS: draw(readings)},
            target=target,
            deployment=name,
            replicas=ReplicaCounts(ready=draw(st.integers(0, MOST)), starting=0, stopping=draw(st.integers(0, 1))),
        )
        inputs.append(given(observed, rules))
        memory = DeploymentMemory(
            known_since=0.0, slo_debt=draw(st.floats(0, 1)), attempted=draw(st.none() | st.integers(0, MOST))
        )
        memories.append((name, memory))
    return inputs, PlannerState(deployments=tuple(memories))


def gpus(one: PlanInput, target: int) -> int:
    counts, found = one.snapshot.replicas, one.snapshot.target_replicas
    assert counts is not None
    assert found is not None
    return one.policy.gpus * (max(target, found, counts.ready + counts.starting) + counts.stopping)


@settings(max_examples=250)
@for_all(fleets(), st.integers(1, 80))
def test_a_plan_never_holds_more_than_the_budget(fleet: tuple[list[PlanInput], PlannerState], limit: int) -> None:
    inputs, state = fleet
    plan, _ = decide(inputs, state, now=NOW, budget=Budget(gpus=limit))
    desired = {decision.id: decision.desired for decision in plan.decisions}

    before = sum(gpus(one, one.snapshot.target_replicas or 0) for one in inputs)
    after = sum(gpus(one, desired[one.snapshot.id] or 0) for one in inputs)

    assert after <= max(limit, before)


@settings(max_examples=150)
@for_all(fleets(), st.integers(1, 80), st.randoms())
def test_a_plan_does_not_depend_on_the_order_of_deployments(
    fleet: tuple[list[PlanInput], PlannerState], limit: int, chance: random.Random
) -> None:
    inputs, state = fleet
    budget = Budget(gpus=limit)
    plan, after = decide(inputs, state, now=NOW, budget=budget)
    other, other_after = decide(chance.sample(inputs, len(inputs)), state, now=NOW, budget=budget)

    assert sorted(plan.decisions, key=lambda one: one.id) == sorted(other.decisions, key=lambda one: one.id)
    assert after == other_after


@settings(max_examples=150)
@for_all(fleets(), st.integers(1, 80))
def test_the_budget_only_takes_away_and_says_so(fleet: tuple[list[PlanInput], PlannerState], limit: int) -> None:
    inputs, state = fleet
    free, _ = decide(inputs, state, now=NOW)
    bound, _ = decide(inputs, state, now=NOW, budget=Budget(gpus=limit))

    for alone, shared in zip(free.decisions, bound.decisions, strict=True):
        assert (alone.desired or 0) >= (shared.desired or 0)
        assert (shared.binding is Reason.BUDGET) == (alone.desired != shared.desired)


@settings(max_examples=150)
@for_all(fleets(st.floats(0, 150).map(Known)), st.integers(1, 80), st.floats(0, 100))
def test_more_demand_never_means_fewer_replicas_of_a_shared_budget(
    fleet: tuple[list[PlanInput], PlannerState], limit: int, more: float
) -> None:
    inputs, state = fleet
    first = inputs[0]
    reading = first.snapshot.demand[Signal.ONGOING_REQUESTS]
    assert isinstance(reading, Known)
    more_demand = {Signal.ONGOING_REQUESTS: Known(reading.value + more)}
    busier = replace(first, snapshot=replace(first.snapshot, demand=more_demand, idle=reading.value + more == 0))

    before, after = (
        decide(some, state, now=NOW, budget=Budget(gpus=limit))[0].decisions[0].desired
        for some in (inputs, [busier, *inputs[1:]])
    )

    assert (after or 0) >= (before or 0)


@settings(max_examples=150)
@for_all(fleets())
def test_unknown_demand_keeps_its_replicas_although_others_want_more(
    fleet: tuple[list[PlanInput], PlannerState],
) -> None:
    inputs, state = fleet
    limit = sum(gpus(one, one.snapshot.target_replicas or 0) for one in inputs)
    plan, _ = decide(inputs, state, now=NOW, budget=Budget(gpus=max(1, limit)))

    for one, decision in zip(inputs, plan.decisions, strict=True):
        if isinstance(one.snapshot.reading(Signal.ONGOING_REQUESTS), Unknown):
            assert (decision.desired or 0) >= (one.snapshot.target_replicas or 0)


@settings(max_examples=50)
@for_all(fleets(st.floats(0, 150).map(Known)), st.integers(1, 80))
def test_a_shared_plan_that_was_applied_is_not_made_again(
    fleet: tuple[list[PlanInput], PlannerState], limit: int
) -> None:
    inputs, state = fleet
    inputs = [replace(one, policy=one.policy.model_copy(update={"paused": False})) for one in inputs]
    budget = Budget(gpus=limit)
    rounds = 0
    while (rounds := rounds + 1) <= 3 * MOST:
        plan, planned = decide(inputs, state, now=NOW, budget=budget)
        state = applied(plan, planned, [one.snapshot for one in inputs])
        before = inputs
        inputs = [
            replace(
                one,
                snapshot=replace(
                    one.snapshot,
                    target_replicas=decision.desired,
                    replicas=ReplicaCounts(ready=decision.desired or 0, starting=0, stopping=0),
                ),
            )
            for one, decision in zip(inputs, plan.decisions, strict=True)
        ]
        if inputs == before:
            break
    assert rounds <= 3 * MOST


@settings(max_examples=250)
@for_all(markets(), st.dictionaries(st.sampled_from(NAMES), small))
def test_what_starts_early_takes_nothing_that_is_held_or_wanted(
    market: tuple[list[Bid], list[Resource]], towards: dict[DeploymentId, int]
) -> None:
    found, limits = market
    early = spared(found, towards, limits)

    for bid in found:
        assert bid.wanted < early.get(bid.id, bid.wanted + 1) <= max(towards.get(bid.id, 0), bid.wanted + 1)
    for index, resource in enumerate(limits):
        takers = [bid for bid in found if bid.id in early and bid.cost[index] > 0]
        taken = sum(
            bid.cost[index] * max(bid.reserved, max(bid.wanted, early.get(bid.id, 0)) + bid.leaving) for bid in found
        )
        assert not takers or taken <= resource.limit + 1e-6


@settings(max_examples=150)
@for_all(markets(), st.dictionaries(st.sampled_from(NAMES), small), st.randoms())
def test_the_order_of_bids_does_not_matter_to_what_starts_early(
    market: tuple[list[Bid], list[Resource]], towards: dict[DeploymentId, int], chance: random.Random
) -> None:
    found, limits = market

    assert spared(chance.sample(found, len(found)), towards, limits) == spared(found, towards, limits)
