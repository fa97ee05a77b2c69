"""Nodes and workers in a what-if: planned under both policies from the same cluster. Touches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.placement import ClusterInput, ClusterPlan, Unplaced
from controller.domain.state import PlannerState
from controller.loop.ground import Ground
from controller.loop.thinking import Considered, asked_of_layers
from controller.planner.decide import Plan, PlanInput
from controller.planner.housing import housed
from controller.planner.needs import Ahead
from controller.planner.placement import Effort, plan_cluster
from controller.policy.model import Policy

_SAME_LEAD = 0.05
_LONGEST_S = 2.0
"""For each of the two searches of a plan; both policies are planned, within what a page waits for."""
_NOT_FORESEEN = "not foreseen at the horizon of its nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDifference:
    """Nodes of a pool, or workers of a group, under both policies; None where one of them has no such pool or group."""

    layer: Layer
    name: str
    before: int | None
    after: int | None

    @property
    def differs(self) -> bool:
        """Whether another number comes out."""
        return self.before != self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Beneath:
    """The cluster under both policies. Costs are of all nodes of the pools, an hour; None without prices.

    ``notes`` say why a plan is missing, or less than a tick's would be.
    """

    layers: tuple[LayerDifference, ...] = ()
    cost_before: float | None = None
    cost_after: float | None = None
    unplaced_before: tuple[Unplaced, ...] = ()
    unplaced_after: tuple[Unplaced, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A plan of replicas, bounded by the places that there are, and the plan of the cluster that has them."""

    plan: Plan
    given: ClusterInput
    cluster: ClusterPlan


def placed(
    policy: Policy,
    inputs: Sequence[PlanInput],
    plan: Plan,
    state: PlannerState,
    ahead: Mapping[DeploymentId, tuple[Ahead, ...]],
    *,
    ground: Ground,
    considered: Considered,
) -> Placed:
    """Plan the cluster for a plan of replicas, as a tick does; ``state`` is the memory after that plan."""
    asked = asked_of_layers(policy, inputs, plan, ahead, ground=ground, state=state, now=considered.at)
    given = replace(ground.given, demands=asked.demands)
    cluster = plan_cluster(given, now=considered.at, effort=Effort(seconds=_LONGEST_S))
    bounded, _ = housed(
        plan,
        asked.state,
        considered.state,
        cluster,
        ground.elsewhere,
        now=considered.at,
        max_age_s=policy.control.max_signal_age_s,
        startable=asked.startable,
    )
    return Placed(bounded, given, cluster)


def ahead_under(
    considered: Considered, inputs: Sequence[PlanInput], ground: Ground
) -> tuple[dict[DeploymentId, tuple[Ahead, ...]], tuple[str, ...]]:
    """What is foreseen at each layer's horizon under another policy, and where that was not for this horizon."""
    found: dict[DeploymentId, tuple[Ahead, ...]] = {}
    notes: list[str] = []
    for one in inputs:
        name = one.snapshot.id
        below = ground.chains.get(name)
        if below is None:
            continue
        own_s = next((layer.p90_s for layer in one.lead.layers if layer.layer is Layer.REPLICA), one.lead.p90_s)
        worker_s = own_s + below.worker.p90_s
        due_s = {Layer.REPLICA: own_s, Layer.WORKER: worker_s, Layer.NODE: worker_s + below.node.p90_s}
        known = {before.layer: before for before in considered.ahead.get(name, ())}
        found[name] = tuple(_ahead(one, layer, at_s, known.get(layer)) for layer, at_s in due_s.items())
        if one.policy.forecast.enabled and not _same(known, due_s):
            notes.append(f"{name}: the forecasts for its workers and nodes are for the present lead times, or missing")
    return found, tuple(notes)


def beneath(before: Placed | None, after: Placed | None, notes: Sequence[str] = ()) -> Beneath | None:
    """Compare both plans of the cluster; None where neither policy has one."""
    if before is None and after is None:
        return Beneath(notes=tuple(notes)) if notes else None
    layers = [
        *_layers(Layer.NODE, _nodes(before), _nodes(after)),
        *_layers(Layer.WORKER, _workers(before), _workers(after)),
    ]
    held = [one.cluster.held for one in (before, after) if one is not None and one.cluster.held is not None]
    return Beneath(
        layers=tuple(layers),
        cost_before=_cost(before),
        cost_after=_cost(after),
        unplaced_before=() if before is None else before.cluster.unplaced,
        unplaced_after=() if after is None else after.cluster.unplaced,
        notes=(*notes, *dict.fromkeys(held)),
    )


def _ahead(given: PlanInput, layer: Layer, due_s: float, known: Ahead | None) -> Ahead:
    if layer is Layer.REPLICA:
        forecasts, unavailable = given.forecasts, given.forecast_unavailable
    elif not given.policy.forecast.enabled:
        forecasts, unavailable = (), given.forecast_unavailable
    elif known is None:
        forecasts, unavailable = (), _NOT_FORESEEN
    else:
        forecasts, unavailable = known.forecasts, known.forecast_unavailable
    return Ahead(layer=layer, due_s=due_s, forecasts=forecasts, forecast_unavailable=unavailable)


def _same(known: Mapping[Layer, Ahead], due_s: Mapping[Layer, float]) -> bool:
    return all(
        layer in known and abs(known[layer].due_s - at_s) <= _SAME_LEAD * known[layer].due_s
        for layer, at_s in due_s.items()
        if layer is not Layer.REPLICA
    )


def _layers(layer: Layer, before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[LayerDifference]:
    for name in dict.fromkeys((*before, *after)):
        yield LayerDifference(layer=layer, name=name, before=before.get(name), after=after.get(name))


def _nodes(one: Placed | None) -> dict[str, int]:
    return {} if one is None else {target.pool: target.nodes for target in one.cluster.pools}


def _workers(one: Placed | None) -> dict[str, int]:
    return {} if one is None else {target.group: target.min_workers for target in one.cluster.groups}


def _cost(one: Placed | None) -> float | None:
    if one is None or one.cluster.held is not None:
        return None
    prices = {pool.name: pool.price_per_hour for pool in one.given.pools}
    costs = [(target.nodes, prices.get(target.pool)) for target in one.cluster.pools]
    return sum(nodes * price for nodes, price in costs if price is not None) if any(p for _, p in costs) else None
