"""Builds what sees and sets the cluster, and elects who acts, out of the settings and the policy."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from controller.actuators.node_pools import NodePoolActuator
from controller.actuators.pool_operations import PoolOperations
from controller.actuators.ray_cluster import RayClusterActuator
from controller.actuators.warm_capacity import WarmCapacityActuator
from controller.clients.gke import GkeClient
from controller.clients.kubernetes import KubernetesClient
from controller.clients.kubernetes_config import Connection, connection
from controller.clients.ray_clusters import RayClusters
from controller.clients.warm_capacity import WarmCapacityStore
from controller.collectors.cluster import KubernetesObserver
from controller.collectors.node_pools import NodePoolReader
from controller.domain.layer import Layer
from controller.domain.pools import NodePool
from controller.election.alone import Alone
from controller.election.elector import LeaseElector, identity
from controller.errors import BadInputError
from controller.loop.cluster import ClusterParts
from controller.loop.policy_source import PolicySource
from controller.policy.cluster import ClusterPolicy, GkePolicy
from controller.policy.model import Policy
from controller.ports import Clock, LayerActuator, Leadership, PoolReader
from controller.settings import Kubernetes, Settings
from controller.store.hand_over import ConfigMapHandOver


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Everything of Kubernetes that one process uses; empty where there is none, and ``notices`` say why."""

    parts: ClusterParts = field(default_factory=ClusterParts)
    elector: LeaseElector | None = None
    hand_over: ConfigMapHandOver | None = None
    client: KubernetesClient | None = None
    gke: GkeClient | None = None
    notices: tuple[str, ...] = ()

    @property
    def leadership(self) -> Leadership | None:
        """Who says whether this controller acts; None where it is alone."""
        return self.elector

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stand for election meanwhile; give the lease up and release connections in the end."""
        stop = asyncio.Event()
        standing = None if self.elector is None else asyncio.create_task(self.elector.run(stop))
        try:
            yield
        finally:
            stop.set()
            if standing is not None:
                await asyncio.wait({standing}, timeout=_RELEASE_S)
                standing.cancel()
            if self.gke is not None:
                await self.gke.close()
            if self.client is not None:
                await self.client.close()


_RELEASE_S = 5.0


def on_kubernetes(
    settings: Settings, policy_source: PolicySource, *, clock: Clock, log: FilteringBoundLogger
) -> Surface:
    """Connect to Kubernetes where the settings and the policy ask for it, and it is there. Nothing is called yet.

    Raises:
        BadInputError: it is asked for, and cannot be found; or an address of GKE's API is wrong.

    """
    policy = policy_source.current.policy
    if settings.kubernetes is Kubernetes.OFF:
        return Surface()
    if policy.cluster is None and not settings.leader_election and settings.kubernetes is Kubernetes.AUTO:
        return Surface()
    try:
        found = connection(settings.kube_context)
    except BadInputError as error:
        if settings.kubernetes is Kubernetes.ON or settings.leader_election:
            raise
        return Surface(notices=(f"nodes and workers are not planned: {error}",))
    return _surface(settings, policy_source, found, clock=clock, log=log)


def _surface(
    settings: Settings, policy_source: PolicySource, found: Connection, *, clock: Clock, log: FilteringBoundLogger
) -> Surface:
    rng = random.Random()  # noqa: S311 - spreads waits, keeps no secret
    client = KubernetesClient(found, clock=clock, rng=rng)
    elector = None
    if settings.leader_election:
        elector = LeaseElector(
            client=client,
            namespace=client.namespace,
            name=settings.lease,
            me=identity(),
            clock=clock,
            rng=rng,
            log=log,
        )
    policy = policy_source.current.policy
    gke = None if policy.cluster is None else _gke(settings, policy.cluster.gke)
    notice = f"Kubernetes by {found.source}, namespace {settings.namespace or client.namespace}"
    return Surface(
        parts=_parts(settings, policy_source, client, gke, elector or Alone(), clock=clock),
        elector=elector,
        hand_over=None
        if elector is None
        else ConfigMapHandOver(client=client, namespace=client.namespace, name=settings.lease, leadership=elector),
        client=client,
        gke=gke,
        notices=(notice,),
    )


def _parts(
    settings: Settings,
    policy_source: PolicySource,
    client: KubernetesClient,
    gke: GkeClient | None,
    leadership: Leadership,
    *,
    clock: Clock,
) -> ClusterParts:
    def cluster() -> ClusterPolicy:
        return _cluster(policy_source.current.policy)

    namespace = settings.namespace or client.namespace
    ray = RayClusters(client=client, namespace=namespace, service=settings.ray_service, cluster=settings.ray_cluster)
    warm = WarmCapacityStore(client=client, namespace=namespace, clock=clock)
    pools: PoolReader | None = None if gke is None else NodePoolReader(client=gke)
    nodes: list[LayerActuator] = [
        WarmCapacityActuator(store=warm, ray=ray, policy=cluster, clock=clock, leadership=leadership)
    ]
    if gke is not None:
        nodes.append(_pool_lever(policy_source, gke, leadership, clock))
    return ClusterParts(
        observer=KubernetesObserver(client=client, ray=ray, policy=cluster, warm=warm, pools=pools),
        levers={
            Layer.NODE: tuple(nodes),
            Layer.WORKER: (RayClusterActuator(client=client, ray=ray, clock=clock, leadership=leadership),),
        },
    )


def _pool_lever(policy_source: PolicySource, gke: GkeClient, leadership: Leadership, clock: Clock) -> NodePoolActuator:
    def pool(name: str) -> NodePool | None:
        listed = _cluster(policy_source.current.policy).node_pools
        return next((one.pool for one in listed if one.name == name), None)

    of = _cluster(policy_source.current.policy).gke
    operations = PoolOperations(client=gke, clock=clock)
    if of is None:
        return NodePoolActuator(client=gke, clock=clock, leadership=leadership, pools=pool, operations=operations)
    return NodePoolActuator(
        client=gke, clock=clock, leadership=leadership, pools=pool, operations=operations, floor=of.floor
    )


def _gke(settings: Settings, where: GkePolicy | None) -> GkeClient | None:
    if where is None:
        return None
    return GkeClient(cluster=where, endpoint=settings.gke_endpoint, anonymous=settings.gke_anonymous)


def _cluster(policy: Policy) -> ClusterPolicy:
    if policy.cluster is None:
        msg = "the policy has no cluster section any more"
        raise BadInputError(msg)
    return policy.cluster
