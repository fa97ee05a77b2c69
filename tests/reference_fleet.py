"""A slow fleet that steps through every iteration with plain lists: what the compiled engine must agree with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller.simulation.cluster import ClusterSpec, Routing


@dataclass
class Request:
    number: int
    arrival: float
    prompt: int
    output: int
    first: float | None = None
    finish: float | None = None
    left: bool = False
    refused: bool = False
    generated: int = 0
    prefilled: int = 0
    held: int = 0


@dataclass
class Replica:
    waiting: list[Request] = field(default_factory=list)
    prefilling: list[Request] = field(default_factory=list)
    decoding: list[Request] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    ends: float = math.inf
    in_flight: int = 0
    assigned: int = 0
    most_kv: int = 0

    @property
    def kv(self) -> int:
        return sum(one.prompt + one.generated for one in self.prefilling) + sum(one.held for one in self.decoding)


class ReferenceFleet:
    """``replicas`` that are ready from the start."""

    def __init__(self, requests: list[tuple[float, int, int]], cluster: ClusterSpec, replicas: int) -> None:
        self.spec = cluster.replica
        self.patience = cluster.clients.abandon_s
        self.round_robin = cluster.routing is Routing.ROUND_ROBIN
        self.requests = [Request(number, *row) for number, row in enumerate(requests)]
        self.replicas = [Replica() for _ in range(replicas)]
        self.assigned = 0

    def run(self) -> None:
        coming = list(self.requests)
        while True:
            arrival = coming[0].arrival + self.spec.overhead_s if coming else math.inf
            replica = min(self.replicas, key=lambda one: one.ends)
            patient = [
                one
                for one in self.requests
                if one not in coming and one.first is None and not one.left and not one.refused
            ]
            deadline = min((one.arrival + self.patience for one in patient), default=math.inf)
            now = min(arrival, replica.ends, deadline)
            if now == math.inf:
                return
            if arrival == now:
                self._arrive(coming.pop(0), now)
            elif replica.ends == now:
                self._end_iteration(replica, now)
                self._begin_iteration(replica, now)
            else:
                self._leave(min(patient, key=lambda one: one.number), now)

    def _arrive(self, request: Request, now: float) -> None:
        if request.prompt + request.output - 1 > self.spec.kv_cache_tokens:
            request.refused = True
            return
        replica = min(self.replicas, key=lambda one: (0 if self.round_robin else one.in_flight, one.assigned))
        self.assigned += 1
        replica.assigned = self.assigned
        replica.in_flight += 1
        replica.waiting.append(request)
        if replica.ends == math.inf:
            self._begin_iteration(replica, now)

    def _leave(self, request: Request, now: float) -> None:
        request.left, request.finish = True, now
        for replica in self.replicas:
            if request in replica.waiting or request in replica.prefilling:
                replica.in_flight -= 1
            if request in replica.waiting:
                replica.waiting.remove(request)

    def _end_iteration(self, replica: Replica, now: float) -> None:
        for one in list(replica.decoding):
            one.generated += 1
            one.held += 1
            if one.generated == one.output:
                self._finish(replica, replica.decoding, one, now)
        for one, chunk in zip(list(replica.prefilling), replica.chunks, strict=True):
            one.prefilled += chunk
            if one.left:
                replica.prefilling.remove(one)
            elif one.prefilled == one.prompt + one.generated:
                one.held = one.prefilled
                one.generated += 1
                one.first = now if one.first is None else one.first
                if one.generated == one.output:
                    self._finish(replica, replica.prefilling, one, now)
                else:
                    replica.prefilling.remove(one)
                    replica.decoding.append(one)

    def _finish(self, replica: Replica, batch: list[Request], request: Request, now: float) -> None:
        request.finish = now
        batch.remove(request)
        replica.in_flight -= 1

    def _begin_iteration(self, replica: Replica, now: float) -> None:
        preempted = self._preempt(replica)
        budget = self.spec.max_num_batched_tokens - len(replica.decoding)
        replica.chunks = []
        for one in replica.prefilling:
            replica.chunks.append(min(budget, one.prompt + one.generated - one.prefilled))
            budget -= replica.chunks[-1]
        while not preempted and replica.waiting and budget > 0:
            one = replica.waiting[0]
            needed = one.prompt + one.generated
            seats = len(replica.decoding) + len(replica.prefilling)
            if (
                seats == self.spec.max_num_seqs
                or replica.kv + len(replica.decoding) + needed > self.spec.kv_cache_tokens
            ):
                break
            replica.prefilling.append(replica.waiting.pop(0))
            replica.chunks.append(min(budget, needed))
            budget -= replica.chunks[-1]
        replica.most_kv = max(replica.most_kv, replica.kv + len(replica.decoding))
        replica.ends = math.inf
        if replica.decoding or replica.prefilling:
            replica.ends = now + (
                self.spec.iteration_base_s
                + self.spec.per_sequence_s * len(replica.decoding)
                + self.spec.per_context_token_s * sum(one.held for one in replica.decoding)
                + self.spec.per_prefill_token_s * sum(replica.chunks)
            )

    def _preempt(self, replica: Replica) -> bool:
        preempted = False
        while replica.kv + len(replica.decoding) > self.spec.kv_cache_tokens:
            preempted = True
            one = (replica.prefilling or replica.decoding).pop()
            one.prefilled = 0
            if not one.left:
                replica.waiting.insert(0, one)
        return preempted
