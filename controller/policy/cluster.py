"""The policy's sections on where replicas run: their GPUs, the Ray worker groups, and the GPU node pools."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from controller.domain.pools import Accelerator, NodePool, PoolBounds, Provisioning, TotalBounds, ZoneBounds
from controller.domain.workers import Packing, ReplicaShape, WorkerGroup
from controller.policy.section import PositiveSeconds, Section

_ORDER = {kind: place for place, kind in enumerate(Provisioning)}
"""Reservations are paid for anyway; queued nodes come when they come."""

_PROJECT = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]*[a-z0-9]")
_LOCATION = re.compile(r"[a-z]+(-[a-z]+)+[0-9]+(-[a-z])?")
_CLUSTER = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")

Name = Annotated[str, Field(min_length=1, max_length=63)]


class PlacementPolicy(Section):
    """The GPUs of one replica, and how they may lie."""

    accelerator: str = Field(
        min_length=1, max_length=63, description="Kind of GPU, as GKE's node label spells it: nvidia-l4."
    )
    tensor_parallel: int = Field(default=1, ge=1, le=64, description="vLLM's tensor parallel size.")
    pipeline_parallel: int = Field(default=1, ge=1, le=64, description="vLLM's pipeline parallel size.")
    packing: Packing = Field(
        default=Packing.STRICT_PACK,
        description="strict_pack: all GPUs of a replica in one worker; pack: over several where they must.",
    )

    @property
    def shape(self) -> ReplicaShape:
        """What the planner places."""
        return ReplicaShape(
            accelerator=Accelerator(self.accelerator),
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
            packing=self.packing,
        )


class WorkerGroupPolicy(Section):
    """One worker group of the RayCluster, by the name it has there."""

    name: str = Field(min_length=1, max_length=63, description="Name of the group: workerGroupSpecs[].groupName.")
    accelerator: str = Field(min_length=1, max_length=63, description="Kind of GPU that its pods ask for.")
    gpus_per_worker: int = Field(ge=1, le=16, description="GPUs of one pod: its nvidia.com/gpu limit.")
    min_workers: int = Field(default=0, ge=0, le=10_000, description="Fewest workers ever wanted.")
    max_workers: int = Field(ge=1, le=10_000, description="Most workers ever wanted.")
    node_pools: tuple[Name, ...] = Field(
        default=(),
        min_length=0,
        max_length=100,
        description="Pools that its pods may be scheduled to; none: every pool of its accelerator.",
    )

    @model_validator(mode="after")
    def _min_not_above_max(self) -> Self:
        if self.min_workers > self.max_workers:
            msg = f"min_workers ({self.min_workers}) must be <= max_workers ({self.max_workers})"
            raise ValueError(msg)
        return self

    @property
    def group(self) -> WorkerGroup:
        """What the planner counts with."""
        return WorkerGroup(
            name=self.name,
            accelerator=Accelerator(self.accelerator),
            gpus_per_worker=self.gpus_per_worker,
            min_workers=self.min_workers,
            max_workers=self.max_workers,
            node_pools=self.node_pools,
        )


class BoundsScope(StrEnum):
    """What a pool's bounds count."""

    TOTAL = "total"
    """Nodes of the whole pool."""
    ZONE = "zone"
    """Nodes in each of its zones."""


class NodeBounds(Section):
    """Fewest and most nodes, counted the way the pool's own autoscaling bounds are."""

    scope: BoundsScope = Field(
        default=BoundsScope.TOTAL,
        description="total counts the whole pool (GKE's total-min-nodes), zone each zone (GKE's min-nodes).",
    )
    min_nodes: int = Field(default=0, ge=0, le=5000, description="Fewest nodes ever wanted.")
    max_nodes: int = Field(ge=0, le=5000, description="Most nodes ever wanted; 0 closes the pool.")

    @model_validator(mode="after")
    def _min_not_above_max(self) -> Self:
        if self.min_nodes > self.max_nodes:
            msg = f"min_nodes ({self.min_nodes}) must be <= max_nodes ({self.max_nodes})"
            raise ValueError(msg)
        return self

    @property
    def bounds(self) -> PoolBounds:
        """As one of the two kinds, which never mix."""
        if self.scope is BoundsScope.TOTAL:
            return TotalBounds(self.min_nodes, self.max_nodes)
        return ZoneBounds(self.min_nodes, self.max_nodes)


class NodePoolPolicy(Section):
    """One GPU node pool, by the name it has in GKE."""

    name: str = Field(min_length=1, max_length=63, description="Name of the pool.")
    accelerator: str = Field(min_length=1, max_length=63, description="Kind of GPU of its nodes.")
    gpus_per_node: int = Field(ge=1, le=16, description="GPUs of one node.")
    zones: tuple[Name, ...] = Field(min_length=1, max_length=20, description="Zones that its nodes may be in.")
    provisioning: Provisioning = Field(default=Provisioning.ON_DEMAND, description="How its nodes are sold.")
    order: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Place in the order in which pools are drawn on; unset: 0 reservation, 1 on_demand, 2 spot, "
        "3 flex_start.",
    )
    queued: bool = Field(
        default=False,
        description="Ask for its nodes by ProvisioningRequests: several together, whenever there is capacity.",
    )
    price_per_hour: float | None = Field(default=None, ge=0, le=1e6, description="What one node costs an hour.")
    bounds: NodeBounds
    assumed_lead_s: PositiveSeconds | None = Field(
        default=None, description="Seconds from order to ready, before anything was measured."
    )

    @model_validator(mode="after")
    def _queue_of_flex_start(self) -> Self:
        if self.queued and self.provisioning is not Provisioning.FLEX_START:
            msg = f"queued goes with provisioning: flex_start; {self.name} has {self.provisioning}"
            raise ValueError(msg)
        return self

    @property
    def pool(self) -> NodePool:
        """What the planner counts with."""
        return NodePool(
            name=self.name,
            accelerator=Accelerator(self.accelerator),
            gpus_per_node=self.gpus_per_node,
            zones=tuple(sorted(self.zones)),
            provisioning=self.provisioning,
            priority=_ORDER[self.provisioning] if self.order is None else self.order,
            bounds=self.bounds.bounds,
            price_per_hour=self.price_per_hour,
        )


class FloorOf(StrEnum):
    """What the lower bound of an autoscaled pool follows."""

    POLICY = "policy"
    """The pool's own min_nodes: nodes are asked for by pending pods and warm capacity."""
    PLAN = "plan"
    """The nodes that the plan wants; each change is an operation of minutes on the whole cluster."""


class WarmCapacity(StrEnum):
    """How nodes are kept that no worker needs yet, where a cluster autoscaler owns their number."""

    AUTO = "auto"
    """By a CapacityBuffer where the cluster has these, else by a balloon Deployment."""
    CAPACITY_BUFFER = "capacity_buffer"
    BALLOON = "balloon"
    OFF = "off"
    """Not at all: a node comes when a worker waits for it."""


class GkePolicy(Section):
    """Where the cluster is in Google Cloud, and which of its node pools' levers are used."""

    project: str = Field(min_length=6, max_length=120, description="Id of the project: my-project.")
    location: str = Field(min_length=5, max_length=40, description="The cluster's region or zone: us-central1.")
    cluster: str = Field(min_length=1, max_length=40, description="Name of the cluster.")
    floor: FloorOf = Field(
        default=FloorOf.POLICY,
        description="What the lower bound of autoscaled pools follows: policy (their min_nodes) or plan.",
    )

    @model_validator(mode="after")
    def _names_as_google_spells_them(self) -> Self:
        for key, value, pattern, example in (
            ("project", self.project, _PROJECT, "a project id such as my-project (not its number or title)"),
            ("location", self.location, _LOCATION, "a region such as us-central1 or a zone such as us-central1-a"),
            ("cluster", self.cluster, _CLUSTER, "lower-case letters, digits and hyphens, such as serving"),
        ):
            if not pattern.fullmatch(value):
                msg = f"{key}: {value!r} is not {example}"
                raise ValueError(msg)
        return self

    @property
    def location_path(self) -> str:
        """As the API spells it."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def path(self) -> str:
        """As the API spells it."""
        return f"{self.location_path}/clusters/{self.cluster}"


class ClusterPolicy(Section):
    """Where replicas may run. What they may hold and cost together is in ``budget``."""

    gke: GkePolicy | None = Field(default=None, description="Lets the controller read and set GKE's node pools.")
    node_pool_label: str = Field(
        default="cloud.google.com/gke-nodepool",
        min_length=1,
        max_length=317,
        description="Label of Kubernetes nodes that names their pool.",
    )
    warm_capacity: WarmCapacity = Field(
        default=WarmCapacity.AUTO,
        description="What keeps the planned nodes that no worker needs yet: capacity_buffer, balloon, off, or auto.",
    )
    worker_groups: tuple[WorkerGroupPolicy, ...] = Field(
        min_length=1, max_length=100, description="One entry for each worker group of the RayCluster."
    )
    node_pools: tuple[NodePoolPolicy, ...] = Field(
        min_length=1, max_length=100, description="One entry for each GPU node pool."
    )

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        _once("worker_groups", (group.name for group in self.worker_groups))
        _once("node_pools", (pool.name for pool in self.node_pools))
        return self

    @model_validator(mode="after")
    def _prices_of_all_or_none(self) -> Self:
        without = [pool.name for pool in self.node_pools if pool.price_per_hour is None]
        if without and len(without) < len(self.node_pools):
            msg = f"node_pools: only some have a price_per_hour; give it to {', '.join(without)} too, or to none"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _groups_have_pools(self) -> Self:
        pools = {pool.name: pool for pool in self.node_pools}
        for group in self.worker_groups:
            unknown = [name for name in group.node_pools if name not in pools]
            if unknown:
                msg = f"worker_groups: {group.name} names the pool {unknown[0]}; there are {', '.join(pools)}"
                raise ValueError(msg)
            allowed = [pools[name] for name in group.node_pools] or list(self.node_pools)
            if not any(_fits(group, pool) for pool in allowed):
                msg = (
                    f"worker_groups: {group.name} needs {group.gpus_per_worker} {group.accelerator} on one node; "
                    "list a pool that has them"
                )
                raise ValueError(msg)
        return self

    def gpu_price(self, accelerator: str) -> float | None:
        """What one GPU of a kind costs an hour where it is cheapest; None where prices are not known."""
        alike = [pool for pool in self.node_pools if pool.accelerator == accelerator]
        prices = [pool.price_per_hour / pool.gpus_per_node for pool in alike if pool.price_per_hour is not None]
        return min(prices, default=None)

    def houses(self, shape: ReplicaShape) -> bool:
        """Whether some worker group could ever run such a replica."""
        able = [group for group in self.worker_groups if group.accelerator == shape.accelerator]
        if shape.packing is Packing.STRICT_PACK:
            return any(group.gpus_per_worker >= shape.gpus for group in able)
        return sum(group.gpus_per_worker * group.max_workers for group in able) >= shape.gpus


def _fits(group: WorkerGroupPolicy, pool: NodePoolPolicy) -> bool:
    return group.accelerator == pool.accelerator and group.gpus_per_worker <= pool.gpus_per_node


def _once(key: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            msg = f"{key}: {name} is listed twice; keep one entry"
            raise ValueError(msg)
        seen.add(name)
