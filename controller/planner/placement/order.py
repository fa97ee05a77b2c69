"""In which order the targets of a plan are set: nodes, workers, replicas on the way up, the reverse on the way down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controller.domain.cluster import LayerStep
from controller.domain.layer import Layer
from controller.domain.placement import ClusterPlan, GroupTarget, PoolTarget
from controller.domain.plan import Action, Decision


def in_layer_order(
    plan: ClusterPlan,
    decisions: Iterable[Decision],
    *,
    bounds: Mapping[str, tuple[int, int]],
    warm: Mapping[str, int] | None = None,
) -> tuple[LayerStep, ...]:
    """Order what is to change: first all that adds, from nodes to replicas, then all that removes, back up.

    ``bounds`` are the least and most workers of each group as found; a group that is not among them is not
    there and gets no step. ``warm`` is the warm capacity found, in nodes: where it is not what the plan has vacant,
    the pool gets a step, too. What removes capacity needs no waiting for the layer above: a plan lowers workers
    and nodes only by what holds no replica when it is made, so each layer follows the other from plan to plan.
    """
    nodes, workers, replicas = list(_nodes(plan, warm)), list(_workers(plan, bounds)), list(_replicas(decisions))
    rising = [step for step in (*nodes, *workers, *replicas) if step.up]
    falling = [step for step in (*replicas, *workers, *nodes) if not step.up]
    return (*rising, *falling)


def _nodes(plan: ClusterPlan, warm: Mapping[str, int] | None) -> Iterator[LayerStep]:
    for target in plan.pools:
        stands = target.present + target.coming + target.called_off
        kept = target.vacant if warm is None else warm.get(target.pool, 0)
        if target.new:
            detail = f"{target.new} more than the {target.present} there and the {target.coming} coming"
            yield _node_step(target, target.nodes - target.new, detail, up=True)
        elif target.nodes < stands:
            off = f", {target.called_off} that were coming called off" if target.called_off else ""
            unneeded = (
                f"{', '.join(target.releasable) or 'what drains'} not needed"
                if target.nodes < stands - (target.called_off)
                else "all there is stays"
            )
            yield _node_step(target, stands, f"{unneeded}{off}, {target.in_use} in use", up=False)
        elif kept != target.vacant:
            detail = f"{target.vacant} of {target.nodes} nodes wait for workers, {kept} are kept warm"
            # Nothing is removed: nodes are handed over to workers. Done late, both would ask for nodes for a while.
            yield _node_step(target, stands, detail, up=True)


def _node_step(target: PoolTarget, found: int, detail: str, *, up: bool) -> LayerStep:
    return LayerStep(
        layer=Layer.NODE,
        name=target.pool,
        found=found,
        wanted=target.nodes,
        up=up,
        detail=detail,
        vacant=target.vacant,
    )


def _workers(plan: ClusterPlan, bounds: Mapping[str, tuple[int, int]]) -> Iterator[LayerStep]:
    for target in plan.groups:
        found = bounds.get(target.group)
        if found is not None and found != (target.min_workers, target.max_workers):
            yield LayerStep(
                layer=Layer.WORKER,
                name=target.group,
                found=found[0],
                wanted=target.min_workers,
                up=target.min_workers > found[0] or (target.min_workers == found[0] and target.max_workers > found[1]),
                most=target.max_workers,
                detail=_of_group(target, found),
            )


def _of_group(target: GroupTarget, found: tuple[int, int]) -> str:
    return (
        f"{found[0]} to {found[1]} becomes {target.min_workers} to {target.max_workers}; "
        f"{target.present} there, {target.busy} with replicas"
    )


def _replicas(decisions: Iterable[Decision]) -> Iterator[LayerStep]:
    for decision in decisions:
        if decision.action is Action.NONE or decision.current is None or decision.desired is None:
            continue
        detail = decision.steps[-1].detail if decision.steps else decision.binding.value
        yield LayerStep(
            layer=Layer.REPLICA,
            name=str(decision.id),
            found=decision.current,
            wanted=decision.desired,
            up=decision.desired > decision.current,
            detail=detail,
        )
