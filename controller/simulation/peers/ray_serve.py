"""Ray Serve's default autoscaling: Ray's own functions when it is installed, else the same rules.

What reaches the policy is what reaches it in Ray 2.60: the handle notes its queue and the requests at each replica
every 2 s and sends the last 30 s every 10 s; the controller adds the series up, averages the sum over time from the
moment at which every series has begun, and takes the last values to hold until now
(``_private/autoscaling_metrics_merge.py``).
Then ``autoscaling_policy.py`` decides: desired = that average over ``target_ongoing_requests``, and a change must be
wanted for the whole of its delay. Ray's controller looks ten times a second, this one with every sample.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from controller.simulation.observation import Observation
from controller.simulation.state import Floats, Ints

_SAMPLE_S = 2.0
_PUSH_S = 10.0
_LOOK_BACK_S = 30.0
_UPSCALE_DELAY_S = 30.0
_DOWNSCALE_DELAY_S = 600.0
_QUEUE = -1
_NOT_YET = 1e-3
_SLACK_S = 1e-6

Decide = Callable[[float, int, int, float], int]
"""(requests, running replicas, target, now) to the new target."""


class Report(NamedTuple):
    """What a handle sent: series after series. Series ``i`` is ``[offsets[i], offsets[i + 1])``."""

    times: Floats
    values: Floats
    offsets: Ints


Aggregate = Callable[[Report, float], float]
"""A report and now to the mean number of requests."""


class RayServe:
    """Ray Serve with its default delays. ``uses_ray`` tells whether Ray's own code decides."""

    def __init__(self, target: float, *, use_ray: bool = True) -> None:
        self.name = f"ray-serve-{target:g}"
        self.interval_s = _SAMPLE_S
        self.detail = True
        rays = rays_own(target) if use_ray else None
        self.uses_ray = rays is not None
        self._aggregate, self._decide = rays or (mean_of_the_sum, _SameRules(target))
        self._series: dict[int, deque[tuple[float, float]]] = {}
        self._sent: dict[int, tuple[tuple[float, float], ...]] = {}
        self._sent_at = -math.inf

    def target(self, seen: Observation, now: float) -> int:
        """Return the replicas wanted now; those there are before anything was reported."""
        running = [one.replica for one in seen.replicas]
        self._note(seen, now)
        if now - self._sent_at + _SLACK_S >= _PUSH_S:
            self._sent_at = now
            self._sent = {source: tuple(series) for source, series in self._series.items()}
        series = [self._sent[source] for source in (*running, _QUEUE) if source in self._sent]
        requests = self._aggregate(_flat(series), now) if series else 0.0
        return self._decide(requests, seen.ready, seen.target, now)

    def _note(self, seen: Observation, now: float) -> None:
        values = {one.replica: float(one.in_flight) for one in seen.replicas}
        values[_QUEUE] = float(seen.at_the_door)
        self._series = {source: self._series.get(source, deque()) for source in values}
        for source, value in values.items():
            series = self._series[source]
            series.append((now, value))
            while series[0][0] < now - _LOOK_BACK_S:
                series.popleft()


def _flat(series: list[tuple[tuple[float, float], ...]]) -> Report:
    points = np.array([point for one in series for point in one], dtype=np.float64)
    lengths = [len(one) for one in series]
    return Report(points[:, 0].copy(), points[:, 1].copy(), np.concatenate(([0], np.cumsum(lengths))))


def mean_of_the_sum(report: Report, now: float) -> float:
    """Add the series up and average over time, from when all have begun until ``now``."""
    times, values, offsets = report
    begins = offsets[:-1]
    previous = np.concatenate(([0.0], values[:-1]))
    previous[begins] = 0.0
    delta = values - previous
    if len(begins) == 1:
        at, total = times, values
    else:
        changed = delta != 0.0
        at, where = np.unique(np.floor(times[changed] * 100.0 + 0.5) / 100.0, return_inverse=True)
        total = np.cumsum(np.bincount(where, weights=delta[changed], minlength=len(at)))
    if not len(at):
        return 0.0
    left_s = now - at[-1]
    end = at[-1] + (left_s if left_s > 0.0 else _NOT_YET)
    all_begun = float(times[begins].max())
    start = max(all_begun, at[0]) if len(begins) > 1 and all_begun <= at[-1] else at[0]
    edges = np.concatenate(([start], at[at > start], [end]))
    held = total[np.searchsorted(at, edges[:-1], side="right") - 1]
    spans = np.diff(edges)
    return float(held @ spans / spans.sum())


def rays_own(target: float) -> tuple[Aggregate, Decide] | None:
    """Return functions that ask Ray's code, or None where Ray is not installed."""
    try:
        from ray.serve import autoscaling_policy as ray_policy  # noqa: PLC0415 - optional and slow to import
        from ray.serve._private import autoscaling_metrics_merge as merge  # noqa: PLC0415
        from ray.serve._private.common import DeploymentID  # noqa: PLC0415
        from ray.serve.config import AutoscalingConfig, AutoscalingContext  # noqa: PLC0415
    except ImportError:
        return None
    config = AutoscalingConfig(min_replicas=1, max_replicas=10_000, target_ongoing_requests=target)
    state: dict[str, Any] = {}

    def aggregate(report: Report, now: float) -> float:
        return float(merge.merge_and_aggregate_arrays(*report, now, "mean"))

    def decide(requests: float, running: int, current: int, now: float) -> int:
        context = AutoscalingContext(
            deployment_id=DeploymentID(name="simulated", app_name="simulated"),
            deployment_name="simulated",
            app_name="simulated",
            current_num_replicas=running,
            target_num_replicas=current,
            running_replicas=[],
            total_num_requests=requests,
            total_queued_requests=0.0,
            aggregated_metrics={},
            raw_metrics={},
            capacity_adjusted_min_replicas=1,
            capacity_adjusted_max_replicas=10_000,
            policy_state=state,
            last_scale_up_time=None,
            last_scale_down_time=None,
            current_time=now,
            config=config,
        )
        wanted: float
        wanted, _ = ray_policy.replica_queue_length_autoscaling_policy(context)
        if running == 0:
            return math.ceil(wanted)
        scaled = ray_policy._apply_scaling_factors(wanted, running, config)  # noqa: SLF001 - takes the time as an argument
        decided, kept = ray_policy._apply_delay_logic(max(0, scaled), current, config, state, _now=now)  # noqa: SLF001
        state.update(kept)
        return max(1, int(decided))

    return aggregate, decide


class _SameRules:
    """Ray's rules, for where Ray is not installed."""

    def __init__(self, target: float) -> None:
        self._target = target
        self._direction = 0
        self._since = 0.0

    def __call__(self, requests: float, running: int, current: int, now: float) -> int:
        desired = math.ceil(requests / self._target) if running else max(1 if requests > 0 else 0, current)
        if running == 0:
            return desired
        direction = (desired > current) - (desired < current)
        if direction != self._direction:
            self._direction, self._since = direction, now
        delay_s = _UPSCALE_DELAY_S if direction > 0 else _DOWNSCALE_DELAY_S
        if direction == 0 or now - self._since + _SLACK_S < delay_s:
            return current
        self._direction = 0
        return max(1, desired)
