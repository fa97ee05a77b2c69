"""What a controller must never do on a cluster that has other owners too, asserted from all that it wrote."""

from __future__ import annotations

import re

from tests.cloud.cloud import SimulatedCloud
from tests.cloud.controller import Controller, cluster_of

_RAY = re.compile(r"/apis/ray\.io/v1/namespaces/[^/]+/ray(clusters|services)/[^/]+$")
_OURS = re.compile(r"/(capacitybuffers|podtemplates|deployments|priorityclasses|leases)(/foreserve[^/]*)?(/scale)?$")
_BETWEEN_TWO_WRITES = 1
"""Machines more than any plan wanted: the cluster autoscaler may scan after workers were made and before what kept
their nodes warm was lowered. That is a blink in reality, and seconds of the scaled clock here."""

_FIELD = re.compile(r"/spec(/rayClusterConfig)?/workerGroupSpecs/\d+/(minReplicas|maxReplicas)$")


def well_behaved(cloud: SimulatedCloud, *controllers: Controller, ordered: bool = True) -> None:
    """Assert that nothing of others was written and, where nobody else ``ordered``, nothing was ordered twice."""
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
    for pool, most in cloud.most.items() if ordered else ():
        planned = [
            target.nodes
            for controller in controllers
            for record in controller.records
            for target in cluster_of(record).plan.pools
            if target.pool == pool
        ]
        allowed = max([*planned, cloud.began_with.get(pool, 0)]) + _BETWEEN_TWO_WRITES
        assert most <= allowed, f"{most} machines of {pool}, planned {planned}"


def _changes(path: str, body: object) -> list[object]:
    """Return what a write changes that is not ours."""
    if _RAY.search(path):
        assert isinstance(body, list)
        return [one for one in body if one["op"] != "test" and not _FIELD.search(one["path"])]
    return [] if _OURS.search(path) else [body]
