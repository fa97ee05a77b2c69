"""The control loop in virtual time around simulated deployments on a simulated cluster."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controller.actuators.approval import ApprovalActuator, LayerConsent
from controller.domain.approval import ProposalStatus
from controller.domain.cluster_record import ClusterRecord
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Checkpoint
from controller.domain.layer import Layer
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.scrape import SourceKind
from controller.export.log import json_log
from controller.forecast.adaptive import AdaptiveForecaster
from controller.interventions.approvals import ApprovalBoard
from controller.interventions.copied import CopiedShelf
from controller.loop.cluster import ClusterParts
from controller.loop.collection import Collection
from controller.loop.control import ControlLoop
from controller.loop.forecast_guard import ForecastGuard
from controller.loop.foresight import FitAtOnce, Foresight
from controller.loop.journal import Journal
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce
from controller.policy.model import Mode, Policy
from controller.ports import Leadership
from controller.window.history import DemandHistory
from tests.clocks import VirtualClock
from tests.scenarios.ground import (
    FleetActuator,
    FleetSource,
    PlacedDeployment,
    SimulatedCluster,
    SimulatedGroup,
    SimulatedLever,
    SimulatedPool,
)
from tests.scenarios.simulated import CHAT
from tests.scenarios.world import START, Events, FixedPolicy, MemoryStore

INTERVAL_S = 10.0
CODE = DeploymentId("code", "LLMServer:coder")

Load = Callable[[float], float]


def cluster_policy(
    *deployments: DeploymentId,
    pools: Sequence[Mapping[str, Any]] = ({"name": "l4"},),
    gpus: int = 1,
    worker_gpus: int = 1,
    mode: Mode = Mode.DIRECT,
    forecast: bool = False,
    terms: Mapping[DeploymentId, Mapping[str, Any]] | None = None,
    **sections: Any,
) -> Policy:
    """Four requests per replica; each pool has ten nodes at most, nothing is lowered before a minute has passed.

    Without a forecast every layer follows what is measured, so that numbers can be told beforehand.
    """
    return Policy.model_validate(
        {
            "version": 1,
            "mode": mode,
            "control": {"interval_s": INTERVAL_S, "window_s": 30, "max_signal_age_s": 30},
            "deployments": [
                {
                    "application": one.application,
                    "deployment": one.deployment,
                    "limits": {"min_replicas": 1, "max_replicas": 8},
                    "capacity": {"target_ongoing_requests": 4},
                    "placement": {"accelerator": "nvidia-l4", "tensor_parallel": gpus},
                    "lead_time": {"assumed_s": 60},
                    "forecast": {"enabled": forecast},
                    "stabilisation": {"downscale_delay_s": 60},
                    **((terms or {}).get(one, {})),
                }
                for one in deployments or (CHAT,)
            ],
            "cluster": {
                "worker_groups": [
                    {"name": "l4", "accelerator": "nvidia-l4", "gpus_per_worker": worker_gpus, "max_workers": 20}
                ],
                "node_pools": [
                    {
                        "accelerator": "nvidia-l4",
                        "gpus_per_node": worker_gpus,
                        "zones": ["a"],
                        "bounds": {"max_nodes": 10},
                        "assumed_lead_s": 300,
                        **pool,
                    }
                    for pool in pools
                ],
                **sections.pop("cluster", {}),
            },
            **sections,
        },
        strict=False,
    )


class ClusterWorld:
    """Builds the loop around a simulated cluster with one node for each deployment's first replica."""

    def __init__(
        self,
        loads: Mapping[DeploymentId, Load],
        *,
        policy: Policy | None = None,
        pools: Sequence[SimulatedPool] | None = None,
        worker_gpus: int = 1,
        gpus: int = 1,
        advisory: bool = False,
        leadership: Leadership | None = None,
        nodes: int | None = None,
    ) -> None:
        self.clock = VirtualClock(START)
        self.policy = policy or cluster_policy(*loads)
        group = SimulatedGroup("l4", gpus=worker_gpus, most=20)
        self.cluster = SimulatedCluster(self.clock, list(pools or [SimulatedPool("l4", gpus=worker_gpus)]), [group])
        for _ in range(len(loads) if nodes is None else nodes):
            self.cluster.add_node(self.cluster.pools[0].name)
        for name, load in loads.items():
            deployment = PlacedDeployment(self.clock, _since_start(load), start_s=60.0, id=name, gpus=gpus)
            deployment.begin_with(self.cluster, 1)
        self.serve = FleetActuator(self.cluster)
        self.store = MemoryStore()
        self.events = Events()
        self.records: list[TickRecord] = []
        self.nodes = SimulatedLever(self.cluster, Layer.NODE)
        self.workers = SimulatedLever(self.cluster, Layer.WORKER)
        self.board = ApprovalBoard(shelf=CopiedShelf(), clock=self.clock, policy=lambda: self.policy)
        self._advisory = advisory
        self._leadership = leadership
        self.start_loop()

    def start_loop(self, kept: Checkpoint | None = None, *, last_tick: int = 0) -> None:
        """Begin anew, as after a restart, with what was kept."""
        kept = kept or Checkpoint()
        log = json_log(io.StringIO(), self.clock)
        histories = DemandHistory()
        histories.restore(kept.histories)
        fleet = self.cluster.deployments
        self.loop = ControlLoop(
            clock=self.clock,
            policy=PolicyInForce(
                source=FixedPolicy(self.policy), advisory=self._advisory, log=log, observer=self.events
            ),
            collection=Collection(
                collectors={
                    str(kind): FleetSource(fleet, kind)
                    for kind in (SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE)
                },
                clock=self.clock,
            ),
            perception=Perception(histories=histories),
            foresight=Foresight(
                AdaptiveForecaster(), FitAtOnce(), ForecastGuard(clock=self.clock, observer=self.events, log=log)
            ),
            actuators={
                Mode.DIRECT: self.serve,
                Mode.ADVISORY: FleetActuator(self.cluster, advisory=True),
                Mode.APPROVE: ApprovalActuator(inner=self.serve, board=self.board),
            },
            journal=Journal(store=self.store, log=log, observer=self.events),
            exporters=[self, self.board],
            observer=self.events,
            log=log,
            state=kept.state,
            last_tick=last_tick,
            cluster=ClusterParts(
                observer=self.cluster, levers={Layer.NODE: (self.nodes,), Layer.WORKER: (self.workers,)}
            ),
            leadership=self._leadership,
            consent=LayerConsent(board=self.board),
            act_within_s=0.05,
        )

    def export(self, record: TickRecord) -> None:
        self.records.append(record)

    async def run(self, seconds: float) -> list[TickRecord]:
        """Tick for so long; returns the records of that time."""
        before = len(self.records)
        for _ in range(round(seconds / INTERVAL_S)):
            await self.loop.attempt()
            for deployment in self.cluster.deployments[:1]:
                deployment.advance(INTERVAL_S)
            for deployment in self.cluster.deployments[1:]:
                deployment.advance(0.0)
            self.cluster.advance()
        return self.records[before:]

    async def until(self, seen: Callable[[], object], within_s: float) -> list[TickRecord]:
        """Tick until something is so; returns the records of that time."""
        before, end = len(self.records), self.clock.now() + within_s
        while not seen():
            assert self.clock.now() < end, f"not so within {within_s:g} s"
            await self.run(INTERVAL_S)
        return self.records[before:]

    async def scaled_out(self, replicas: int = 4, name: DeploymentId = CHAT, *, within_s: float = 900.0) -> None:
        """Tick until so many replicas run: a node takes 300 s, a worker 30 s, a replica 60 s."""
        await self.until(lambda: self.deployment(name).running >= replicas, within_s)

    def asked(self) -> dict[str, str]:
        """Ids of the proposals that nobody has answered, by what is to change."""
        return {one.subject: one.id for one in self.board.proposals() if one.status is ProposalStatus.OPEN}

    def deployment(self, name: DeploymentId = CHAT) -> PlacedDeployment:
        return next(one for one in self.cluster.deployments if one.id == name)

    def set_to(self, layer: Layer, name: str) -> list[tuple[float, int]]:
        """Targets of a layer that were written, with the seconds since the start."""
        return [
            (at - START, step.wanted) for at, step in self.cluster.writes if step.layer is layer and step.name == name
        ]


def cluster_of(record: TickRecord) -> ClusterRecord:
    assert record.cluster is not None
    return record.cluster


def of(record: TickRecord, name: DeploymentId = CHAT) -> DeploymentRecord:
    return next(one for one in record.deployments if one.decision.id == name)


def _since_start(load: Load) -> Load:
    return lambda at: load(at - START)
