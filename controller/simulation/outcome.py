"""What a policy cost and what its users got."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.simulation.fleet import Fleet
from controller.simulation.state import SERVED, Floats, Rows

TTFT_OBJECTIVE_S = 2.0
TPOT_OBJECTIVE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What each request is promised, in seconds."""

    ttft_s: float = TTFT_OBJECTIVE_S
    tpot_s: float = TPOT_OBJECTIVE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """GPU hours in which nothing was served."""

    starting: float
    idle_ready: float
    draining: float
    """Between being given up and being gone; some of it still serves."""
    idle_nodes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """GPU hours from order to end, and where they went."""

    gpu_hours: float
    waste: Waste


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What users got. Shares are of all requests, those never served counting as missed; times are in seconds."""

    requests: int
    slo_attainment: float
    ttft_attainment: float
    tpot_attainment: float
    ttft_p50_s: float
    ttft_p95_s: float
    ttft_p99_s: float
    tpot_p50_s: float
    tpot_p99_s: float
    unserved: int


def ttft_s(requests: Rows) -> Floats:
    """Time to first token of each request; infinite without one."""
    times: Floats = np.where(requests.first >= 0.0, requests.first - requests.arrival, np.inf)
    return times


def tpot_s(requests: Rows) -> Floats:
    """Mean time per further output token of each request; 0 for one token, infinite when never served."""
    spans = (requests.finish - requests.first) / np.maximum(requests.output - 1, 1)
    times: Floats = np.where(requests.status == SERVED, spans, np.inf)
    return times


def met(requests: Rows, objectives: Objectives) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which requests got what they were promised."""
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]] = (ttft_s(requests) <= objectives.ttft_s) & (
        tpot_s(requests) <= objectives.tpot_s
    )
    return kept


def service_of(requests: Rows, objectives: Objectives) -> Service:
    """Summarise finished requests."""
    ttft, tpot = ttft_s(requests), tpot_s(requests)
    served = requests.status == SERVED
    known = ttft[np.isfinite(ttft)]
    p50, p95, p99 = np.percentile(known, [50, 95, 99]) if len(known) else (np.nan,) * 3
    tpot_p50, tpot_p99 = np.percentile(tpot[served], [50, 99]) if served.any() else (np.nan,) * 2
    return Service(
        requests=len(requests),
        slo_attainment=float(met(requests, objectives).mean()),
        ttft_attainment=float((ttft <= objectives.ttft_s).mean()),
        tpot_attainment=float((tpot <= objectives.tpot_s).mean()),
        ttft_p50_s=float(p50),
        ttft_p95_s=float(p95),
        ttft_p99_s=float(p99),
        tpot_p50_s=float(tpot_p50),
        tpot_p99_s=float(tpot_p99),
        unserved=int(np.count_nonzero(~served)),
    )


def cost_of(fleet: Fleet) -> Cost:
    """Count GPU hours up to now; call after ``Fleet.finish``."""
    now = fleet.now
    total = starting = idle = draining = 0.0
    for life in fleet.lifetimes:
        end = now if life.gone_at is None else life.gone_at
        ready = min(life.ready_at, end)
        total += end - life.ordered_at
        starting += ready - life.ordered_at
        idle += max(0.0, end - ready - life.busy_s)
        draining += 0.0 if life.stopped_at is None else end - life.stopped_at
    gpus = fleet.cluster.replica.gpus
    idle_nodes = fleet.idle_node_gpu_s
    return Cost(
        gpu_hours=(total * gpus + idle_nodes) / 3600.0,
        waste=Waste(
            starting=starting * gpus / 3600.0,
            idle_ready=idle * gpus / 3600.0,
            draining=draining * gpus / 3600.0,
            idle_nodes=idle_nodes / 3600.0,
        ),
    )
