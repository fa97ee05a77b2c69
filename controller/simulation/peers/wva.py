"""llm-d's Workload Variant Autoscaler on saturation, one variant, driving a HorizontalPodAutoscaler.

Rules and defaults of llm-d's autoscaler (August 2026): ``saturation_v2/analyzer.go`` and its thresholds (the default
since 0.9), and ``saturationv1/analyzer.go`` (the one before). Every 30 s the autoscaler reads the largest KV cache
usage and queue of each replica over the last minute and publishes a number of replicas; an HPA follows it every 15 s.
The HPA here has no tolerance, as with its default of 10 % no fleet of eleven would ever be given a twelfth.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple, Protocol

from controller.simulation.cluster import ClusterSpec
from controller.simulation.observation import Observation
from controller.simulation.peers.hpa import Hpa
from controller.simulation.policy import ratio_of_change

KV_CACHE_THRESHOLD = 0.80
QUEUE_THRESHOLD = 5.0
KV_SPARE_TRIGGER = 0.10
QUEUE_SPARE_TRIGGER = 3.0
SCALE_UP_THRESHOLD = 0.85
SCALE_DOWN_BOUNDARY = 0.70
_INTERVAL_S = 30.0
_PEAK_S = 60.0
_SHAPE_S = 300.0
_OBSERVATIONS = 10
_SHORT_OUTPUT = 100
_MEDIUM_OUTPUT = 500


class Peak(NamedTuple):
    """The largest KV cache usage, in tokens, and queue that one replica showed over the last minute."""

    kv_tokens: int
    waiting: int


class Engine(NamedTuple):
    """What is known of one replica from its configuration."""

    kv_cache_tokens: int
    max_num_batched_tokens: int
    max_num_seqs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What the autoscaler sees. ``replicas`` are wanted, ``ready`` of them serve; token means are None without data."""

    replicas: int
    ready: int
    pending: int
    peaks: Sequence[Peak]
    prompt_tokens: float | None
    output_tokens: float | None
    upstream: int


class Analyser(Protocol):
    """One of the published analysers."""

    def desired(self, fleet: Fleet, engine: Engine) -> int:
        """Return the replicas to publish."""
        ...


@dataclass(slots=True)
class SaturationV2:
    """Tokens wanted over tokens that one replica carries.

    A replica carries the lesser of ``kv_cache_threshold`` of its KV cache and what it held when its queue was last
    seen full; before that was ever seen, what its batch limits give in steady state.
    """

    scale_up_threshold: float = SCALE_UP_THRESHOLD
    scale_down_boundary: float = SCALE_DOWN_BOUNDARY
    kv_cache_threshold: float = KV_CACHE_THRESHOLD
    _held_when_full: dict[str, deque[int]] = field(default_factory=dict)

    @classmethod
    def with_threshold(cls, scale_up_threshold: float) -> SaturationV2:
        """Move both thresholds together, as far apart as their defaults in proportion."""
        return cls(scale_up_threshold, scale_up_threshold * SCALE_DOWN_BOUNDARY / SCALE_UP_THRESHOLD)

    def desired(self, fleet: Fleet, engine: Engine) -> int:
        """Return the replicas to publish; those there are without a reading of any replica."""
        if not fleet.peaks:
            return fleet.replicas
        prompt, output = fleet.prompt_tokens or 0.0, fleet.output_tokens or 0.0
        capacity = int(median([self._capacity(peak, engine, prompt, output) for peak in fleet.peaks]))
        if capacity <= 0:
            return fleet.replicas
        at_engines = sum(peak.kv_tokens + peak.waiting * int(prompt) for peak in fleet.peaks)
        demand = at_engines + fleet.upstream * (prompt + output)
        required = demand / self.scale_up_threshold - (fleet.ready + fleet.pending) * capacity
        if required > 0:
            return fleet.replicas + math.ceil(required / capacity)
        spare = fleet.ready * capacity - demand / self.scale_down_boundary
        return max(1, fleet.replicas - max(0, math.floor(spare / capacity)))

    def _capacity(self, peak: Peak, engine: Engine, prompt: float, output: float) -> int:
        by_memory = int(engine.kv_cache_tokens * self.kv_cache_threshold)
        return min(by_memory, self._by_compute(peak, engine, prompt, output) or by_memory)

    def _by_compute(self, peak: Peak, engine: Engine, prompt: float, output: float) -> int:
        held = self._held_when_full.setdefault(_bucket(output), deque(maxlen=_OBSERVATIONS))
        if peak.waiting >= QUEUE_THRESHOLD and peak.kv_tokens > 0:
            held.append(peak.kv_tokens)
            return peak.kv_tokens
        if held:
            return int(sum(held) / len(held))
        if output <= 0.0:
            return 0
        sequences = min(engine.max_num_batched_tokens * output / (prompt + output), engine.max_num_seqs)
        return int(sequences * (prompt + output / 2))


def _bucket(output_tokens: float) -> str:
    if output_tokens < _SHORT_OUTPUT:
        return "short"
    return "medium" if output_tokens < _MEDIUM_OUTPUT else "long"


@dataclass(frozen=True, slots=True)
class SaturationV1:
    """One replica more or less by what the replicas that are not saturated can still take; none while one starts."""

    kv_cache_threshold: float = KV_CACHE_THRESHOLD

    def desired(self, fleet: Fleet, engine: Engine) -> int:
        """Return the replicas to publish; those there are without a reading of any replica."""
        if not fleet.peaks or fleet.pending:
            return fleet.replicas
        usage = [(peak.kv_tokens / engine.kv_cache_tokens, float(peak.waiting)) for peak in fleet.peaks]
        free = [one for one in usage if one[0] < self.kv_cache_threshold and one[1] < QUEUE_THRESHOLD]
        count = len(free)
        kv = sum(self.kv_cache_threshold - one[0] for one in free) / count if count else 0.0
        queue = sum(QUEUE_THRESHOLD - one[1] for one in free) / count if count else 0.0
        if kv < KV_SPARE_TRIGGER or queue < QUEUE_SPARE_TRIGGER:
            return fleet.replicas + 1
        if count < 2 or fleet.replicas <= 1:  # noqa: PLR2004 - one must be left to take the load
            return fleet.replicas
        grown = count / (count - 1)
        kv_left = self.kv_cache_threshold - (self.kv_cache_threshold - kv) * grown
        queue_left = QUEUE_THRESHOLD - (QUEUE_THRESHOLD - queue) * grown
        return fleet.replicas - (kv_left >= KV_SPARE_TRIGGER and queue_left >= QUEUE_SPARE_TRIGGER)


def wva(name: str, analyser: Analyser, cluster: ClusterSpec) -> Hpa:
    """Return an HPA that follows the replicas an analyser publishes."""
    return Hpa(1.0, metric=_Published(analyser, cluster), name=name, detail=True, tolerance=0.0)


class _Published:
    """The metric ``wva_desired_replicas``."""

    def __init__(self, analyser: Analyser, cluster: ClusterSpec) -> None:
        spec = cluster.replica
        self._engine = Engine(spec.kv_cache_tokens, spec.max_num_batched_tokens, spec.max_num_seqs)
        self._analyser = analyser
        self._readings: dict[int, deque[tuple[float, int, int]]] = {}
        self._totals: deque[tuple[float, int, int, int]] = deque()
        self._published: int | None = None
        self._published_at = -math.inf

    def __call__(self, seen: Observation) -> float:
        self._note(seen)
        if self._published is None or seen.at - self._published_at >= _INTERVAL_S:
            self._published_at = seen.at
            self._published = self._analyser.desired(self._fleet(seen), self._engine)
        return float(self._published)

    def _note(self, seen: Observation) -> None:
        self._readings = {one.replica: self._readings.get(one.replica, deque()) for one in seen.replicas}
        for one in seen.replicas:
            readings = self._readings[one.replica]
            readings.append((seen.at, one.kv_tokens, one.waiting))
            while readings[0][0] < seen.at - _PEAK_S:
                readings.popleft()
        self._totals.append((seen.at, seen.arrived, seen.arrived_prompt_tokens, seen.arrived_output_tokens))
        while self._totals[0][0] < seen.at - _SHAPE_S:
            self._totals.popleft()

    def _fleet(self, seen: Observation) -> Fleet:
        first, last = self._totals[0], self._totals[-1]
        return Fleet(
            replicas=seen.target,
            ready=seen.ready,
            pending=seen.starting,
            peaks=[Peak(max(r[1] for r in one), max(r[2] for r in one)) for one in self._readings.values()],
            prompt_tokens=ratio_of_change(first[2], last[2], first[1], last[1]),
            output_tokens=ratio_of_change(first[3], last[3], first[1], last[1]),
            upstream=seen.at_the_door,
        )
