"""Work that engines have not begun, read from their queues."""

from __future__ import annotations

import numpy as np
from numba import njit

from controller.simulation import state as table
from controller.simulation.state import Ints, State


@njit(cache=True)
def unread_prompts(state: State) -> Ints:
    """Return each slot's prompt tokens that no iteration has read yet."""
    requests, slots = state.requests, state.slots
    unread = np.zeros(len(slots.state), dtype=np.int64)
    for slot in range(len(slots.state)):
        for place in range(slots.prefilling[slot]):
            request = state.prefillers[slot, place]
            unread[slot] += requests.prompt[request] + requests.generated[request] - requests.prefilled[request]
        request = slots.head[slot]
        while request >= 0:
            if requests.status[request] == table.WAITING:
                unread[slot] += requests.prompt[request] + requests.generated[request]
            request = requests.link[request]
    return unread
