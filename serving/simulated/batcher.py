"""Continuous batching without arithmetic: requests wait, are prefilled in chunks, and decode a token an iteration."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from serving.simulated.timing import SimulatedModel, Timing, timing_of


@dataclass(slots=True, eq=False)
class Sequence:
    """One request in the engine. Times are of the monotonic clock."""

    prompt_tokens: int
    output_tokens: int
    arrived: float
    scheduled: float | None = None
    first: float | None = None
    last: float | None = None
    prefilled: int = 0
    produced: int = 0
    over: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def context(self) -> int:
        """Tokens that it holds in the KV cache."""
        return self.prefilled + self.produced


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine holds at one moment."""

    running: int
    waiting: int
    kv_usage: float


class Observer(Protocol):
    """Hears what happens in the engine."""

    def stepped(self, load: Load, *, prefilled: int, decoded: int) -> None:
        """Hear of one iteration."""
        ...

    def token(self, sequence: Sequence, *, gap_s: float | None) -> None:
        """Hear of an output token; ``gap_s`` since the one before, None for the first."""
        ...

    def finished(self, sequence: Sequence, reason: str) -> None:
        """Hear of a request's end."""
        ...

    def preempted(self) -> None:
        """Hear that a sequence gave its KV cache back."""
        ...


class Silent:
    """Hears and tells nothing: for measuring what everything around the engine costs."""

    def stepped(self, load: Load, *, prefilled: int, decoded: int) -> None:
        """Hear of one iteration."""

    def token(self, sequence: Sequence, *, gap_s: float | None) -> None:
        """Hear of one output token."""

    def finished(self, sequence: Sequence, reason: str) -> None:
        """Hear of a request's end."""

    def preempted(self) -> None:
        """Hear of a preemption."""


class Batcher:
    """The engine's loop. ``clock`` and ``sleep`` are monotonic seconds."""

    def __init__(
        self,
        model: SimulatedModel,
        observer: Observer,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = asyncio.sleep,
    ) -> None:
        self.model = model
        self.timing: Timing = timing_of(model)
        self._observer = observer
        self._clock = clock
        self._sleep = sleep
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._work = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def load(self) -> Load:
        """What is held now."""
        held = sum(sequence.context for sequence in self._running)
        return Load(len(self._running), len(self._waiting), min(1.0, held / self.timing.kv_cache_tokens))

    async def generate(self, *, prompt_tokens: int, output_tokens: int) -> AsyncIterator[int]:
        """Yield how many new tokens there are, until all ``output_tokens`` are there. Closing it aborts the request."""
        if self._loop is None:
            self._loop = asyncio.create_task(self._run())
        sequence = Sequence(prompt_tokens=prompt_tokens, output_tokens=output_tokens, arrived=self._clock())
        self._waiting.append(sequence)
        self._work.set()
        told = 0
        try:
            while told < output_tokens:
                await sequence.news.wait()
                sequence.news.clear()
                new, told = sequence.produced - told, sequence.produced
                if new:
                    yield new
        finally:
            if not sequence.over:
                self._drop(sequence)
                self._observer.finished(sequence, "abort")

    def _drop(self, sequence: Sequence) -> None:
        sequence.over = True
        if sequence in self._running:
            self._running.remove(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)

    async def _run(self) -> None:
        while True:
            if not self._running and not self._waiting:
                self._observer.stepped(self.load(), prefilled=0, decoded=0)
                self._work.clear()
                await self._work.wait()
            await self._step()

    async def _step(self) -> None:
        self._admit()
        decoding = [sequence for sequence in self._running if sequence.prefilled >= sequence.prompt_tokens]
        context = sum(sequence.context for sequence in decoding)
        chunks = self._chunks(self.model.max_num_batched_tokens - len(decoding))
        prefilled = sum(chunks.values())
        await self._sleep(  # type: ignore[misc]
            self.timing.iteration_s(decoding=len(decoding), context_tokens=context, prefill_tokens=prefilled)
        )
        ready = list(decoding)
        for sequence, tokens in chunks.items():
            sequence.prefilled += tokens
            if sequence.prefilled >= sequence.prompt_tokens:
                ready.append(sequence)
        now = self._clock()
        decoded = sum(self._produce(sequence, now) for sequence in ready if not sequence.over)
        self._make_room()
        self._observer.stepped(self.load(), prefilled=prefilled, decoded=decoded)

    def _admit(self) -> None:
        held = sum(max(sequence.context, sequence.prompt_tokens) for sequence in self._running)
        while self._waiting and len(self._running) < self.model.max_num_seqs:
            needed = self._waiting[0].prompt_tokens + self._waiting[0].produced
            if self._running and held + needed > self.timing.kv_cache_tokens:
                return
            sequence = self._waiting.popleft()
            sequence.scheduled = sequence.scheduled or self._clock()
            self._running.append(sequence)
            held += needed

    def _chunks(self, budget: int) -> dict[Sequence, int]:
        chunks: dict[Sequence, int] = {}
        for sequence in self._running:
            missing = sequence.prompt_tokens - sequence.prefilled
            if missing > 0 and budget > 0:
                chunks[sequence] = min(missing, budget)
                budget -= chunks[sequence]
        return chunks

    def _produce(self, sequence: Sequence, now: float) -> int:
        sequence.produced += 1
        gap_s = None if sequence.last is None else now - sequence.last
        sequence.first, sequence.last = sequence.first or now, now
        self._observer.token(sequence, gap_s=gap_s)
        if sequence.produced >= sequence.output_tokens:
            self._drop(sequence)
            self._observer.finished(sequence, "length")
        sequence.news.set()
        return 1

    def _make_room(self) -> None:
        """Take the youngest out when the cache is over full; it is prefilled again later, as vLLM does."""
        held = sum(sequence.context for sequence in self._running)
        while held > self.timing.kv_cache_tokens and len(self._running) > 1:
            sequence = self._running.pop()
            held -= sequence.context
            sequence.prefilled = 0
            self._waiting.appendleft(sequence)
            self._observer.preempted()
