"""The best reasonable setting of each peer on the public traces: the cheapest that keeps the attainment on all of them.

    python -m benchmarks.peer_tuning --traces DIR [--kept DIR] [--hours 6] [--peer hpa --peer kpa]

Each peer's main setting is swept on six hours of each trace (the whole of the shortest), one start-up seed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.public_days import ATTAINMENT, OBJECTIVES, PUBLIC_DAYS, Yardstick, reference_cluster, yardstick
from controller.simulation.cluster import ClusterSpec
from controller.simulation.demand import Demand
from controller.simulation.driver import run_policy
from controller.simulation.peers.catalogue import parse_peers

SWEEPS = {
    "ray-serve": (6, 8, 10, 12),
    "hpa": (10, 12, 14),
    "kpa": (14, 17, 20, 24),
    "aibrix": (8, 10, 12, 14),
    "wva": (0.6, 0.7, 0.85, 1.0),
    "wva-v1": (0.6, 0.7, 0.8),
    "dynamo-kalman": (0.25, 0.27, 0.3),
    "keda": (0.5, 2),
}
_SEED = 1
_BEGINS_S = {"sg_mid": 21_600.0, "flash_wc98": 21_600.0}
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of one trace with what it is measured against."""

    name: str
    demand: Demand
    yardstick: Yardstick


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One setting on all parts: GPU-hours over the oracle's, and attainment."""

    setting: float
    ratios: tuple[float, ...]
    kept: tuple[float, ...]

    @property
    def cost(self) -> float:
        """Geometric mean of the ratios."""
        return math.exp(sum(map(math.log, self.ratios)) / len(self.ratios))


def best(tried: Sequence[Tried]) -> Tried:
    """Return the cheapest that keeps the attainment everywhere; without one, that with the best worst attainment."""
    enough = [one for one in tried if min(one.kept) >= ATTAINMENT]
    return min(enough, key=lambda one: one.cost) if enough else max(tried, key=lambda one: (min(one.kept), -one.cost))


def parts(traces: Path, cluster: ClusterSpec, *, hours: float, kept: Path) -> Iterator[Part]:
    """Cut the parts out of the public traces."""
    for day in PUBLIC_DAYS:
        whole = day.demand(traces)
        begin = _BEGINS_S.get(day.name, 0.0)
        demand = whole.excerpt(begin, begin + hours * _HOUR_S)
        measure = yardstick(f"{day.name}-{begin:.0f}", demand, cluster, seeds=_SEED, kept=kept)
        yield Part(name=day.name, demand=demand, yardstick=measure)


def tried(peer: str, setting: float, on: Sequence[Part], cluster: ClusterSpec) -> Tried:
    """Run one setting on every part."""
    runs = []
    for part in on:
        static = part.yardstick.static
        policy = parse_peers(f"{peer}:{setting:g}")[0].policy(static, cluster, OBJECTIVES)
        runs.append(run_policy(policy, part.demand, cluster, seed=_SEED, initial=static, objectives=OBJECTIVES))
    oracles = [part.yardstick.oracle_gpu_hours[str(_SEED)] for part in on]
    return Tried(
        setting=setting,
        ratios=tuple(run.cost.gpu_hours / oracle for run, oracle in zip(runs, oracles, strict=True)),
        kept=tuple(run.service.slo_attainment for run in runs),
    )


def _line(peer: str, one: Tried, mark: str) -> str:
    cells = "  ".join(f"{ratio:5.2f} ({share:7.2%})" for ratio, share in zip(one.ratios, one.kept, strict=True))
    return f"{peer + ':' + format(one.setting, 'g'):22s} {one.cost:5.2f}  {cells}  {mark}"


def main() -> None:
    """Sweep, printing each setting as it is known, and the best of each peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="folder with requests/*.csv.gz")
    parser.add_argument("--kept", type=Path, default=Path("build/oracles"), help="where oracles are kept")
    parser.add_argument("--hours", type=float, default=6.0, help="of each trace")
    parser.add_argument("--peer", action="append", choices=sorted(SWEEPS), help="only this one; may be repeated")
    options = parser.parse_args()
    cluster = reference_cluster()
    on = list(parts(options.traces, cluster, hours=options.hours, kept=options.kept))
    names = "  ".join(f"{part.name:>15s}" for part in on)
    print(f"{'peer:setting':22s}  mean  {names}", flush=True)
    for peer in options.peer or SWEEPS:
        results = []
        for setting in SWEEPS[peer]:
            results.append(tried(peer, setting, on, cluster))
            print(_line(peer, results[-1], ""), flush=True)
        found = best(results)
        print(_line(peer, found, "<- best" if min(found.kept) >= ATTAINMENT else "<- none keeps it"), flush=True)


if __name__ == "__main__":
    main()
