"""From what each deployment wants to what the budget of all of them allows, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.domain.identity import DeploymentId
from controller.domain.plan import BudgetUse, Capacity, Reason, Step
from controller.domain.snapshot import NOT_DEPLOYED, Snapshot
from controller.domain.state import DeploymentMemory
from controller.planner.budget import Bid, Grant, Resource, allocate
from controller.planner.drain import in_flight_need
from controller.planner.ownership import predates_our_write
from controller.policy.model import Budget, DeploymentPolicy


def resources_of(budget: Budget) -> tuple[Resource, ...]:
    """Return the limits that the budget sets."""
    limits = (("GPUs", budget.gpus), ("an hour", budget.spend_per_hour))
    return tuple(Resource(name, float(limit)) for name, limit in limits if limit is not None)


def bid_of(
    policy: DeploymentPolicy,
    snapshot: Snapshot,
    capacity: Capacity,
    memory: DeploymentMemory,
    budget: Budget,
    *,
    wanted: Step | None,
    gpu_price: float | None = None,
) -> Bid:
    """Return a deployment's part in the division of the budget; without an opinion (``wanted``) it only holds.

    ``memory`` is that after the other stages: while demand is unknown, all that is held is assured. A target that
    was asked for and may still take effect is held, too.
    """
    target = snapshot.target_replicas
    counts = snapshot.replicas
    expected = _expected(policy, snapshot, memory)
    holds_all = policy.paused or memory.known_since is None
    in_flight = None if target is None else in_flight_need(snapshot, capacity, policy)
    return Bid(
        id=snapshot.id,
        wanted=(memory.last_set or 0) if wanted is None else wanted.replicas,
        target=target or 0,
        alive=0 if counts is None else counts.ready + counts.starting,
        expected=expected,
        leaving=0 if counts is None else counts.stopping,
        assured=max(policy.limits.min_replicas, (target or 0) if holds_all else 0),
        in_flight=(target or 0) if in_flight is None else min(in_flight, target or 0),
        cost=_cost(policy, budget, gpu_price),
        urgency=policy.weight * (1.0 + memory.slo_debt),
        priority=policy.priority,
        max_step_down=policy.limits.max_step_down,
        fixed=wanted is None,
    )


def budget_steps(
    bids: Sequence[Bid], wanted: Mapping[DeploymentId, Step], budget: Budget
) -> Mapping[DeploymentId, Step]:
    """Return the last step of each deployment that has an opinion and takes something of the budget."""
    resources = resources_of(budget)
    grants = allocate(bids, resources)
    told = ", ".join(_use(bids, grants, resource, index) for index, resource in enumerate(resources))
    return {
        bid.id: _step(bid, grants[bid.id], wanted[bid.id], told) for bid in bids if bid.id in grants and any(bid.cost)
    }


def budget_use(bids: Sequence[Bid], budget: Budget) -> tuple[BudgetUse, ...]:
    """Return how much of each limit is held now, and how much is wanted."""
    names = [name for name in ("gpus", "spend_per_hour") if getattr(budget, name) is not None]
    return tuple(
        BudgetUse(
            resource=name,
            limit=resource.limit,
            held=sum(bid.cost[index] * (bid.running + bid.leaving) for bid in bids),
            wanted=sum(bid.cost[index] * bid.wanted for bid in bids),
        )
        for index, (name, resource) in enumerate(zip(names, resources_of(budget), strict=True))
    )


def _expected(policy: DeploymentPolicy, snapshot: Snapshot, memory: DeploymentMemory) -> int:
    """Replicas that the target asks for, or may come to ask for."""
    if snapshot.status == NOT_DEPLOYED:
        return 0
    target = snapshot.target_replicas
    asked = memory.attempted or 0
    if target is None:
        return max(asked, policy.limits.max_replicas if memory.last_set is None else memory.last_set)
    unread = (memory.last_set or 0) if predates_our_write(snapshot, memory) else 0
    return max(target, asked, unread)


def _cost(policy: DeploymentPolicy, budget: Budget, gpu_price: float | None) -> tuple[float, ...]:
    gpus = float(policy.gpus)
    costs = ((budget.gpus, gpus), (budget.spend_per_hour, gpus * (gpu_price or 0.0)))
    return tuple(cost for limit, cost in costs if limit is not None)


def _step(bid: Bid, grant: Grant, wanted: Step, told: str) -> Step:
    if grant.replicas == wanted.replicas:
        return Step("budget", grant.replicas, wanted.reason, told)
    if grant.replicas < grant.entitled:
        detail = f"{wanted.replicas} wanted, {grant.entitled} allowed once others have let go; {told}"
        return Step("budget", grant.replicas, Reason.BUDGET, detail)
    claim = f"priority {bid.priority}, urgency {bid.urgency:.2f} (weight and missed objectives)"
    return Step("budget", grant.replicas, Reason.BUDGET, f"{wanted.replicas} wanted; {told}; {claim}")


def _use(bids: Sequence[Bid], grants: Mapping[DeploymentId, Grant], resource: Resource, index: int) -> str:
    want = sum(bid.cost[index] * bid.wanted for bid in bids)
    gets = sum(bid.cost[index] * (grants[bid.id].replicas if bid.id in grants else bid.wanted) for bid in bids)
    return f"all get {gets:g} of {resource.limit:g} {resource.name} and want {want:g}"
