"""What forecasts add to a tick: 100 deployments with 3 signals each, on one core.

Run as ``python benchmarks/forecast_speed.py``; prints its own table. Everything a tick does for forecasts is
in it: recording demand, reading what is new of each history, following and scoring, looking back at weeks of
minutes, asking a fitted model, and giving the store its pieces. Lead time and interval are 130 s and 10 s.
Times are of the processor, so that a busy machine does not show.
"""

from __future__ import annotations

import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known
from controller.domain.signals import MEASURED, Signal
from controller.domain.snapshot import Snapshot
from controller.forecast.adaptive import AdaptiveForecaster
from controller.forecast.fitting import fit
from controller.loop.fitting import FitRequest, FitResult
from controller.loop.foresight import LONG_STEP_S, Foresight
from controller.loop.learned import Learned
from controller.loop.perception import Perception
from controller.policy.model import CapacityPrior, DeploymentPolicy, Limits
from controller.window.history import DemandHistory, PackedDay
from tests.records import snapshot

DEPLOYMENTS, SIGNALS = 100, (Signal.REQUESTS, Signal.PREFILL_TOKENS, Signal.DECODE_TOKENS)
INTERVAL_S, HORIZON_S = 10.0, 140.0
DAYS, WARM_TICKS, TICKS = 14, 40, 60
DAY_S = 86_400.0
START = 20_000 * DAY_S


class OneModel:
    """Gives every signal the same fitted model: what is measured is asking it."""

    def __init__(self) -> None:
        self._model = None
        self._asked: FitRequest | None = None

    def offer(self, request: FitRequest) -> bool:
        """Take any request."""
        self._asked = request
        return True

    def poll(self) -> FitResult | None:
        """Return the model."""
        request, self._asked = self._asked, None
        if request is None:
            return None
        if self._model is None:
            self._model = fit(
                request.history, horizon_s=request.horizon_s, probabilities=request.probabilities, seed=request.seed
            )
        return FitResult(request.key, self._model)

    def close(self) -> None:
        """Nothing is under way."""


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    ids = [DeploymentId(f"app{number}", "llm") for number in range(DEPLOYMENTS)]
    rules = [_policy(one) for one in ids]
    foresight, recent = Foresight(AdaptiveForecaster(), OneModel()), DemandHistory()
    minutes = np.arange(DAYS * 1440)
    for one in ids:
        for signal in MEASURED:
            past = rng.poisson(50 + 30 * np.sin(2 * np.pi * minutes / 1440)).astype(np.float32)
            first = round(START / LONG_STEP_S) - past.size
            day = PackedDay(day=0, first_bin=first, end=START, bins=past.tobytes())
            foresight.histories.restore_days(one, signal, [day])
    learned = Learned(Perception(histories=recent), foresight)
    rows: dict[str, list[float]] = {name: [] for name in ("record", "forecasts", "look back, fits", "pieces to store")}
    held: dict = {}
    for tick in range(WARM_TICKS + TICKS):
        now = START + (tick + 1) * INTERVAL_S
        snapshots = [_snapshot(one, now, rng) for one in ids]
        took = [time.thread_time()]
        foresight.record(snapshots)
        for one in snapshots:
            recent.record(one)
        took.append(time.thread_time())
        made = 0
        for one in rules:
            answers, _ = foresight.forecasts(one, SIGNALS, horizon_s=HORIZON_S, history_of=recent.history, now=now)
            made += len(answers)
        took.append(time.thread_time())
        foresight.tend(now)
        took.append(time.thread_time())
        held |= {piece.key: piece.at for piece in learned.pieces(held)}
        took.append(time.thread_time())
        if tick >= WARM_TICKS:
            assert made == DEPLOYMENTS * len(SIGNALS)
            for name, seconds in zip(rows, np.diff(took), strict=True):
                rows[name].append(1e3 * seconds)
    print(f"{DEPLOYMENTS} deployments, {len(SIGNALS)} signals each, {TICKS} ticks")
    print(f"{'step':<18}{'median ms':>10}{'p90 ms':>10}{'max ms':>10}")
    for name, each in [*rows.items(), ("all", [sum(tick) for tick in zip(*rows.values(), strict=True)])]:
        print(f"{name:<18}{statistics.median(each):>10.1f}{np.quantile(each, 0.9):>10.1f}{max(each):>10.1f}")


def _policy(one: DeploymentId) -> DeploymentPolicy:
    return DeploymentPolicy(
        application=one.application,
        deployment=one.deployment,
        limits=Limits(min_replicas=1, max_replicas=8),
        capacity=CapacityPrior(target_ongoing_requests=4),
    )


def _snapshot(one: DeploymentId, now: float, rng: np.random.Generator) -> Snapshot:
    return snapshot(one, at=now, demand={signal: Known(float(rng.poisson(50))) for signal in MEASURED})


if __name__ == "__main__":
    main()
