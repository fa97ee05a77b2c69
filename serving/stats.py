"""What a replica tells Serve's autoscaling policy about its engine. The names are shared with ``serving.policies``."""

from __future__ import annotations

RUNNING = "foreserve_running"
"""Requests in the engine's batch."""
WAITING = "foreserve_waiting"
"""Requests that wait for a place in it."""
KV_USAGE = "foreserve_kv_usage"
"""Share of the KV cache in use, 0 to 1."""


def autoscaling_stats(*, running: float, waiting: float, kv_usage: float) -> dict[str, float]:
    """Name the figures for ``record_autoscaling_stats``."""
    return {RUNNING: float(running), WAITING: float(waiting), KV_USAGE: float(kv_usage)}
