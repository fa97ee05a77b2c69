"""What only waits: requests in flight that would not be, were all served as they arrive."""

from __future__ import annotations

import math
from dataclasses import replace

from controller.domain.reading import Known
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.planner.capacity.mix import token_mix


def with_run_time(memory: DeploymentMemory, snapshot: Snapshot) -> DeploymentMemory:
    """Remember how long a request runs once it is admitted, the least of it since requests began to wait.

    By Little's law ``running`` requests, of which some number is admitted a second, each run for running / admitted.
    An engine that is overloaded for long admits next to nothing, so what it showed before counts.
    """
    waiting = snapshot.queued_requests
    if not isinstance(waiting, Known):
        return memory
    if waiting.value <= 0.0:
        return replace(memory, run_s=None)
    means = token_mix(memory.capacity.mix) if memory.capacity else None
    in_flight, prefill = snapshot.reading(Signal.ONGOING_REQUESTS), snapshot.reading(Signal.PREFILL_TOKENS)
    if means is None or not isinstance(in_flight, Known) or not isinstance(prefill, Known):
        return memory
    running, admitted = max(0.0, in_flight.value - waiting.value), prefill.value / means.prompt_tokens
    if running <= 0.0 or admitted <= 0.0:
        return memory
    known_s = math.inf if memory.run_s is None else memory.run_s
    return replace(memory, run_s=min(known_s, running / admitted))


def backlog(snapshot: Snapshot, memory: DeploymentMemory) -> float:
    """Requests in flight that wait beyond what the present arrivals explain; 0 where that cannot be told.

    Were all admitted as they arrive, arrivals x run time would be in flight. What waits beyond that was piled up while
    there were too few replicas: by the time that others are ready it has drained or given up.
    """
    readings = (snapshot.reading(Signal.ONGOING_REQUESTS), snapshot.reading(Signal.REQUESTS), snapshot.queued_requests)
    known = [one.value for one in readings if isinstance(one, Known)]
    if memory.run_s is None or len(known) < len(readings):
        return 0.0
    in_flight, arrivals, waiting = known
    running = max(0.0, in_flight - waiting)
    return min(waiting, max(0.0, in_flight - max(running, arrivals * memory.run_s)))
