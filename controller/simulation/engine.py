"""The compiled core: events of a fleet in order of time.

Batches change when a request comes, ends, is admitted or is preempted. Between two changes a replica only
decodes, and each iteration takes a little longer than the one before because contexts grow; so the end of any
number of iterations is known in closed form. Such a stretch is one *segment*, cut short when a request comes.
"""

from __future__ import annotations

import math

from numba import njit

from controller.simulation import state as table
from controller.simulation.state import Floats, Speed, State


@njit(cache=True)
def advance(state: State, speed: Speed, until: float) -> None:
    """Process every event up to ``until``.

    At the same instant an arrival comes before the end of an iteration, and that before a client's patience ends.
    """
    arrivals = state.requests.arrival
    while True:
        slot, at = _next_slot_event(state.slots.event_at)
        arrival = math.inf
        if state.ints[table.ARRIVED] < len(arrivals):
            arrival = arrivals[state.ints[table.ARRIVED]] + speed.overhead
        deadline = _next_deadline(state, speed)
        due = min(at, arrival, deadline)
        if due > until:
            _elapse(state, until)
            return
        _elapse(state, due)
        if arrival == due:
            _arrive(state, speed, due)
        elif at == due:
            _slot_event(state, speed, slot, due)
        else:
            _abandon(state, state.ints[table.NEXT_DEADLINE], due)


@njit(cache=True)
def settle(state: State) -> None:
    """Count what iterations that have ended by now inside running segments have done."""
    slots = state.slots
    now = state.floats[table.NOW]
    for slot in range(len(slots.state)):
        if slots.count[slot] > 1:
            done = min(_iterations_ended(state, slot, now), slots.count[slot] - 1)
            if done > 0:
                _account(state, slot, done)


@njit(cache=True)
def _next_slot_event(event_at: Floats) -> tuple[int, float]:
    slot = -1
    at = math.inf
    for other in range(len(event_at)):
        if event_at[other] < at:
            at = event_at[other]
            slot = other
    return slot, at


@njit(cache=True)
def _next_deadline(state: State, speed: Speed) -> float:
    """End of the patience of the oldest request without a first token."""
    requests, ints = state.requests, state.ints
    while ints[table.NEXT_DEADLINE] < ints[table.ARRIVED]:
        oldest = ints[table.NEXT_DEADLINE]
        settled = requests.first[oldest] >= 0.0 or requests.status[oldest] >= table.ABANDONED
        if not settled:
            return float(requests.arrival[oldest] + speed.abandon)
        ints[table.NEXT_DEADLINE] += 1
    return math.inf


@njit(cache=True)
def _elapse(state: State, to: float) -> None:
    floats = state.floats
    passed = to - floats[table.NOW]
    if passed > 0.0:
        floats[table.IN_FLIGHT_SECONDS] += passed * state.ints[table.IN_FLIGHT]
        floats[table.WAITING_SECONDS] += passed * state.ints[table.WAITING_NOW]
        floats[table.NOW] = to


@njit(cache=True)
def _arrive(state: State, speed: Speed, now: float) -> None:
    ints = state.ints
    request = ints[table.ARRIVED]
    ints[table.ARRIVED] += 1
    ints[table.IN_FLIGHT] += 1
    state.requests.received[request] = now
    slot = _next_replica(state, speed)
    if slot >= 0:
        _assign(state, speed, slot, request, now)
        return
    state.requests.status[request] = table.AT_THE_DOOR
    if ints[table.DOOR_HEAD] < 0:
        ints[table.DOOR_HEAD] = request
    else:
        state.requests.link[ints[table.DOOR_TAIL]] = request
    ints[table.DOOR_TAIL] = request
    ints[table.DOOR_LENGTH] += 1


@njit(cache=True)
def _next_replica(state: State, speed: Speed) -> int:
    """Find the ready replica with the fewest connections, or the one whose turn it is; -1 without any."""
    slots = state.slots
    best = -1
    for slot in range(len(slots.state)):
        if slots.state[slot] != table.RUNNING:
            continue
        fewer = best < 0 or (not speed.round_robin and slots.in_flight[slot] < slots.in_flight[best])
        equal = best >= 0 and (speed.round_robin or slots.in_flight[slot] == slots.in_flight[best])
        if fewer or (equal and slots.assigned[slot] < slots.assigned[best]):
            best = slot
    return best


@njit(cache=True)
def _assign(state: State, speed: Speed, slot: int, request: int, now: float) -> None:
    requests, slots, ints = state.requests, state.slots, state.ints
    if requests.prompt[request] + requests.output[request] - 1 > speed.kv_cap:
        requests.status[request] = table.REFUSED
        ints[table.IN_FLIGHT] -= 1
        ints[table.UNSERVED] += 1
        return
    ints[table.ASSIGNED] += 1
    requests.slot[request] = slot
    requests.replica[request] = slots.replica[slot]
    requests.status[request] = table.WAITING
    slots.assigned[slot] = ints[table.ASSIGNED]
    slots.in_flight[slot] += 1
    slots.waiting[slot] += 1
    ints[table.WAITING_NOW] += 1
    requests.link[request] = -1
    if slots.head[slot] < 0:
        slots.head[slot] = request
    else:
        requests.link[slots.tail[slot]] = request
    slots.tail[slot] = request
    if slots.count[slot] == 0:
        _schedule(state, speed, slot, now)
    elif slots.waiting[slot] == 1:
        _cut(state, slot, now)


@njit(cache=True)
def _slot_event(state: State, speed: Speed, slot: int, now: float) -> None:
    slots = state.slots
    if slots.state[slot] != table.STARTING:
        _end_segment(state, slot, now)
        _schedule(state, speed, slot, now)
        return
    slots.state[slot] = table.RUNNING
    slots.event_at[slot] = math.inf
    _open_the_door(state, speed, now)


@njit(cache=True)
def _open_the_door(state: State, speed: Speed, now: float) -> None:
    requests, ints = state.requests, state.ints
    while ints[table.DOOR_HEAD] >= 0:
        request = ints[table.DOOR_HEAD]
        ints[table.DOOR_HEAD] = requests.link[request]
        if requests.status[request] == table.AT_THE_DOOR:
            ints[table.DOOR_LENGTH] -= 1
            _assign(state, speed, _next_replica(state, speed), request, now)
    ints[table.DOOR_TAIL] = -1


@njit(cache=True)
def _abandon(state: State, request: int, now: float) -> None:
    """Let the client go. An engine notices at the end of its iteration; queues skip the request later."""
    requests, slots, ints = state.requests, state.slots, state.ints
    before = requests.status[request]
    requests.status[request] = table.ABANDONED
    requests.finish[request] = now
    ints[table.IN_FLIGHT] -= 1
    ints[table.UNSERVED] += 1
    if before == table.AT_THE_DOOR:
        ints[table.DOOR_LENGTH] -= 1
        return
    slot = requests.slot[request]
    slots.in_flight[slot] -= 1
    state.counters[slot, table.ABORTED] += 1
    state.counters[slot, table.PROCESSED] += 1
    if before == table.WAITING:
        slots.waiting[slot] -= 1
        ints[table.WAITING_NOW] -= 1
        _cut(state, slot, now)


@njit(cache=True)
def _end_of(state: State, slot: int, iterations: int) -> float:
    """When the segment's first ``iterations`` have ended."""
    slots = state.slots
    more = slots.growth[slot] * (iterations * (iterations - 1) / 2.0)
    return float(slots.began[slot] + iterations * slots.duration[slot] + more)


@njit(cache=True)
def _iterations_ended(state: State, slot: int, now: float) -> int:
    """How many iterations of the segment have ended by ``now``."""
    slots = state.slots
    passed = now - slots.began[slot]
    if passed <= 0.0:
        return 0
    growth = slots.growth[slot]
    linear = slots.duration[slot] - growth / 2.0
    # The root of growth/2 k^2 + linear k = passed, in the form that is stable for small growth.
    ended = int(2.0 * passed / (linear + math.sqrt(linear * linear + 2.0 * growth * passed)))
    while _end_of(state, slot, ended + 1) <= now:
        ended += 1
    while ended > 0 and _end_of(state, slot, ended) > now:
        ended -= 1
    return ended


@njit(cache=True)
def _cut(state: State, slot: int, now: float) -> None:
    """End the segment with the iteration that is running now, so that the batch can change."""
    slots = state.slots
    if slots.count[slot] <= 1 or slots.prefilling[slot] > 0:
        return
    ended = _iterations_ended(state, slot, now)
    if ended == 0 or _end_of(state, slot, ended) < now:
        ended += 1
    if ended < slots.count[slot]:
        slots.count[slot] = ended
        slots.event_at[slot] = _end_of(state, slot, ended)


@njit(cache=True)
def _account(state: State, slot: int, iterations: int) -> None:
    """Move a segment forward by iterations that have ended."""
    slots = state.slots
    decoding = slots.decoding[slot]
    if decoding > 0:
        _count_gaps(state, slot, iterations)
        slots.steps[slot] += iterations
        slots.context[slot] += iterations * decoding
        slots.kv[slot] += iterations * decoding
        state.counters[slot, table.GENERATION_TOKENS] += iterations * decoding
    state.counters[slot, table.ITERATIONS] += iterations
    ended = _end_of(state, slot, iterations)
    slots.busy[slot] += ended - slots.began[slot]
    slots.began[slot] = ended
    slots.duration[slot] += iterations * slots.growth[slot]
    slots.count[slot] -= iterations


@njit(cache=True)
def _count_gaps(state: State, slot: int, iterations: int) -> None:
    slots, bounds = state.slots, state.itl_bounds
    first = _bucket(bounds, slots.duration[slot])
    if _bucket(bounds, slots.duration[slot] + (iterations - 1) * slots.growth[slot]) == first:
        state.itl[slot, first] += iterations * slots.decoding[slot]
        return
    for iteration in range(iterations):
        place = _bucket(bounds, slots.duration[slot] + iteration * slots.growth[slot])
        state.itl[slot, place] += slots.decoding[slot]


@njit(cache=True)
def _bucket(bounds: Floats, value: float) -> int:
    for place in range(len(bounds)):
        if value <= bounds[place]:
            return place
    return len(bounds)


@njit(cache=True)
def _end_segment(state: State, slot: int, now: float) -> None:
    slots = state.slots
    _account(state, slot, slots.count[slot])
    _finish_decoders(state, slot, now)
    if slots.prefilling[slot] > 0:
        _advance_prefillers(state, slot, now)


@njit(cache=True)
def _finish_decoders(state: State, slot: int, now: float) -> None:
    requests, slots = state.requests, state.slots
    kept = 0
    for place in range(slots.decoding[slot]):
        request = state.decoders[slot, place]
        if requests.last_step[request] > slots.steps[slot]:
            state.decoders[slot, kept] = request
            kept += 1
            continue
        held = requests.context_offset[request] + slots.steps[slot]
        slots.context[slot] -= held
        _serve(state, slot, request, held, now)
    slots.decoding[slot] = kept


@njit(cache=True)
def _serve(state: State, slot: int, request: int, held: int, now: float) -> None:
    requests, slots = state.requests, state.slots
    slots.kv[slot] -= held
    slots.in_flight[slot] -= 1
    state.counters[slot, table.FINISHED] += 1
    state.counters[slot, table.PROCESSED] += 1
    state.e2e[slot, _bucket(state.e2e_bounds, now - requests.received[request])] += 1
    if requests.output[request] > 1:
        per_token = (now - requests.first[request]) / (requests.output[request] - 1)
        state.tpot[slot, _bucket(state.itl_bounds, per_token)] += 1
    requests.finish[request] = now
    requests.status[request] = table.SERVED
    state.ints[table.IN_FLIGHT] -= 1
    state.ints[table.SERVED_COUNT] += 1


@njit(cache=True)
def _advance_prefillers(state: State, slot: int, now: float) -> None:
    requests, slots = state.requests, state.slots
    kept = 0
    for place in range(slots.prefilling[slot]):
        request = state.prefillers[slot, place]
        requests.prefilled[request] += state.chunk[slot, place]
        needed = requests.prompt[request] + requests.generated[request]
        if requests.status[request] == table.ABANDONED:
            slots.kv[slot] -= needed
        elif requests.prefilled[request] < needed:
            state.prefillers[slot, kept] = request
            kept += 1
        else:
            _first_token(state, slot, request, needed, now)
    slots.prefilling[slot] = kept


@njit(cache=True)
def _first_token(state: State, slot: int, request: int, held: int, now: float) -> None:
    """A prefill ends with a token: the first one, or after a preemption the next one."""
    requests, slots = state.requests, state.slots
    if requests.first[request] < 0.0:
        requests.first[request] = now
        state.ttft[slot, _bucket(state.ttft_bounds, now - requests.received[request])] += 1
        state.counters[slot, table.FIRST_TOKENS] += 1
        state.counters[slot, table.PROMPT_TOKENS] += requests.prompt[request]
    else:
        state.itl[slot, _bucket(state.itl_bounds, now - requests.token_at[request])] += 1
    state.counters[slot, table.GENERATION_TOKENS] += 1
    requests.generated[request] += 1
    left = requests.output[request] - requests.generated[request]
    if left == 0:
        _serve(state, slot, request, held, now)
        return
    requests.status[request] = table.DECODING
    requests.last_step[request] = slots.steps[slot] + left
    requests.context_offset[request] = held - slots.steps[slot]
    slots.context[slot] += held
    state.decoders[slot, slots.decoding[slot]] = request
    slots.decoding[slot] += 1


@njit(cache=True)
def _schedule(state: State, speed: Speed, slot: int, now: float) -> None:
    """Form the next batch: decoders first, then prefills in order of arrival, within tokens, seats and memory."""
    slots = state.slots
    preempted = _make_room(state, speed, slot, now)
    budget = speed.max_tokens - slots.decoding[slot]
    tokens = _continue_prefills(state, slot, budget)
    if not preempted:
        tokens += _admit(state, speed, slot, budget - tokens)
    slots.began[slot] = now
    decoding = slots.decoding[slot]
    if slots.prefilling[slot] > 0:
        slots.count[slot] = 1
    elif decoding > 0:
        slots.count[slot] = 1 if preempted or not speed.macro else _steady_iterations(state, speed, slot)
    else:
        slots.count[slot] = 0
        slots.event_at[slot] = math.inf
        if slots.state[slot] == table.STOPPING and slots.in_flight[slot] == 0:
            slots.state[slot] = table.GONE
            slots.gone_at[slot] = now
        return
    slots.growth[slot] = speed.per_context * decoding
    slots.duration[slot] = (
        speed.base
        + speed.per_sequence * decoding
        + speed.per_context * slots.context[slot]
        + speed.per_prefill * tokens
    )
    slots.event_at[slot] = _end_of(state, slot, slots.count[slot])


@njit(cache=True)
def _steady_iterations(state: State, speed: Speed, slot: int) -> int:
    """Iterations until a request ends or the KV cache is full."""
    requests, slots = state.requests, state.slots
    first_end = requests.last_step[state.decoders[slot, 0]]
    for place in range(1, slots.decoding[slot]):
        first_end = min(first_end, requests.last_step[state.decoders[slot, place]])
    room = (speed.kv_cap - slots.kv[slot]) // slots.decoding[slot]
    return int(max(1, min(first_end - slots.steps[slot], room)))


@njit(cache=True)
def _make_room(state: State, speed: Speed, slot: int, now: float) -> bool:
    """Send the newest requests back to the queue until every decoder has room for its next token."""
    slots = state.slots
    preempted = False
    while slots.kv[slot] + slots.decoding[slot] > speed.kv_cap:
        preempted = True
        if slots.prefilling[slot] > 0:
            slots.prefilling[slot] -= 1
            request = state.prefillers[slot, slots.prefilling[slot]]
            slots.kv[slot] -= state.requests.prompt[request] + state.requests.generated[request]
        else:
            slots.decoding[slot] -= 1
            request = state.decoders[slot, slots.decoding[slot]]
            _forget_decoder(state, slot, request, now)
        _back_to_queue(state, slot, request)
    return preempted


@njit(cache=True)
def _forget_decoder(state: State, slot: int, request: int, now: float) -> None:
    requests, slots = state.requests, state.slots
    held = requests.context_offset[request] + slots.steps[slot]
    requests.generated[request] = requests.output[request] - (requests.last_step[request] - slots.steps[slot])
    requests.token_at[request] = now
    slots.kv[slot] -= held
    slots.context[slot] -= held


@njit(cache=True)
def _back_to_queue(state: State, slot: int, request: int) -> None:
    requests, slots = state.requests, state.slots
    if requests.status[request] == table.ABANDONED:
        return
    requests.status[request] = table.WAITING
    requests.prefilled[request] = 0
    requests.link[request] = slots.head[slot]
    slots.head[slot] = request
    if slots.tail[slot] < 0:
        slots.tail[slot] = request
    slots.waiting[slot] += 1
    state.counters[slot, table.PREEMPTIONS] += 1
    state.ints[table.WAITING_NOW] += 1
    state.ints[table.PREEMPTED] += 1


@njit(cache=True)
def _continue_prefills(state: State, slot: int, budget: int) -> int:
    requests, slots = state.requests, state.slots
    tokens = 0
    for place in range(slots.prefilling[slot]):
        request = state.prefillers[slot, place]
        left = requests.prompt[request] + requests.generated[request] - requests.prefilled[request]
        state.chunk[slot, place] = min(left, budget - tokens)
        tokens += state.chunk[slot, place]
    return tokens


@njit(cache=True)
def _admit(state: State, speed: Speed, slot: int, budget: int) -> int:
    """Let waiting requests in, first come first served; the first one that does not fit holds back the others."""
    requests, slots = state.requests, state.slots
    tokens = 0
    while slots.head[slot] >= 0:
        request = slots.head[slot]
        if requests.status[request] != table.ABANDONED:
            needed = requests.prompt[request] + requests.generated[request]
            seats = slots.decoding[slot] + slots.prefilling[slot]
            fits = slots.kv[slot] + slots.decoding[slot] + needed <= speed.kv_cap
            if tokens >= budget or seats >= speed.max_seqs or not fits:
                break
            chunk = min(needed, budget - tokens)
            state.prefillers[slot, slots.prefilling[slot]] = request
            state.chunk[slot, slots.prefilling[slot]] = chunk
            slots.prefilling[slot] += 1
            slots.kv[slot] += needed
            slots.waiting[slot] -= 1
            state.ints[table.WAITING_NOW] -= 1
            requests.status[request] = table.PREFILLING
            tokens += chunk
        slots.head[slot] = requests.link[request]
        if slots.head[slot] < 0:
            slots.tail[slot] = -1
    return tokens
