"""A vLLM plugin for small machines: the engine and its worker nap while they wait for each other.

vLLM's two processes hand work over through shared memory, and each spins on it for a second after the last message.
That saves microseconds on a server; on two cores, one busy replica then takes both of them just by waiting, and a
second replica adds nothing. Here each turn of the spin is a short sleep instead.

The spin time itself must stay: the notification that ends a longer wait may be dropped while messages are frequent.

vLLM loads this in every engine process through the entry point group ``vllm.general_plugins``; it does nothing unless
``FORESERVE_QUIET_ENGINE=1``.
"""

from __future__ import annotations

import os
import time

SWITCH = "FORESERVE_QUIET_ENGINE"
NAP_S = 0.0003


def register() -> None:
    """Make vLLM's shared-memory queues sleep instead of spin, where the switch is on."""
    if os.environ.get(SWITCH) != "1":
        return
    from vllm.distributed.device_communicators import shm_broadcast  # noqa: PLC0415 - vLLM only

    shm_broadcast.sched_yield = lambda: time.sleep(NAP_S)
