"""Laws every plan of the cluster obeys, whatever the inputs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from controller.domain.identity import DeploymentId
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import (
    Budget,
    ClusterInput,
    ClusterPlan,
    ComingNodes,
    Criterion,
    ReplicaDemand,
    Solver,
    WantedBy,
)
from controller.domain.pools import NodePool, TotalBounds, ZoneBounds
from controller.domain.workers import Occupant, Packing, ReplicaState, Worker, WorkerGroup, WorkerState
from controller.planner.placement import plan_cluster
from controller.planner.placement.build import node_problem, scene, worker_problem
from controller.planner.placement.greedy import solve_greedily
from controller.planner.placement.objective import better, criteria
from controller.planner.placement.problem import Problem
from controller.planner.placement.program import Effort
from controller.planner.placement.solve import solve
from tests.cluster import (
    BY_NODE,
    BY_REPLICA,
    BY_WORKER,
    H100,
    L4,
    NOW,
    cluster,
    faults,
    group,
    pool,
    stocked_out,
    wants,
)

EFFORT = Effort(nodes=500, seconds=50.0)
law = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
"""A solver may take its time on a busy machine."""
costly_law = settings(law, max_examples=8)
"""Solves two problems to the end for each example."""
accelerators = st.sampled_from([L4, L4, H100])
names = [DeploymentId("app", letter) for letter in "abc"]


@st.composite
def pools(draw: st.DrawFn) -> list[NodePool]:
    return [
        pool(
            f"pool-{index}",
            accelerator=draw(accelerators),
            gpus_per_node=draw(st.sampled_from([1, 2, 4, 8])),
            priority=draw(st.integers(0, 2)),
            price_per_hour=draw(st.sampled_from([0.0, 0.5, 1.0, 3.0, 9.5])),
            bounds=draw(
                st.builds(TotalBounds, st.integers(0, 1), st.integers(1, 4))
                | st.builds(ZoneBounds, st.just(0), st.integers(1, 2))
            ),
        )
        for index in range(draw(st.integers(1, 3)))
    ]


@st.composite
def groups(draw: st.DrawFn) -> list[WorkerGroup]:
    return [
        group(
            f"group-{index}",
            accelerator=draw(accelerators),
            gpus_per_worker=draw(st.sampled_from([1, 2, 4, 8])),
            min_workers=draw(st.sampled_from([0, 0, 1])),
            max_workers=draw(st.integers(1, 8)),
            node_pools=draw(st.sampled_from([(), (), ("pool-0",)])),
        )
        for index in range(draw(st.integers(1, 3)))
    ]


@st.composite
def nodes(draw: st.DrawFn, pools: Sequence[NodePool], groups: Sequence[WorkerGroup]) -> list[Node]:
    """Existing nodes with workers that fit, and replicas that fit these: fragmented in every way."""
    found: list[Node] = []
    for index in range(draw(st.integers(0, 5))):
        of = draw(st.sampled_from(pools))
        workers: list[Worker] = []
        left = of.gpus_per_node
        for number, kind in enumerate(draw(st.lists(st.sampled_from(groups), max_size=3))):
            if kind.accelerator != of.accelerator or kind.gpus_per_worker > left:
                continue
            left -= kind.gpus_per_worker
            occupants: list[Occupant] = []
            free = kind.gpus_per_worker
            for gpus in draw(st.lists(st.integers(1, 4), max_size=2)):
                if gpus <= free:
                    free -= gpus
                    occupants.append(
                        Occupant(
                            replica=f"r-{index}-{number}-{len(occupants)}",
                            deployment=draw(st.sampled_from(names)),
                            gpus=gpus,
                            state=draw(st.sampled_from(ReplicaState)),
                        )
                    )
            workers.append(
                Worker(
                    name=f"w-{index}-{number}",
                    group=kind.name,
                    gpus=kind.gpus_per_worker,
                    state=draw(st.sampled_from(WorkerState)),
                    since=NOW - draw(st.sampled_from([1.0, 30.0, 500.0])),
                    occupants=tuple(occupants),
                )
            )
        found.append(
            Node(
                name=f"n-{index}",
                pool=of.name,
                zone=draw(st.sampled_from(of.zones)),
                gpus=of.gpus_per_node,
                state=NodeState.READY if workers else draw(st.sampled_from(NodeState)),
                since=NOW - draw(st.sampled_from([10.0, 100.0, 4000.0])),
                workers=tuple(workers),
            )
        )
    return found


@st.composite
def demands(draw: st.DrawFn) -> list[ReplicaDemand]:
    wanted = []
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=3)):
        counts = sorted(draw(st.lists(st.integers(0, 5), min_size=3, max_size=3)))
        wanted.append(
            wants(
                list(zip((BY_REPLICA, BY_WORKER, BY_NODE), counts, strict=True)),
                name,
                gpus=draw(st.sampled_from([1, 1, 2, 3, 4])),
                packing=draw(st.sampled_from(Packing)),
                accelerator=draw(accelerators),
                weight=draw(st.integers(1, 3)),
            )
        )
    return wanted


@st.composite
def clusters(draw: st.DrawFn) -> ClusterInput:
    of, by = draw(pools()), draw(groups())
    chosen = st.sampled_from([one.name for one in of])
    return cluster(
        *draw(demands()),
        pools=of,
        groups=by,
        nodes=draw(nodes(of, by)),
        node_s={one.name: draw(st.sampled_from([100.0, 200.0, 900.0])) for one in of},
        coming=tuple(
            ComingNodes(
                pool=name, nodes=draw(st.integers(1, 2)), expected_at=NOW + draw(st.sampled_from([20.0, 150.0]))
            )
            for name in draw(st.lists(chosen, max_size=1))
        ),
        verdicts=tuple(
            stocked_out(name, until=NOW + draw(st.sampled_from([-1.0, 300.0])), zone=draw(st.sampled_from([None, "a"])))
            for name in draw(st.lists(chosen, max_size=1))
        ),
        budget=Budget(
            cost_per_hour=draw(st.none() | st.sampled_from([2.0, 5.0, 20.0])),
            gpus=draw(st.none() | st.integers(1, 20)),
        ),
    )


def planned(given: ClusterInput) -> ClusterPlan:
    return plan_cluster(given, now=NOW, effort=EFFORT)


def problems(given: ClusterInput) -> tuple[Problem, Problem]:
    seen = scene(given, given.nodes or (), now=NOW)
    return node_problem(seen), worker_problem(seen, {node.name for node in seen.nodes})


@law
@given(clusters())
def test_no_assignment_is_impossible_or_over_a_limit(given: ClusterInput) -> None:
    for problem in problems(given):
        assert faults(problem, solve(problem, EFFORT)[0]) == []
        assert faults(problem, solve_greedily(problem)) == []


@costly_law
@given(clusters())
def test_one_by_one_never_beats_the_exact_solution(given: ClusterInput) -> None:
    for problem in problems(given):
        packing, solved = solve(problem, EFFORT)

        assert criteria(problem, packing) == solved.criteria
        assert solved.proven
        assert not better(criteria(problem, solve_greedily(problem)), solved.criteria)


@law
@given(clusters())
def test_nodes_stay_within_their_pool_and_the_budget(given: ClusterInput) -> None:
    plan = planned(given)
    by_name = {one.name: one for one in given.pools}
    coming = Counter({one.pool: one.nodes for one in given.coming})

    for target in plan.pools:
        assert target.nodes <= max(by_name[target.pool].max_nodes, target.present + coming[target.pool])
    new = [target for target in plan.pools if target.new]
    there = sum((one.present + coming[one.pool]) * by_name[one.pool].node_cost for one in plan.pools)
    added = sum(one.new * by_name[one.pool].node_cost for one in new)
    assert (
        not new
        or given.budget.cost_per_hour is None
        or added == 0
        or (there + added <= given.budget.cost_per_hour + 1e-6)
    )
    gpus = sum((one.present + coming[one.pool] + one.new) * by_name[one.pool].gpus_per_node for one in plan.pools)
    assert not new or given.budget.gpus is None or gpus <= given.budget.gpus


@law
@given(clusters())
def test_no_node_with_a_replica_is_released(given: ClusterInput) -> None:
    plan = planned(given)
    in_use = {node.name for node in given.nodes or () if any(worker.occupants for worker in node.workers)}

    for target in plan.pools:
        assert not in_use.intersection(target.releasable)
        assert target.nodes >= target.in_use


@law
@given(clusters())
def test_no_worker_with_a_replica_is_stopped(given: ClusterInput) -> None:
    busy = Counter(worker.group for node in given.nodes or () for worker in node.workers if worker.occupants)
    by_name = {one.name: one for one in given.groups}

    for target in planned(given).groups:
        assert busy[target.group] <= target.min_workers <= target.max_workers
        assert target.max_workers <= max(by_name[target.group].max_workers, busy[target.group])


@law
@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_does_not_matter(given: ClusterInput, random) -> None:
    def shuffled(values: tuple) -> tuple:
        return tuple(random.sample(values, len(values)))

    other = replace(
        given,
        demands=shuffled(given.demands),
        pools=shuffled(given.pools),
        groups=shuffled(given.groups),
        nodes=shuffled(given.nodes or ()),
        leads=shuffled(given.leads),
    )

    assert planned(other) == planned(given)


@costly_law
@given(clusters(), st.data())
def test_more_demand_never_serves_less(given: ClusterInput, data: st.DataObject) -> None:
    """Weighted GPUs that get a place, those due first counted first, do not shrink when more is wanted."""
    assume(given.demands)
    more = _more(given, data.draw(st.integers(0, len(given.demands) - 1)))

    assert _placed(more) >= _placed(given)


@costly_law
@given(clusters())
def test_what_is_ordered_is_not_ordered_again(given: ClusterInput) -> None:
    """With the new nodes on their way and everything else as before, nothing more is ordered.

    What the first plan cancels makes room in its pool and the budget, so it is put aside.
    """
    first = planned(given)
    assume(sum(one.coming for one in first.pools) == sum(one.nodes for one in given.coming))
    lead_of = {one.pool: one.node.p90_s for one in given.leads}
    ordered = [
        ComingNodes(pool=one.pool, nodes=one.new, expected_at=NOW + lead_of[one.pool]) for one in first.pools if one.new
    ]

    again = planned(replace(given, coming=(*given.coming, *ordered)))

    assert {one.pool: one.nodes for one in again.pools} == {one.pool: one.nodes for one in first.pools}
    assert all(one.new == 0 for one in again.pools)


@costly_law
@given(clusters(), st.data())
def test_more_demand_never_costs_less_where_nobody_goes_short(given: ClusterInput, data: st.DataObject) -> None:
    """Where some go short, serving another one first may be cheaper."""
    assume(given.demands)
    ample = _ample(given)
    before, after = (
        solve(problems(one)[0], EFFORT)[1].criteria
        for one in (ample, _more(ample, data.draw(st.integers(0, len(given.demands) - 1))))
    )

    assert after[0].value == 0
    assert not better(after, before)


SIZES = {4: 1.0, 8: 1.7}


@law
@given(st.lists(st.integers(1, 4), min_size=1, max_size=7), st.integers(0, 3), st.integers(0, 3))
def test_no_other_set_of_nodes_is_cheaper(replicas: list[int], smalls: int, larges: int) -> None:
    """Every set of nodes is tried, and every way to put the replicas on it."""
    most = {4: smalls, 8: larges}
    given = cluster(
        *(wants(1, DeploymentId("app", f"d{index}"), gpus=gpus) for index, gpus in enumerate(replicas)),
        pools=[
            pool(f"of-{gpus}", gpus_per_node=gpus, price_per_hour=price, most=most[gpus])
            for gpus, price in SIZES.items()
        ],
        groups=[group(f"of-{gpus}", gpus_per_worker=gpus) for gpus in SIZES],
    )
    possible = [
        small * SIZES[4] + large * SIZES[8]
        for small in range(smalls + 1)
        for large in range(larges + 1)
        if _fit(sorted(replicas, reverse=True), (4,) * small + (8,) * large)
    ]

    plan = planned(given)

    assert bool(plan.unplaced) == (not possible)
    cost = sum(target.new * given.pools[index].node_cost for index, target in enumerate(plan.pools))
    assert plan.unplaced or cost == pytest.approx(min(possible))


def _fit(replicas: Sequence[int], free: tuple[int, ...]) -> bool:
    if not replicas:
        return True
    return any(
        _fit(replicas[1:], tuple(sorted((*free[:index], gpus - replicas[0], *free[index + 1 :]))))
        for index, gpus in enumerate(free)
        if gpus >= replicas[0] and gpus not in free[:index]
    )


def _ample(given: ClusterInput) -> ClusterInput:
    """Large nodes of both kinds without end, besides what there is."""
    more = [
        pool(f"ample-{one}", accelerator=one, gpus_per_node=8, most=50, price_per_hour=7.0, priority=1)
        for one in (L4, H100)
    ]
    workers = [group(f"ample-{one}", accelerator=one, gpus_per_worker=4, max_workers=100) for one in (L4, H100)]
    leads = cluster(pools=more).leads
    return replace(
        given,
        pools=(*given.pools, *more),
        groups=(*given.groups, *workers),
        leads=(*given.leads, *leads),
        budget=Budget(),
    )


def _more(given: ClusterInput, chosen: int) -> ClusterInput:
    """One more replica of one deployment at every horizon."""
    demand = given.demands[chosen]
    wanted = tuple(WantedBy(step.due_s, step.replicas + 1) for step in demand.wanted)
    others = (*given.demands[:chosen], *given.demands[chosen + 1 :])
    return replace(given, demands=(*others, replace(demand, wanted=wanted)))


def _placed(given: ClusterInput) -> list[float]:
    problem = problems(given)[0]
    valued = solve(problem, EFFORT)[1].criteria
    wanted = [
        sum(replicas.value * replicas.count for replicas in problem.classes if replicas.tier == tier)
        for tier in range(problem.tiers)
    ]
    return [total - criterion.value for total, criterion in zip(wanted, valued, strict=False)]


@pytest.mark.parametrize("limit", [Effort(nodes=0, seconds=1e-6)])
@law
@given(given=clusters())
@example(given=cluster(wants(3)))
def test_without_effort_there_is_still_a_plan(given: ClusterInput, limit: Effort) -> None:
    problem = problems(given)[0]

    packing, solved = solve(problem, limit)

    assert faults(problem, packing) == []
    assert solved.proven or solved.gap > 0
    assert solved.solver in Solver
    assert all(isinstance(criterion, Criterion) for criterion in solved.criteria)
