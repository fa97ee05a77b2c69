"""Every shipped object, as a real API server takes it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controller.clients.kubernetes import KubernetesRefusedError
from tests.kubernetes_api import Cluster
from tests.manifests import NO_KUBECTL, OVERLAYS, built, kubectl

pytestmark = pytest.mark.skipif(kubectl() is None, reason=NO_KUBECTL)

OF_GOOGLE = {"PodMonitoring", "ClusterRules", "ComputeClass"}
"""Kinds of GKE's own, whose definitions no other cluster has."""

CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
PLURALS = {"NetworkPolicy": "networkpolicies", "PriorityClass": "priorityclasses"}


def collection(thing: dict[str, Any], namespace: str) -> str:
    version, kind = thing["apiVersion"], thing["kind"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    return f"{group}/{plural}" if kind in CLUSTER_WIDE else f"{group}/namespaces/{namespace}/{plural}"


def here(thing: dict[str, Any], namespace: str) -> dict[str, Any]:
    moved = copy.deepcopy(thing)
    moved["metadata"]["name"] = f"{namespace}-{thing['metadata']['name']}"
    if thing["kind"] not in CLUSTER_WIDE:
        moved["metadata"]["namespace"] = namespace
    return moved


def lost(sent: Any, kept: Any, path: str = "") -> list[str]:
    """Name what was sent and is not there: the server drops fields that it does not know."""
    if isinstance(sent, dict):
        if not isinstance(kept, dict):
            return [path]
        return [one for key in sent for one in lost(sent[key], kept.get(key), f"{path}.{key}")]
    if isinstance(sent, list):
        if not isinstance(kept, list) or len(kept) != len(sent):
            return [path]
        return [one for index, item in enumerate(sent) for one in lost(item, kept[index], f"{path}[{index}]")]
    return [] if sent == kept or str(sent) == str(kept) else [f"{path}: {sent!r} became {kept!r}"]


async def dry_run(cluster: Cluster, thing: dict[str, Any]) -> dict[str, Any]:
    path = collection(thing, cluster.namespace)
    return await cluster.client._call("POST", path, body=thing, query={"dryRun": "All"})


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_the_server_takes_every_object_and_keeps_every_field(cluster: Cluster, overlay: str) -> None:
    wrong: list[str] = []
    modern = await cluster.client.find("/apis/policy/v1") is not None
    for thing in built(overlay):
        if thing["kind"] in OF_GOOGLE:
            continue
        sent = here(thing, cluster.namespace)
        if sent["kind"] == "PodDisruptionBudget" and not modern:
            sent["apiVersion"] = "policy/v1beta1"
        name = f"{thing['kind']} {thing['metadata']['name']}"
        try:
            kept = await dry_run(cluster, sent)
        except KubernetesRefusedError as error:
            wrong.append(f"{name}: {error}")
        else:
            wrong += [f"{name}: {one}" for one in lost(sent, kept)]

    assert wrong == []


async def test_a_misspelt_field_would_be_noticed(cluster: Cluster) -> None:
    [service] = [thing for thing in built("gke-standard") if thing["kind"] == "RayService"]
    sent = here(service, cluster.namespace)
    sent["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["minReplica"] = 1

    kept = await dry_run(cluster, sent)

    assert [path.partition(":")[0] for path in lost(sent, kept)] == [
        ".spec.rayClusterConfig.workerGroupSpecs[0].minReplica"
    ]
