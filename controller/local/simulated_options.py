"""What a run on a simulated cluster is asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedOptions:
    """What to simulate, how fast, for how long (None: until interrupted), and where to put the report.

    ``clock_speed`` seconds of the cluster pass in each real one, ``speed`` seconds of the trace in each of the
    cluster's. The defaults take the bundled trace up threefold and down again within four minutes.
    """

    policy: Path
    runs: Path = Path(".foreserve/runs")
    port: int = 9900
    trace: str = "day_rise_fall"
    clock_speed: float = 30.0
    speed: float = 3.0
    rate_scale: float = 7.0
    duration_s: float | None = None
    report: Path | None = None
