"""A vLLM plugin for small machines: the engine and its worker nap while they wait for each other.

vLLM's two processes hand work over through shared memory, and each spins on it for a second after the last message.
That saves microseconds on a server. On two cores, one busy replica takes both of them just by waiting, and a second
replica adds nothing. Here each turn of the spin is a nap of ``FORESERVE_QUIET_ENGINE`` seconds instead.

A nap of some milliseconds also makes a tiny model behave like a large one: each step of the engine takes a while in
which the CPU is free, as it is while a GPU computes, so a replica is full at a load that a small machine can send,
and two replicas carry twice as much as one. The engine, its scheduler and its batches stay the real ones.

The spin time itself must stay: the notification that ends a longer wait may be dropped while messages are frequent.

vLLM loads this in every engine process through the entry point group ``vllm.general_plugins``; it does nothing unless
the variable is set.
"""

from __future__ import annotations

import os
import time

SWITCH = "FORESERVE_QUIET_ENGINE"


def register() -> None:
    """Make vLLM's shared-memory queues nap instead of spin, where the variable is set."""
    seconds = os.environ.get(SWITCH)
    if not seconds:
        return
    from vllm.distributed.device_communicators import shm_broadcast  # noqa: PLC0415 - vLLM only

    nap_s = float(seconds)
    shm_broadcast.sched_yield = lambda: time.sleep(nap_s)
