"""The simulator's memory: flat arrays, so that the compiled engine can work on them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.simulation.cluster import ClusterSpec, Routing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = Any
"""A table of records, ``np.recarray``: its columns are attributes, in compiled code too."""

TTFT_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
ITL_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
E2E_BOUNDS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
    120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
"""Upper bounds of vLLM's own histograms, seconds; time per output token has those between tokens."""

# Where a request is.
COMING, AT_THE_DOOR, WAITING, PREFILLING, DECODING, SERVED, ABANDONED, REFUSED = range(8)

# What a slot for a replica holds.
EMPTY, STARTING, RUNNING, STOPPING, GONE = range(5)

# Scalars kept in arrays, so that compiled code can change them.
NOW, IN_FLIGHT_SECONDS, WAITING_SECONDS = range(3)
(ARRIVED, NEXT_DEADLINE, DOOR_HEAD, DOOR_TAIL, DOOR_LENGTH, ASSIGNED, IN_FLIGHT, WAITING_NOW, UNSERVED, SERVED_COUNT,
 PREEMPTED) = range(11)  # fmt: skip

# Counters of a replica, as vLLM keeps them.
PROMPT_TOKENS, GENERATION_TOKENS, FINISHED, ABORTED, PREEMPTIONS, FIRST_TOKENS, PROCESSED, ITERATIONS = range(8)
COUNTERS = 8


class Speed(NamedTuple):
    """The replica's numbers as the engine needs them."""

    base: float
    per_sequence: float
    per_context: float
    per_prefill: float
    max_tokens: int
    max_seqs: int
    kv_cap: int
    abandon: float
    overhead: float
    round_robin: bool
    macro: bool
    """False advances one iteration at a time: slower, the same numbers."""


REQUEST_COLUMNS = np.dtype(
    [
        ("arrival", "f8"),  # when the client sent it
        ("received", "f8"),  # when it came to the door, its overhead later
        ("first", "f8"),  # token, -1 while there is none
        ("finish", "f8"),  # or when the client left; -1 while neither
        ("token_at", "f8"),  # when the last token before a preemption came
        ("prompt", "i8"),
        ("output", "i8"),
        ("status", "i8"),
        ("slot", "i8"),
        ("replica", "i8"),
        ("link", "i8"),  # the next request in the same queue
        ("generated", "i8"),  # output tokens before its present stay in the batch
        ("prefilled", "i8"),
        ("last_step", "i8"),  # its replica's ``steps`` at which the last token comes
        ("context_offset", "i8"),  # tokens in the KV cache, less its replica's ``steps``
    ]
)
"""One row per request, in order of arrival. Times are seconds."""

SLOT_COLUMNS = np.dtype(
    [
        ("event_at", "f8"),  # end of start-up or of the running segment; infinite when nothing is going on
        ("began", "f8"),  # of the running segment
        ("duration", "f8"),  # of the segment's first iteration; each further one takes ``growth`` longer
        ("growth", "f8"),
        ("gone_at", "f8"),
        ("busy", "f8"),  # seconds with a batch, ended segments only
        ("state", "i8"),
        ("replica", "i8"),  # running number of the replica in this slot
        ("in_flight", "i8"),
        ("assigned", "i8"),  # when it last got a request: ties of least connections go to the oldest
        ("head", "i8"),
        ("tail", "i8"),
        ("waiting", "i8"),
        ("decoding", "i8"),
        ("prefilling", "i8"),
        ("kv", "i8"),  # tokens held, prompts being prefilled in full
        ("context", "i8"),  # tokens of context of the decoders
        ("steps", "i8"),  # decode iterations since the replica came
        ("count", "i8"),  # iterations of the running segment
    ]
)
"""One row per replica that exists. A segment is ``count`` iterations without a change of the batch."""


class State(NamedTuple):
    """Everything. Tables with a row per slot follow ``slots``; ``decoders`` are in order of admission."""

    requests: Rows
    slots: Rows
    decoders: Ints
    prefillers: Ints
    chunk: Ints
    counters: Ints
    ttft: Ints
    itl: Ints
    tpot: Ints
    e2e: Ints
    ttft_bounds: Floats
    itl_bounds: Floats
    e2e_bounds: Floats
    floats: Floats
    ints: Ints


def speed_of(cluster: ClusterSpec, *, macro: bool) -> Speed:
    """Translate a cluster's specification."""
    spec = cluster.replica
    return Speed(
        base=spec.iteration_base_s,
        per_sequence=spec.per_sequence_s,
        per_context=spec.per_context_token_s,
        per_prefill=spec.per_prefill_token_s,
        max_tokens=spec.max_num_batched_tokens,
        max_seqs=spec.max_num_seqs,
        kv_cap=spec.kv_cache_tokens,
        abandon=cluster.clients.abandon_s,
        overhead=spec.overhead_s,
        round_robin=cluster.routing is Routing.ROUND_ROBIN,
        macro=macro,
    )


def new_state(arrival: Floats, prompt: Ints, output: Ints, *, slots: int, max_seqs: int) -> State:
    """Make the state of an empty fleet before anything arrived; ``arrival`` must be sorted."""
    ints = np.zeros(PREEMPTED + 1, dtype=np.int64)
    ints[[DOOR_HEAD, DOOR_TAIL]] = -1
    return State(
        requests=_new_requests(arrival, prompt, output),
        **_slot_tables(slots, max_seqs),
        ttft_bounds=np.array(TTFT_BOUNDS),
        itl_bounds=np.array(ITL_BOUNDS),
        e2e_bounds=np.array(E2E_BOUNDS),
        floats=np.zeros(WAITING_SECONDS + 1),
        ints=ints,
    )


def with_more_slots(state: State, more: int) -> State:
    """Return the same state with empty slots added."""
    fresh = _slot_tables(more, state.decoders.shape[1])
    return state._replace(
        **{name: np.concatenate([getattr(state, name), table]).view(type(table)) for name, table in fresh.items()}
    )


def clear_slot(state: State, slot: int) -> None:
    """Make a slot as good as new."""
    for name, table in _slot_tables(1, state.decoders.shape[1]).items():
        getattr(state, name)[slot] = table[0]


def _new_requests(arrival: Floats, prompt: Ints, output: Ints) -> Rows:
    rows = np.zeros(len(arrival), dtype=REQUEST_COLUMNS).view(np.recarray)
    rows.arrival = arrival
    rows.received = arrival
    rows.prompt = np.maximum(prompt, 1)
    rows.output = np.maximum(output, 1)
    for column in ("first", "finish", "token_at", "slot", "replica", "link"):
        rows[column] = -1
    return rows


def _slot_tables(count: int, max_seqs: int) -> dict[str, Any]:
    slots = np.zeros(count, dtype=SLOT_COLUMNS).view(np.recarray)
    slots.event_at = np.inf
    for column in ("gone_at", "replica", "head", "tail"):
        slots[column] = -1
    widths = {
        "decoders": max_seqs,
        "prefillers": max_seqs,
        "chunk": max_seqs,
        "counters": COUNTERS,
        "ttft": len(TTFT_BOUNDS) + 1,
        "itl": len(ITL_BOUNDS) + 1,
        "tpot": len(ITL_BOUNDS) + 1,
        "e2e": len(E2E_BOUNDS) + 1,
    }
    return {"slots": slots, **{name: np.zeros((count, width), dtype=np.int64) for name, width in widths.items()}}
