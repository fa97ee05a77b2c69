"""An engine with continuous batching and chunked prefill that follows the iteration-time model exactly."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from controller.domain.capacity import IterationTime
from controller.domain.engine import EngineInterval

RTX_4090 = IterationTime(base_s=0.0163, per_sequence_s=95e-6, per_context_token_s=0.124e-6, per_prefill_token_s=80e-6)


@dataclass
class _Running:
    context: int
    left: int


@dataclass
class SyntheticEngine:
    """Poisson arrivals at ``rate`` (change it at will) of exponential sizes; ``noise`` is relative, per interval."""

    time: IterationTime
    prompt: float
    output: float
    rate: float
    kv_tokens: int = 41_900
    max_tokens: int = 2048
    noise: float = 0.0
    seed: int = 0
    name: str = "one"
    now: float = 0.0
    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    prefilling: list[list[int]] = field(default_factory=list)
    decoding: list[_Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._next = self.now + self._rng.exponential(1 / self.rate)

    def interval(self, seconds: float) -> EngineInterval:
        """Run for ``seconds`` and tell what a scraper would see."""
        until = self.now + seconds
        slow = 1.0 + self.noise * float(self._rng.standard_normal())
        sums = dict.fromkeys(("iterations", "prompt", "generated", "first"), 0)
        running, kv = [], []
        while self.now < until:
            self._arrivals()
            if not (self.waiting or self.prefilling or self.decoding):
                self.now = min(self._next, until)
                continue
            tokens = self._admit()
            context = sum(one.context for one in self.decoding)
            took = self.time.seconds(sequences=len(self.decoding), context_tokens=context, prefill_tokens=tokens)
            self.now += took * slow
            running.append(len(self.decoding) + len(self.prefilling))
            kv.append((context + sum(one[0] for one in self.prefilling)) / self.kv_tokens)
            self._emit(sums)
        return EngineInterval(
            replica_id=self.name,
            until=self.now,
            seconds=seconds,
            iterations=sums["iterations"],
            prompt_tokens=sums["prompt"],
            generation_tokens=sums["generated"],
            first_tokens=sums["first"],
            running=float(np.mean(running[:: max(1, len(running) // 4)])) if running else 0.0,
            kv_usage=float(np.mean(kv[:: max(1, len(kv) // 4)])) if kv else 0.0,
            ready_s=1e6,
            model="m",
        )

    def _arrivals(self) -> None:
        while self._next <= self.now:
            prompt = 1 + int(self._rng.exponential(self.prompt))
            self.waiting.append((prompt, 1 + int(self._rng.exponential(self.output))))
            self._next += self._rng.exponential(1 / self.rate)

    def _admit(self) -> int:
        held = sum(one.context for one in self.decoding) + sum(one[0] for one in self.prefilling)
        budget = self.max_tokens - len(self.decoding)
        tokens = 0
        while self.waiting and held + self.waiting[0][0] <= self.kv_tokens:
            prompt, output = self.waiting.popleft()
            self.prefilling.append([prompt, output, prompt])
            held += prompt
        for one in self.prefilling:
            chunk = min(one[2], budget - tokens)
            one[2] -= chunk
            tokens += chunk
        return tokens

    def _emit(self, sums: dict[str, int]) -> None:
        emitted = len(self.decoding)
        for one in self.decoding:
            one.context += 1
            one.left -= 1
        self.decoding = [one for one in self.decoding if one.left > 0]
        done = [one for one in self.prefilling if one[2] == 0]
        self.prefilling = [one for one in self.prefilling if one[2] > 0]
        self.decoding += [_Running(prompt, output - 1) for prompt, output, _ in done if output > 1]
        sums["prompt"] += sum(one[0] for one in done)
        sums["first"] += len(done)
        sums["generated"] += emitted + len(done)
        sums["iterations"] += 1 if emitted + len(done) else 0
