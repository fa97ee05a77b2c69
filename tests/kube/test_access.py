"""The controller with exactly the rights of the shipped ServiceAccount: enough, and not one too many."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog

from controller.actuators.ray_cluster import RayClusterActuator
from controller.actuators.warm_capacity import WarmCapacityActuator
from controller.clients.kubernetes import KubernetesClient
from controller.clients.ray_clusters import RayClusters
from controller.clients.warm_capacity import WarmCapacityStore
from controller.clock import SystemClock
from controller.collectors.cluster import KubernetesObserver
from controller.domain.cluster import LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.domain.state import DeploymentMemory, PlannerState
from controller.election.elector import LeaseElector, identity
from controller.errors import UnavailableError
from controller.policy.cluster import ClusterPolicy
from controller.policy.load import load_policy
from controller.store.hand_over import ConfigMapHandOver
from tests.cluster import CHAT
from tests.kubernetes_api import Cluster, client_with, worker_group
from tests.manifests import MANIFESTS, NO_KUBECTL, kubectl, of_kind

pytestmark = [pytest.mark.skipif(kubectl() is None, reason=NO_KUBECTL), pytest.mark.timeout(400)]

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_TRIES = 3


class Shipped:
    """The roles of an overlay, put into a namespace of their own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.roles: list[dict[str, Any]] = []

    def path(self, role: dict[str, Any]) -> str:
        name = role["metadata"]["name"]
        if role["kind"] == "ClusterRole":
            return f"{_RBAC}/clusterroles/{name}"
        return f"{_RBAC}/namespaces/{self.cluster.namespace}/roles/{name}"

    async def install(self, overlay: str) -> str:
        """Create account, roles, bindings and what election needs; return a token of the account."""
        namespace, client = self.cluster.namespace, self.cluster.client
        for kind, collection in (
            ("ServiceAccount", f"/api/v1/namespaces/{namespace}/serviceaccounts"),
            ("Lease", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
        ):
            for thing in of_kind(overlay, kind):
                await client.create(collection, self._here(thing))
        [state] = [one for one in of_kind(overlay, "ConfigMap") if one["metadata"]["name"] == "foreserve"]
        await client.create(f"/api/v1/namespaces/{namespace}/configmaps", self._here(state))
        for kind in ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"):
            for thing in of_kind(overlay, kind):
                here = self._here(thing)
                where = "" if kind.startswith("Cluster") else f"/namespaces/{namespace}"
                path = f"{_RBAC}{where}/{kind.lower()}s"
                await client.create(path, here)
                if kind.startswith("Cluster"):
                    self.cluster.owned(f"{path}/{here['metadata']['name']}")
                if "rules" in here:
                    self.roles.append(here)
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/foreserve/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        return str((await client.create(account, request))["status"]["token"])

    async def set_rules(self, role: dict[str, Any], rules: list[dict[str, Any]]) -> None:
        current = await self.cluster.client.get(self.path(role))
        await self.cluster.client.replace(self.path(role), {**current, "rules": rules})

    def _here(self, thing: dict[str, Any]) -> dict[str, Any]:
        """The same in this namespace; what is in none is named after it."""
        here = copy.deepcopy(thing)
        namespace = self.cluster.namespace
        if here["metadata"].pop("namespace", None):
            here["metadata"]["namespace"] = namespace
        else:
            here["metadata"]["name"] = f"{namespace}-{here['metadata']['name']}"
        if here.get("roleRef", {}).get("kind") == "ClusterRole":
            here["roleRef"]["name"] = f"{namespace}-{here['roleRef']['name']}"
        for subject in here.get("subjects", ()):
            subject["namespace"] = namespace
        return here


class Controller:
    """All that the controller does in Kubernetes, once."""

    def __init__(self, client: KubernetesClient, namespace: str, policy: ClusterPolicy) -> None:
        clock = SystemClock()
        self.lever = "balloon"
        self.policy = policy
        self.elector = LeaseElector(
            client=client,
            namespace=namespace,
            name="foreserve",
            me=identity(),
            clock=clock,
            rng=random.Random(1),
            log=structlog.get_logger(),
        )
        ray = RayClusters(client=client, namespace=namespace, service="chat")
        store = WarmCapacityStore(client=client, namespace=namespace, clock=clock)
        self.observer = KubernetesObserver(client=client, ray=ray, policy=self._policy, warm=store)
        self.workers = RayClusterActuator(client=client, ray=ray, clock=clock, leadership=self.elector)
        self.nodes = WarmCapacityActuator(
            store=store, ray=ray, policy=self._policy, clock=clock, leadership=self.elector
        )
        self.memory = ConfigMapHandOver(client=client, namespace=namespace, name="foreserve", leadership=self.elector)

    async def work(self) -> list[str]:
        """Return everything that went wrong."""
        wrong: list[str] = []
        await self.elector.attempt()
        if not self.elector.may_act():
            wrong.append(self.elector.standing)
        try:
            taken = await self.memory.take()
            digest = "again" if taken and "'again'" not in repr(taken.state) else "first"
            state = PlannerState(deployments=((CHAT, DeploymentMemory(last_set_digest=digest)),))
            await self.memory.publish(state, {}, tick=1)
        except UnavailableError as error:
            wrong.append(str(error))
        found = await self.observer.observe(SystemClock().now())
        wrong += found.problems
        if found.groups:
            was = found.groups[0].min_workers
            wrong += self._failure(await self.workers.apply(self._step(Layer.WORKER, "l4", was, 3 - was), found))
        for lever, count in (("balloon", 1), ("balloon", 2), ("capacity_buffer", 1), ("balloon", 1), ("off", 1)):
            self.lever = lever
            found = await self.observer.observe(SystemClock().now())
            wrong += self._failure(await self.nodes.apply(self._step(Layer.NODE, "h100", 0, count), found))
        await self.elector.release()
        return wrong

    def _policy(self) -> ClusterPolicy:
        return self.policy.model_copy(update={"warm_capacity": self.lever})

    @staticmethod
    def _step(layer: Layer, name: str, was: int, wanted: int) -> LayerStep:
        return LayerStep(layer=layer, name=name, found=was, wanted=wanted, up=True, detail="")

    @staticmethod
    def _failure(outcome: LayerOutcome) -> list[str]:
        fine = outcome.status is OutcomeStatus.APPLIED and "for its next cluster:" not in outcome.detail
        return [] if fine else [f"{outcome.lever} {outcome.status}: {outcome.detail}"]


@pytest.fixture
async def shipped(cluster: Cluster) -> Shipped:
    await cluster.ray_cluster(groups=(worker_group(least=1),))
    await cluster.ray_service(groups=(worker_group(least=1),))
    return Shipped(cluster)


async def test_the_shipped_rules_are_enough_and_each_verb_of_them_is_needed(cluster: Cluster, shipped: Shipped) -> None:
    policy = load_policy(MANIFESTS / "overlays/gke-standard/policy.yaml").policy.cluster
    assert policy is not None
    client = client_with(await shipped.install("gke-standard"))

    assert await _heeded(cluster, lambda: Controller(client, cluster.namespace, policy).work()) == []

    needless = []
    for role in shipped.roles:
        for index, rule in enumerate(role["rules"]):
            for verb in rule["verbs"]:
                rules = copy.deepcopy(role["rules"])
                rules[index]["verbs"] = [other for other in rule["verbs"] if other != verb]
                await shipped.set_rules(role, [one for one in rules if one["verbs"]])
                if not await _missed(lambda: Controller(client, cluster.namespace, policy).work()):
                    needless.append(f"{verb} {rule['resources']} of {role['kind']} {role['metadata']['name']}")
                await _cleaned(cluster)
        await shipped.set_rules(role, role["rules"])

    assert needless == []
    assert await _heeded(cluster, lambda: Controller(client, cluster.namespace, policy).work()) == []
    await client.close()


async def _heeded(cluster: Cluster, work: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Return what goes wrong even once the server has had the time to heed the rules."""
    for _ in range(_TRIES):
        wrong = await work()
        if not wrong:
            break
        await asyncio.sleep(1.0)
        await _cleaned(cluster)
    return wrong


async def _missed(work: Callable[[], Awaitable[list[str]]]) -> bool:
    """Whether anything goes wrong; the server heeds new rules only after a while, so it is tried again before a no."""
    for _ in range(_TRIES):
        if await work():
            return True
    return False


async def _cleaned(cluster: Cluster) -> None:
    """Take away what a failed run has left behind, and end its term."""
    client, namespace = cluster.client, cluster.namespace
    for collection in (
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        f"/apis/autoscaling.x-k8s.io/v1beta1/namespaces/{namespace}/capacitybuffers",
        f"/api/v1/namespaces/{namespace}/podtemplates",
    ):
        for thing in (await client.list(collection)).items:
            await client.delete(f"{collection}/{thing['metadata']['name']}", uid=thing["metadata"]["uid"])
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/foreserve"
    lease = await client.get(path)
    await client.replace(path, {**lease, "spec": {**lease.get("spec", {}), "holderIdentity": ""}})
