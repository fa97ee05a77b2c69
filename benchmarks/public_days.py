"""The public traces on the reference cluster, and their oracles, which are kept because they are slow to find."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from controller.load.schedule import scale_rate
from controller.load.trace import read_trace
from controller.simulation.cluster import ClusterSpec, load_cluster
from controller.simulation.demand import Demand
from controller.simulation.oracle import find_oracle, least_static, look_back
from controller.simulation.outcome import Objectives

CLUSTER = Path("manifests/clusters/llama-3.1-8b-rtx4090.yaml")
ATTAINMENT = 0.99
OBJECTIVES = Objectives()


@dataclass(frozen=True, slots=True)
class PublicDay:
    """One request file and how many copies of it are laid over each other."""

    name: str
    file: str
    scale: float

    def demand(self, traces: Path) -> Demand:
        """Read it as ``foreserve replay --scale`` does."""
        trace = read_trace(traces / "requests" / self.file)
        times, rows = scale_rate(trace.t_s, self.scale, trace.length_s, np.random.default_rng([0, 0]))
        return Demand(
            arrival_s=times,
            prompt_tokens=trace.prompt_tokens[rows],
            output_tokens=trace.output_tokens[rows],
            length_s=trace.length_s,
        )


PUBLIC_DAYS = (
    PublicDay("azure_conv", "azure_conv_2023.csv.gz", 3.0),
    PublicDay("sg_mid", "sg_mid_d8.csv.gz", 2.0),
    PublicDay("sg_largeA", "sg_largeA_d6.csv.gz", 2.0),
    PublicDay("flash_wc98", "flash_wc98_jun10.csv.gz", 3.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What policies of one day are measured against: GPU-hours of the oracle by seed, and the fleet to begin with."""

    static: int
    oracle_gpu_hours: dict[str, float]


def reference_cluster() -> ClusterSpec:
    """Read the cluster that the bars are set on."""
    return load_cluster(CLUSTER)


def yardstick(name: str, demand: Demand, cluster: ClusterSpec, *, seeds: int, kept: Path) -> Yardstick:
    """Find the oracles of seeds 1 to ``seeds``, or read them from the folder ``kept`` when they were found before."""
    file = kept / f"oracle-{name}-{len(demand)}-{demand.length_s:.0f}s-{seeds}.json"
    if file.exists():
        return Yardstick(**json.loads(file.read_text()))
    hindsight = look_back(demand, cluster, objectives=OBJECTIVES)
    static = least_static(hindsight, demand, cluster, objectives=OBJECTIVES, attainment=ATTAINMENT)
    found = Yardstick(
        static=static,
        oracle_gpu_hours={
            str(seed): find_oracle(
                hindsight, demand, cluster, seed=seed, objectives=OBJECTIVES, attainment=ATTAINMENT
            ).run.cost.gpu_hours
            for seed in range(1, seeds + 1)
        },
    )
    kept.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(found)))
    return found
