"""KEDA as LLM stacks ship it: scale on ``sum(vllm:num_requests_waiting)`` with a threshold per replica.

Threshold 5 is the default of the vLLM production stack's chart. KEDA hands the metric to an HPA with its defaults.
"""

from __future__ import annotations

from controller.simulation.observation import Observation
from controller.simulation.peers.hpa import Hpa


def waiting(seen: Observation) -> float:
    """Requests waiting in the engines."""
    return float(seen.waiting)


def keda(threshold: float) -> Hpa:
    """Return an HPA on waiting requests."""
    return Hpa(threshold, metric=waiting, name=f"keda-waiting-{threshold:g}")
