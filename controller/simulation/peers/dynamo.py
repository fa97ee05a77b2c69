"""NVIDIA Dynamo's planner for one aggregated pool, both of its loops on, optimising for objectives.

From the planner of ai-dynamo 1.6.1 (``core/throughput_scaling.py``, ``core/load_scaling.py``,
``core/perf_model/engine_query.py``). Every 180 s the throughput loop predicts requests, prompt and output length of the
next interval and sets a floor: predicted rate over the best rate at which one engine keeps both objectives. Every 5 s
the load loop adds one replica when every engine's next request would miss an objective, and takes one away when the
others could carry its load with a fifth of the objective to spare. While replicas start nothing more is added.

Dynamo learns its iteration times from the engines. Here it is given those that the simulated engines have, the true
mean lengths, the unread prompt tokens of each engine, and a first floor of what is ready, not of one replica.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controller.simulation.cluster import ReplicaSpec
from controller.simulation.observation import Observation, ReplicaLoad
from controller.simulation.outcome import Objectives
from controller.simulation.peers.dynamo_predictors import is_wheel_installed, predictor
from controller.simulation.policy import ratio_of_change

_THROUGHPUT_S = 180.0
_LOAD_S = 5.0
_MOST_CHANGE = 8
_SENSITIVITY = 0.8


@dataclass(frozen=True, slots=True)
class EngineModel:
    """How long iterations of one engine take, in seconds."""

    spec: ReplicaSpec

    def iteration_s(self, prefill_tokens: float, decoding: float, context_tokens: float) -> float:
        """Time of one iteration."""
        spec = self.spec
        return (
            spec.iteration_base_s
            + spec.per_sequence_s * decoding
            + spec.per_context_token_s * context_tokens
            + spec.per_prefill_token_s * prefill_tokens
        )

    def read_s(self, tokens: float, decoding: float, context_tokens: float) -> float:
        """Time until that many prompt tokens are read beside a batch that decodes, in full chunks and a rest."""
        full, rest = divmod(math.ceil(tokens), self.spec.max_num_batched_tokens)
        total = full * self.iteration_s(self.spec.max_num_batched_tokens, decoding, context_tokens)
        return total + (self.iteration_s(rest, decoding, context_tokens) if rest else 0.0)

    def most_rps(self, prompt: float, output: float, objectives: Objectives) -> float:
        """Return the best rate over all batches, of those that keep both objectives if there are any; 0 if unknown.

        A batch of b turns over b / (output · iteration) requests a second, reading b · prompt / output prompt tokens in
        each iteration, which must fit beside it.
        """
        isl, osl = int(prompt), int(output)
        if isl <= 0 or osl <= 0:
            return 0.0
        context = isl + osl // 2
        budget = self.spec.max_num_batched_tokens
        largest = min(self.spec.max_num_seqs, self.spec.kv_cache_tokens // context, budget - 1)
        best = (False, 0.0)
        for batch in range(1, largest + 1):
            reading = math.ceil(batch * isl / osl)
            if reading > budget - batch:
                continue
            itl_s = self.iteration_s(reading, batch, batch * context)
            ttft_s = self.read_s(reading + isl, batch, batch * context)
            keeps = ttft_s <= objectives.ttft_s and itl_s <= objectives.tpot_s
            best = max(best, (keeps, batch / (osl * itl_s)))
        return best[1]


class _Means(NamedTuple):
    """What a next request looks like, and what an iteration reads beside a decoding batch."""

    prompt: float
    context: float
    reading: float


@dataclass(frozen=True, slots=True)
class _Opinion:
    """One objective's view of a pool of ``ready`` replicas: one more, one less, or neither."""

    more: bool
    fewer: bool


class DynamoPlanner:
    """``objectives`` are those that the planner is told, ``kind`` names its predictor."""

    def __init__(self, spec: ReplicaSpec, objectives: Objectives, *, kind: str, name: str) -> None:
        self.name = f"{name} (ai-dynamo)" if is_wheel_installed() else name
        self.interval_s = _LOAD_S
        self.detail = True
        self._model = EngineModel(spec)
        self._objectives = objectives
        self._requests, self._prompts, self._outputs = (predictor(kind, _THROUGHPUT_S) for _ in range(3))
        self._before: Observation | None = None
        self._floor = 1
        self._iterations: dict[int, tuple[int, int]] = {}
        self._reading = 0.0

    def target(self, seen: Observation, now: float) -> int:
        """Return the replicas wanted now; those there are while engines show nothing."""
        if self._before is None:
            self._before, self._floor = seen, max(1, seen.ready)
        elif now - self._before.at >= _THROUGHPUT_S:
            self._set_floor(self._before, seen)
            self._before = seen
        self._learn_reading(seen.replicas)
        draining = seen.stopping > 0 and seen.starting == 0
        if not seen.replicas or draining:
            return seen.target
        return self._step(seen)

    def _set_floor(self, before: Observation, seen: Observation) -> None:
        count = seen.arrived - before.arrived
        self._requests.add_data_point(float(count))
        if count:
            self._prompts.add_data_point((seen.arrived_prompt_tokens - before.arrived_prompt_tokens) / count)
            self._outputs.add_data_point((seen.arrived_output_tokens - before.arrived_output_tokens) / count)
        demand = self._requests.predict_next() / (seen.at - before.at)
        rate = self._model.most_rps(self._prompts.predict_next(), self._outputs.predict_next(), self._objectives)
        wanted = math.ceil(demand / rate) if rate > 0.0 else seen.ready
        self._floor = max(1, min(max(wanted, seen.ready - _MOST_CHANGE), seen.ready + _MOST_CHANGE))

    def _learn_reading(self, replicas: Sequence[ReplicaLoad]) -> None:
        """Mean prompt tokens per iteration since the last look."""
        now = {one.replica: (one.prompt_tokens, one.iterations) for one in replicas}
        known = [(now[replica], before) for replica, before in self._iterations.items() if replica in now]
        tokens = sum(after[0] - before[0] for after, before in known)
        iterations = sum(after[1] - before[1] for after, before in known)
        self._reading = tokens / iterations if iterations > 0 else self._reading
        self._iterations = now

    def _step(self, seen: Observation) -> int:
        ready, pending = seen.ready, seen.starting
        means = self._means(seen)
        ttft = self._on_ttft(seen.replicas, means, pending)
        itl = self._on_itl(seen.replicas, means, pending)
        fewer = ttft.fewer and itl.fewer
        wanted = ready
        if ttft.more or itl.more:
            wanted = ready + 1
        elif fewer:
            wanted = ready - 1
        wanted = max(wanted, self._floor, 1)
        if not pending:
            return wanted
        cancels = wanted < ready or (wanted == ready and fewer)
        return wanted if cancels else seen.target

    def _means(self, seen: Observation) -> _Means:
        before = self._before or seen
        prompt = ratio_of_change(
            before.arrived_prompt_tokens, seen.arrived_prompt_tokens, before.arrived, seen.arrived
        ) or ratio_of_change(0, seen.arrived_prompt_tokens, 0, seen.arrived)
        decoding = sum(one.decoding for one in seen.replicas)
        context = sum(one.context_tokens for one in seen.replicas)
        return _Means(prompt=prompt or 0.0, context=context / decoding if decoding else 0.0, reading=self._reading)

    def _on_ttft(self, replicas: Sequence[ReplicaLoad], means: _Means, pending: int) -> _Opinion:
        objective_s, grown = self._objectives.ttft_s, _grown(replicas)
        late, fewer = True, len(replicas) > 1 or pending > 0
        for one in replicas:
            now_s = self._model.read_s(one.backlog_tokens + means.prompt, one.decoding, one.context_tokens)
            late = late and now_s > objective_s
            decoding, context = one.decoding * grown, one.context_tokens * grown
            own_s = self._model.read_s(means.prompt, decoding, context)
            queued_s = self._model.read_s(one.backlog_tokens * grown + means.prompt, decoding, context) - own_s
            spare_s = (objective_s - own_s) * _SENSITIVITY
            fewer = fewer and spare_s > 0.0 and queued_s < spare_s
        return _Opinion(more=late, fewer=fewer)

    def _on_itl(self, replicas: Sequence[ReplicaLoad], means: _Means, pending: int) -> _Opinion:
        objective_s, grown = self._objectives.tpot_s, _grown(replicas)
        late, fewer = True, len(replicas) > 1 or pending > 0
        for one in replicas:
            now_s = self._model.iteration_s(means.reading, one.decoding + 1, one.context_tokens + means.context)
            late = late and now_s > objective_s
            held = (one.context_tokens + one.backlog_tokens) * grown
            decoding = (one.decoding + one.waiting) * grown + 1
            after_s = self._model.iteration_s(means.reading, decoding, held + means.context)
            fits = held < self._model.spec.kv_cache_tokens
            fewer = fewer and fits and after_s < objective_s * _SENSITIVITY
        return _Opinion(more=late, fewer=fewer)


def _grown(replicas: Sequence[ReplicaLoad]) -> float:
    """How much more each of the others carries when one replica goes."""
    count = len(replicas)
    return count / (count - 1) if count > 1 else 1.0
