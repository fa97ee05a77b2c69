"""Ray Serve's default autoscaling policy: Ray's own functions when it is installed, else the same rules.

The rules are those of ``ray/serve/autoscaling_policy.py`` (Ray 2.60): desired = requests in the system, averaged over
the look-back period, over ``target_ongoing_requests``; a change must be wanted for the whole of its delay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from controller.simulation.observation import Observation
from controller.simulation.policy import Average

_INTERVAL_S = 5.0
_LOOK_BACK_S = 30.0
_UPSCALE_DELAY_S = 30.0
_DOWNSCALE_DELAY_S = 600.0

_Decide = Callable[[float, int, int, float], int]
"""(requests, running replicas, target, now) to the new target."""


class RayServe:
    """Ray Serve with its default delays. ``uses_ray`` tells whether Ray's own code decides."""

    def __init__(self, target: float, *, use_ray: bool = True) -> None:
        self.name = f"ray-serve-{target:g}"
        self.interval_s = _INTERVAL_S
        self._average = Average(_LOOK_BACK_S)
        own = rays_own(target) if use_ray else None
        self.uses_ray = own is not None
        self._decide: _Decide = own or _SameRules(target)

    def target(self, seen: Observation, now: float) -> int:
        """Return the replicas wanted now."""
        requests = self._average.over(now, seen.in_flight_seconds)
        if requests is None:
            return seen.target
        return self._decide(requests, seen.ready, seen.target, now)


def rays_own(target: float) -> _Decide | None:
    """Return a function that asks Ray's code, or None where Ray is not installed."""
    try:
        from ray.serve import autoscaling_policy as ray_policy  # noqa: PLC0415 - optional and slow to import
        from ray.serve._private.common import DeploymentID  # noqa: PLC0415
        from ray.serve.config import AutoscalingConfig, AutoscalingContext  # noqa: PLC0415
    except ImportError:
        return None
    config = AutoscalingConfig(min_replicas=1, max_replicas=10_000, target_ongoing_requests=target)
    state: dict[str, Any] = {}

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

    return decide


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
        if direction == 0 or now - self._since + 1e-6 < delay_s:
            return current
        self._direction = 0
        return max(1, desired)
