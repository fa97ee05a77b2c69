"""The whole controller on the simulated cloud: its real observers, levers and loop, on the scaled clock."""

from __future__ import annotations

import asyncio
import io
import os
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from controller.actuators.node_pools import NodePoolActuator
from controller.actuators.pool_operations import PoolOperations
from controller.actuators.ray_cluster import RayClusterActuator
from controller.actuators.serve_direct import ServeDirectActuator, Timing
from controller.actuators.warm_capacity import WarmCapacityActuator
from controller.clients.gke import GkeClient
from controller.clients.kubernetes import KubernetesClient
from controller.clients.kubernetes_config import Connection, connection
from controller.clients.ray_clusters import RayClusters
from controller.clients.serve import ServeClient
from controller.clients.warm_capacity import WarmCapacityStore
from controller.collectors.cluster import KubernetesObserver
from controller.collectors.node_pools import NodePoolReader
from controller.collectors.serve_state import ServeStateCollector
from controller.domain.cluster_record import ClusterRecord
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Checkpoint
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.domain.pools import NodePool
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.scrape import Scrape, SourceKind
from controller.election.alone import Alone
from controller.export.log import json_log
from controller.forecast.adaptive import AdaptiveForecaster
from controller.loop.cluster import ClusterParts
from controller.loop.collection import Collection
from controller.loop.control import ControlLoop
from controller.loop.forecast_guard import ForecastGuard
from controller.loop.foresight import FitAtOnce, Foresight
from controller.loop.journal import Journal
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce
from controller.policy.cluster import ClusterPolicy
from controller.policy.model import Mode, Policy
from controller.ports import Leadership, Store
from controller.simulated_cloud.cloud import SimulatedCloud
from controller.simulated_cloud.gke_api import CLUSTER
from controller.simulated_cloud.signals import Load, Traffic
from controller.window.history import DemandHistory
from tests.scenarios.world import Events, FixedPolicy, MemoryStore

INTERVAL_S = 10.0
NAME = "foreserve"


def policy_of(
    cloud: SimulatedCloud,
    *,
    terms: Mapping[DeploymentId, Mapping[str, Any]] | None = None,
    budget: Mapping[str, Any] | None = None,
    forecast: bool = False,
    **cluster: Any,
) -> Policy:
    """Four requests in flight per replica; pools in the order given, groups and applications as the cloud has them.

    Without a forecast every layer follows what is measured, so that what is needed can be told beforehand.
    """
    pools = []
    for place, pool in enumerate(cloud.pools):
        if pool.per_zone is not None:
            bounds = {"scope": "zone", "min_nodes": pool.per_zone[0], "max_nodes": pool.per_zone[1]}
        else:
            low, high = pool.total or (0, 8)
            bounds = {"min_nodes": low, "max_nodes": high}
        pools.append(
            {
                "name": pool.name,
                "accelerator": pool.accelerator,
                "gpus_per_node": pool.gpus,
                "zones": list(pool.zones),
                "provisioning": pool.provisioning,
                "order": place,
                "bounds": bounds,
                "assumed_lead_s": pool.provision_s[1] + pool.boot_s[1],
            }
        )
    return Policy.model_validate(
        {
            "version": 1,
            "mode": Mode.DIRECT,
            "control": {"interval_s": INTERVAL_S, "window_s": 60, "max_signal_age_s": 120},
            "deployments": [
                {
                    "application": app.id.application,
                    "deployment": app.id.deployment,
                    "limits": {"min_replicas": 1, "max_replicas": 8},
                    "capacity": {"target_ongoing_requests": 4},
                    "placement": {"accelerator": app.accelerator, "tensor_parallel": app.gpus},
                    "lead_time": {"assumed_s": cloud.start_s},
                    "stabilisation": {"downscale_delay_s": 120},
                    "forecast": {"enabled": forecast},
                    **((terms or {}).get(app.id, {})),
                }
                for app in cloud.apps
            ],
            "cluster": {
                "gke": CLUSTER.model_dump(),
                "worker_groups": [
                    {
                        "name": group.name,
                        "accelerator": group.accelerator,
                        "gpus_per_worker": group.gpus,
                        "max_workers": group.most,
                    }
                    for group in cloud.groups
                ],
                "node_pools": pools,
                **cluster,
            },
            **({} if budget is None else {"budget": budget}),
        },
        strict=False,
    )


@dataclass
class TrafficSource:
    """Collector of one kind of source."""

    traffic: Traffic
    kind: SourceKind

    async def collect(self, now: float) -> Sequence[Scrape]:
        self.traffic.advance()
        samples = self.traffic.ray() if self.kind is SourceKind.RAY else self.traffic.haproxy()
        return (Scrape(source=f"{self.kind}/simulated", kind=self.kind, at=now, ok=True, samples=samples),)

    async def close(self) -> None:
        pass


@dataclass
class Controller:
    """Use as ``async with Controller(cloud, loads) as controller: await controller.run(600)``.

    Several may be on one cloud, each with its own ``leadership``; ``store`` outlives them.
    """

    cloud: SimulatedCloud
    loads: Mapping[DeploymentId, Load]
    policy: Policy | None = None
    leadership: Leadership = field(default_factory=Alone)
    store: Store = field(default_factory=MemoryStore)
    kept: Checkpoint = field(default_factory=Checkpoint)
    records: list[TickRecord] = field(default_factory=list)
    traffic: Traffic | None = None
    _exits: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        cloud, clock = self.cloud, self.cloud.clock
        self.policy = self.policy or policy_of(cloud)
        self.traffic = self.traffic or Traffic(cloud.serve, clock, self.loads)
        kube = KubernetesClient(self._connection(), clock=clock, rng=random.Random(cloud.seed))
        self._exits.push_async_callback(kube.close)
        gke = GkeClient(cluster=CLUSTER, endpoint=cloud.gke.base_url, anonymous=True)
        self._exits.push_async_callback(gke.close)
        session = await self._exits.enter_async_context(aiohttp.ClientSession())
        self.loop = self._build(kube, gke, ServeClient(base_url=cloud.rest.base_url, session=session))
        self._exits.push_async_callback(self.loop.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    def export(self, record: TickRecord) -> None:
        self.records.append(record)

    async def run(self, seconds: float) -> list[TickRecord]:
        """Tick for so long by the scaled clock; returns the records of that time."""
        return await self.until(lambda: False, seconds, fails=False)

    async def until(self, seen: Callable[[], object], within_s: float, *, fails: bool = True) -> list[TickRecord]:
        """Tick until something is so."""
        clock, before = self.cloud.clock, len(self.records)
        end = clock.monotonic() + within_s
        while not seen():
            if clock.monotonic() > end:
                assert not fails, f"not so within {within_s:g} s; the last tick said: {self.said()}"
                break
            self.cloud.check()
            next_at = clock.monotonic() + INTERVAL_S
            with clock.at_most(INTERVAL_S):
                await self.loop.tick()
            await clock.sleep(max(0.0, next_at - clock.monotonic()))
        return self.records[before:]

    async def dies_after(self, seen: Callable[[], object], within_s: float = 900.0) -> None:
        """Tick until something of a tick has happened, and die before that tick is recorded."""
        clock = self.cloud.clock
        end = clock.monotonic() + within_s
        while True:
            assert clock.monotonic() < end, self.said()
            tick = asyncio.create_task(self.loop.tick())
            while not tick.done():
                if seen():
                    tick.cancel()
                    await asyncio.gather(tick, return_exceptions=True)
                    return
                await asyncio.sleep(0.005)
            await clock.sleep(INTERVAL_S)

    def as_recorded(self) -> Checkpoint:
        """What a controller after this one finds: the state of the last record that was begun or finished."""
        assert isinstance(self.store, MemoryStore)
        return Checkpoint(state=self.store.state)

    @property
    def began(self) -> float:
        assert self.traffic is not None
        return self.traffic.began

    def said(self) -> str:
        """The last tick in a few words, for a test that fails."""
        if not self.records:
            return "nothing"
        record = self.records[-1]
        lines = [f"{one.decision.id}: {one.decision.current} to {one.decision.desired}" for one in record.deployments]
        cluster = record.cluster
        if cluster is not None:
            lines += [f"{step.name} {step.found} to {step.wanted} ({step.detail})" for step in cluster.steps]
            lines += [f"{one.name} {one.lever} {one.status}: {one.detail}" for one in cluster.outcomes]
            lines += [f"{one.pool} {one.kind}" for one in cluster.verdicts]
            lines += [cluster.plan.held or ""]
        return "; ".join([*lines, *record.degraded])

    # How it is put together

    @property
    def _cluster(self) -> ClusterPolicy:
        assert self.policy is not None
        assert self.policy.cluster is not None
        return self.policy.cluster

    def _connection(self) -> Connection:
        folder = self._exits.enter_context(tempfile.TemporaryDirectory())
        file = Path(folder) / "kubeconfig"
        file.write_text(self.cloud.proxy.kubeconfig(self.cloud.world))
        before = os.environ["KUBECONFIG"]
        os.environ["KUBECONFIG"] = str(file)
        try:
            return connection()
        finally:
            os.environ["KUBECONFIG"] = before

    def _build(self, kube: KubernetesClient, gke: GkeClient, serve: ServeClient) -> ControlLoop:
        cloud, clock = self.cloud, self.cloud.clock
        assert self.policy is not None
        assert self.traffic is not None
        ray = RayClusters(client=kube, namespace=cloud.world)
        warm = WarmCapacityStore(client=kube, namespace=cloud.world, clock=clock)
        bounds = {one.id: (one.limits.min_replicas, one.limits.max_replicas) for one in self.policy.deployments}
        direct = ServeDirectActuator(
            client=serve, clock=clock, limits=bounds.get, timing=Timing(settle_s=5.0, read_back_s=60.0, poll_s=3.0)
        )
        levers = {
            Layer.NODE: (
                WarmCapacityActuator(
                    store=warm,
                    ray=ray,
                    policy=lambda: self._cluster,
                    # It waits for a controller manager, which knows nothing of a faster clock.
                    clock=clock.real,
                    leadership=self.leadership,
                ),
                NodePoolActuator(
                    client=gke,
                    clock=clock,
                    leadership=self.leadership,
                    pools=self._pool,
                    operations=PoolOperations(client=gke, clock=clock),
                ),
            ),
            Layer.WORKER: (RayClusterActuator(client=kube, ray=ray, clock=clock, leadership=self.leadership),),
        }
        log, events = json_log(io.StringIO(), clock), Events()
        histories = DemandHistory()
        histories.restore(self.kept.histories)
        return ControlLoop(
            clock=clock,
            policy=PolicyInForce(source=FixedPolicy(self.policy), advisory=False, log=log, observer=events),
            collection=Collection(
                collectors={
                    "ray": TrafficSource(self.traffic, SourceKind.RAY),
                    "haproxy": TrafficSource(self.traffic, SourceKind.HAPROXY),
                    "serve": ServeStateCollector(client=serve, clock=clock),
                },
                clock=clock,
            ),
            perception=Perception(histories=histories),
            foresight=Foresight(
                AdaptiveForecaster(), FitAtOnce(), ForecastGuard(clock=clock, observer=events, log=log)
            ),
            actuators={Mode.DIRECT: direct},
            journal=Journal(store=self.store, log=log, observer=events),
            exporters=[self],
            observer=events,
            log=log,
            state=self.kept.state,
            last_tick=len(self.records),
            cluster=ClusterParts(
                observer=KubernetesObserver(
                    client=kube, ray=ray, policy=lambda: self._cluster, warm=warm, pools=NodePoolReader(client=gke)
                ),
                levers=levers,
            ),
            leadership=self.leadership,
        )

    def _pool(self, name: str) -> NodePool | None:
        return next((one.pool for one in self._cluster.node_pools if one.name == name), None)


def cluster_of(record: TickRecord) -> ClusterRecord:
    assert record.cluster is not None
    return record.cluster


def of(record: TickRecord, name: DeploymentId) -> DeploymentRecord:
    return next(one for one in record.deployments if one.decision.id == name)


def first(records: Sequence[TickRecord], layer: Layer, lever: str) -> float:
    """When a lever of a layer was first moved to have more."""
    return next(
        record.at
        for record in records
        for step in cluster_of(record).steps
        for outcome in cluster_of(record).outcomes
        if step.layer is layer
        and step.up
        and step.wanted > 1
        and (outcome.name, outcome.lever, outcome.status) == (step.name, lever, OutcomeStatus.APPLIED)
    )
