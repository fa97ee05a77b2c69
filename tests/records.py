"""Builders of snapshots and records, with a plain value for everything a test does not name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.codec import HistoryEntry
from controller.domain.cluster import LayerOutcome, LayerStep
from controller.domain.cluster_record import ClusterRecord, GroupSeen, LayerNeed, PoolSeen
from controller.domain.forecast import Forecast, ForecastStanding, LayerLead, LeadSource, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Piece, PieceKey, Tail
from controller.domain.layer import Layer
from controller.domain.placement import ClusterPlan, GroupTarget, Obstacle, PoolTarget, Unplaced
from controller.domain.plan import (
    Action,
    BudgetUse,
    Capacity,
    CapacitySource,
    Decision,
    Order,
    Outcome,
    OutcomeStatus,
    Reason,
    Step,
)
from controller.domain.pools import Accelerator, PoolStatus, PoolVerdict, Provisioning, VerdictKind
from controller.domain.reading import Known, Unknown
from controller.domain.record import DeploymentRecord, PolicyTerms, TickRecord
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.signals import Signal
from controller.domain.snapshot import Latency, ReplicaCounts, Snapshot
from controller.domain.supply import Leg, LegTime, Standing, SupplyLead, SupplyOrder, SupplyStatus

CHAT = DeploymentId("chat", "LLMServer:tiny")
EMBED = DeploymentId("embed", "Embedder")

FRESH = (
    SourceHealth(source="haproxy/10.0.0.3:9101", kind=SourceKind.HAPROXY, age_s=0.4, stale=False),
    SourceHealth(source="ray/10.0.0.3:8080", kind=SourceKind.RAY, age_s=0.5, stale=False),
    SourceHealth(source="serve/10.0.0.3:8265", kind=SourceKind.SERVE, age_s=0.1, stale=False),
)


def snapshot(deployment: DeploymentId = CHAT, **changes: Any) -> Snapshot:
    fields: dict[str, Any] = {
        "at": 1000.0,
        "id": deployment,
        "target_replicas": 2,
        "config_replicas": 1,
        "config_digest": "d1",
        "replicas": ReplicaCounts(ready=1, starting=1, stopping=0),
        "status": "HEALTHY",
        "demand": {
            Signal.ONGOING_REQUESTS: Known(6.0, 0.5),
            Signal.REQUESTS: Known(3.0, 0.5),
            Signal.PREFILL_TOKENS: Known(400.0, 0.5),
            Signal.DECODE_TOKENS: Unknown("no vLLM series"),
        },
        "queued_requests": Known(2.0, 0.5),
        "shed_per_s": Known(0.0, 0.5),
        "errors_per_s": Known(0.0, 0.5),
        "kv_cache_usage": Unknown("absent"),
        "latency": Latency(
            ttft_p50_s=Known(0.2), ttft_p95_s=Known(0.9), itl_p50_s=Known(0.01), itl_p95_s=Unknown("too few tokens")
        ),
        "idle": False,
        "startup_p90_s": Unknown("none seen"),
        "sources": FRESH,
    }
    return Snapshot(**{**fields, **changes})


def decision(deployment: DeploymentId = CHAT, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "id": deployment,
        "current": 2,
        "desired": 3,
        "action": Action.SCALE_UP,
        "binding": Reason.FORECAST,
        "steps": (Step("size", 4, Reason.FORECAST, "12.0 / 3.0"), Step("limit", 3, Reason.MAX_STEP_UP)),
        "lead": LeadTime(
            p50_s=30.0,
            p90_s=40.0,
            p95_s=45.0,
            source=LeadSource.MEASURED,
            samples=4,
            layers=(LayerLead(layer=Layer.REPLICA, p50_s=30.0, p90_s=40.0, p95_s=45.0, source=LeadSource.MEASURED),),
        ),
        "capacity": Capacity(per_replica={Signal.ONGOING_REQUESTS: 3.0}, source=CapacitySource.POLICY),
        "forecasts": (
            Forecast(
                signal=Signal.ONGOING_REQUESTS,
                at=1000.0,
                horizon_s=50.0,
                quantiles=((0.1, 5.0), (0.5, 7.0), (0.9, 12.0)),
                method="damped_trend",
                history_s=600.0,
            ),
        ),
    }
    return Decision(**{**fields, **changes})


def standing(**changes: Any) -> ForecastStanding:
    fields: dict[str, Any] = {
        "signal": Signal.ONGOING_REQUESTS,
        "horizon_s": 120.0,
        "probability": 0.9,
        "coverage": 0.91,
        "pinball_loss": 0.4,
        "bias": 1.5,
        "horizons": 40.0,
        "trusted": True,
        "method": "smoothing_2",
        "fitted_at": 400.0,
    }
    return ForecastStanding(**{**fields, **changes})


def deployment_record(deployment: DeploymentId = CHAT, **changes: Any) -> DeploymentRecord:
    fields: dict[str, Any] = {
        "snapshot": snapshot(deployment),
        "decision": decision(deployment),
        "outcome": Outcome(id=deployment, status=OutcomeStatus.APPLIED, attempts=1, duration_s=0.05),
        "terms": PolicyTerms(
            min_replicas=1, max_replicas=4, ttft_s=2.0, itl_s=0.1, quantile=0.9, quantile_from="the default"
        ),
        "standings": (standing(),),
    }
    return DeploymentRecord(**{**fields, **changes})


def record(*deployments: DeploymentRecord, **changes: Any) -> TickRecord:
    fields: dict[str, Any] = {
        "tick": 7,
        "at": 1000.0,
        "policy_version": "0123456789ab",
        "mode": "direct",
        "deployments": deployments or (deployment_record(),),
        "sources": FRESH,
        "ledger": (Order(id=CHAT, ordered_at=1000.0, from_replicas=2, to_replicas=3, deadline=1045.0),),
        "budget": (BudgetUse(resource="gpus", limit=8.0, held=2.0, wanted=3.0),),
        "step_seconds": (("collect", 0.2), ("decide", 0.01)),
    }
    return TickRecord(**{**fields, **changes})


@dataclass
class Kept:
    """What is to outlive the process, as the store asks for it: whole histories every time, all pieces once."""

    histories: Sequence[HistoryEntry] = ()
    learned: Sequence[Piece] = ()

    def tails(self, _held_until: Callable[[DeploymentId, Signal], float | None]) -> Sequence[Tail]:
        return [Tail(deployment=one, signal=of, begins=past.start, history=past) for one, of, past in self.histories]

    def pieces(self, held: Mapping[PieceKey, float]) -> Sequence[Piece]:
        return [piece for piece in self.learned if held.get(piece.key, -1.0) < piece.at]


NOTHING_KEPT = Kept()


def cluster_record(**changes: Any) -> ClusterRecord:
    """A pool that refuses, one with nodes on their way, and a replica without a place."""
    lead = LeadTime(p50_s=200.0, p90_s=240.0, p95_s=300.0, source=LeadSource.MEASURED, samples=4)
    order = SupplyOrder(
        layer=Layer.NODE, key="l4", ordered_at=940.0, target=3, count=1, expected_at=1180.0, deadline=1240.0
    )
    fields: dict[str, Any] = {
        "pools": tuple(
            PoolSeen(
                pool=name,
                accelerator=Accelerator("nvidia-l4"),
                gpus_per_node=1,
                provisioning=Provisioning.ON_DEMAND,
                order=place,
                price_per_hour=0.7,
                status=PoolStatus.RUNNING,
                most=4,
                ready=2,
                starting=0,
                draining=0,
                in_use=2,
                coming=1,
                warm=1,
                operation=None,
                node=lead,
                worker=lead,
            )
            for place, name in enumerate(("l4", "spot"))
        ),
        "groups": (GroupSeen(group="l4", min_workers=2, max_workers=3, ready=2, starting=0, busy=2, pending=1),),
        "needs": (LayerNeed(id=CHAT, layer=Layer.NODE, due_s=400.0, replicas=4, detail="12.0 / 3.0 → 4"),),
        "plan": ClusterPlan(
            pools=(PoolTarget(pool="l4", nodes=3, present=2, in_use=2, coming=1, new=0, vacant=1),),
            groups=(GroupTarget(group="l4", min_workers=2, max_workers=3, present=2, busy=2),),
            unplaced=(
                Unplaced(id=CHAT, replicas=1, obstacle=Obstacle.STOCKED_OUT, detail="spot: stocked out (GCE_STOCKOUT)"),
            ),
            late=((CHAT, 1),),
            housed=((CHAT, 2),),
            binding=("spot: stocked out (GCE_STOCKOUT)",),
        ),
        "steps": (
            LayerStep(
                layer=Layer.NODE, name="l4", found=2, wanted=3, up=True, detail="1 more than the 2 there", vacant=1
            ),
        ),
        "outcomes": (
            LayerOutcome(
                layer=Layer.NODE,
                name="l4",
                status=OutcomeStatus.APPLIED,
                lever="balloon",
                detail="keeps 0 → 1",
                attempts=1,
            ),
        ),
        "standings": (Standing(order=order, status=SupplyStatus.PENDING, wanted=1, created=0, ready=0),),
        "verdicts": (
            PoolVerdict(pool="spot", kind=VerdictKind.STOCKED_OUT, since=900.0, until=1200.0, detail="GCE_STOCKOUT"),
        ),
        "leads": (
            SupplyLead(
                pool="l4",
                layer=Layer.NODE,
                lead=lead,
                legs=(LegTime(leg=Leg.BOOT, p50_s=100.0, p90_s=120.0, p95_s=150.0, samples=4),),
            ),
        ),
        "solve_s": 0.03,
    }
    return ClusterRecord(**{**fields, **changes})
