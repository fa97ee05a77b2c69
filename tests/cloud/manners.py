"""What a controller must never do on a cluster that has other owners too, asserted from all that it wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from controller.domain.plan import OutcomeStatus
from controller.simulated_cloud.cloud import SimulatedCloud
from tests.cloud.controller import Controller, cluster_of

_RAY = re.compile(r"/apis/ray\.io/v1/namespaces/[^/]+/ray(clusters|services)/[^/]+$")
_OURS = re.compile(r"/(capacitybuffers|podtemplates|deployments|priorityclasses|leases)(/foreserve[^/]*)?(/scale)?$")
_FIELD = re.compile(r"/spec(/rayClusterConfig)?/workerGroupSpecs/\d+/(minReplicas|maxReplicas)$")


def well_behaved(
    cloud: SimulatedCloud, *controllers: Controller, ordered: Mapping[str, int] | None, besides: int = 0
) -> None:
    """Assert that nothing of others was written, and that no more machines were ordered than were needed.

    ``ordered`` are the machines that came besides those at the beginning, by pool; None where a forecast says how
    many: as many as some plan wanted then. At no moment were there more of a pool than that, and ``besides``: what
    KubeRay or Ray asked for at once, before the controller's next tick could take it into account.
    """
    foreign = [
        (write.method, write.path, operation)
        for write in cloud.proxy.writes
        for operation in _changes(write.path, write.body)
    ]
    assert foreign == []
    assert cloud.gke.overlapping == 0
    for path, body in cloud.gke.writes:
        pool = cloud.gke.pools[path.split("/nodePools/")[1].split(":")[0]]
        assert path.endswith(":setAutoscaling") == pool.autoscaled, (path, body)
    came = {pool.removeprefix(f"{cloud.world}-"): count for pool, count in cloud.machines.ordered.items() if count}
    needed = came if ordered is None else ordered
    assert came.keys() == needed.keys(), f"{came} came, {needed} were needed; {_story(cloud, controllers)}"
    assert all(needed[pool] <= came[pool] <= needed[pool] + besides for pool in came), (
        f"{came}; {needed} were needed; {_story(cloud, controllers)}"
    )
    for pool, most in cloud.most.items():
        planned = [
            target.nodes
            for controller in controllers
            for record in controller.records
            for target in cluster_of(record).plan.pools
            if target.pool == pool
        ]
        began = cloud.began_with.get(pool, 0)
        allowed = max([*planned, began]) + besides
        assert most <= allowed, f"{most} machines of {pool}, planned {planned}"
        # What was wanted for a moment only, or in the last ticks, the autoscaler need not have seen.
        lasting = max((min(planned[at : at + 4]) for at in range(len(planned) - 3)), default=0)
        came_of_plan = cloud.machines.ordered[pool] + began
        assert ordered is not None or max(lasting, began) <= came_of_plan <= allowed, f"planned {planned}"


def _story(cloud: SimulatedCloud, controllers: Sequence[Controller]) -> str:
    """Tell when nodes were ordered, and what had been set then."""
    told = [(at, f"the autoscaler ordered a node of {pool}") for at, pool, _zone in cloud.autoscaler.ups]
    for controller in controllers:
        for record in controller.records:
            told += [
                (record.at, f"{one.name}: {one.detail}")
                for one in cluster_of(record).outcomes
                if one.status is OutcomeStatus.APPLIED
            ]
            told += [
                (record.at, f"{one.decision.id}: {one.decision.current} -> {one.decision.desired}")
                for one in record.deployments
                if one.decision.desired != one.decision.current
            ]
    began = min((at for at, _ in told), default=0.0)
    return "\n".join(f"+{at - began:.0f} s {what}" for at, what in sorted(told))


def _changes(path: str, body: object) -> list[object]:
    """Return what a write changes that is not ours."""
    if _RAY.search(path):
        assert isinstance(body, list)
        return [one for one in body if one["op"] != "test" and not _FIELD.search(one["path"])]
    return [] if _OURS.search(path) else [body]
