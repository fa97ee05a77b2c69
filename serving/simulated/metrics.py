"""The metrics that vLLM exports through Ray, under the same names and with the same buckets and labels.

The buckets of the histograms are those of vLLM 0.29, so that every query on the real ones fits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ray.util import metrics

from serving.simulated import batcher
from serving.simulated.batcher import Load

_SECONDS = [0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0]
_SECONDS += [960.0, 1920.0, 7680.0]
_FIRST = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0]
_FIRST += [160.0, 640.0, 2560.0]
_BETWEEN = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0]
_TOKENS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]
_ITERATION = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384]
_LABELS = ("model_name", "engine", "ReplicaId")
_EVERY_S = 0.1


class RayMetrics:
    """Exports what a batcher tells, as ``ray_vllm_*``. Gauges and counters are set ten times a second."""

    def __init__(self, *, model_id: str, replica_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._tags = {"model_name": model_id, "engine": "0", "ReplicaId": replica_id}
        self._clock = clock
        self._due = 0.0
        self._counted = {"prompt": 0, "generation": 0}
        self._running = _gauge("num_requests_running")
        self._waiting = _gauge("num_requests_waiting")
        self._waiting_by_reason = _gauge("num_requests_waiting_by_reason", "reason")
        self._kv_usage = _gauge("kv_cache_usage_perc")
        self._tokens = {"prompt": _counter("prompt_tokens"), "generation": _counter("generation_tokens")}
        self._success = _counter("request_success", "finished_reason")
        self._preemptions = _counter("num_preemptions")
        self._iteration = _histogram("iteration_tokens_total", _ITERATION)
        self._first = _histogram("time_to_first_token_seconds", _FIRST)
        self._between = _histogram("inter_token_latency_seconds", _BETWEEN)
        self._per_token = _histogram("request_time_per_output_token_seconds", _BETWEEN)
        self._whole = _histogram("e2e_request_latency_seconds", _SECONDS)
        self._queue = _histogram("request_queue_time_seconds", _SECONDS)
        self._prefill = _histogram("request_prefill_time_seconds", _SECONDS)
        self._decode = _histogram("request_decode_time_seconds", _SECONDS)
        self._inference = _histogram("request_inference_time_seconds", _SECONDS)
        self._prompt_size = _histogram("request_prompt_tokens", _TOKENS)
        self._output_size = _histogram("request_generation_tokens", _TOKENS)

    def stepped(self, load: Load, *, prefilled: int, decoded: int) -> None:
        """Note one iteration."""
        self._counted["prompt"] += prefilled
        self._counted["generation"] += decoded
        if prefilled or decoded:
            self._iteration.observe(prefilled + decoded, tags=self._tags)
        now = self._clock()
        if now < self._due and load.running:
            return
        self._due = now + _EVERY_S
        self._running.set(load.running, tags=self._tags)
        self._waiting.set(load.waiting, tags=self._tags)
        self._waiting_by_reason.set(load.waiting, tags=self._tags | {"reason": "capacity"})
        self._waiting_by_reason.set(0, tags=self._tags | {"reason": "deferred"})
        self._kv_usage.set(load.kv_usage, tags=self._tags)
        for name, counted in self._counted.items():
            if counted:
                self._tokens[name].inc(counted, tags=self._tags)
            self._counted[name] = 0

    def token(self, sequence: batcher.Sequence, *, gap_s: float | None) -> None:
        """Note one output token."""
        if gap_s is not None:
            self._between.observe(gap_s, tags=self._tags)
        else:
            self._first.observe((sequence.first or 0.0) - sequence.arrived, tags=self._tags)

    def finished(self, sequence: batcher.Sequence, reason: str) -> None:
        """Note the end of a request."""
        self._success.inc(1, tags=self._tags | {"finished_reason": reason})
        if sequence.first is None or sequence.last is None or sequence.scheduled is None:
            return
        decode_s = sequence.last - sequence.first
        for histogram, value in (
            (self._whole, sequence.last - sequence.arrived),
            (self._queue, sequence.scheduled - sequence.arrived),
            (self._prefill, sequence.first - sequence.scheduled),
            (self._decode, decode_s),
            (self._inference, sequence.last - sequence.scheduled),
            (self._per_token, decode_s / max(1, sequence.produced - 1)),
            (self._prompt_size, sequence.prompt_tokens),
            (self._output_size, sequence.produced),
        ):
            histogram.observe(max(0.0, value), tags=self._tags)

    def preempted(self) -> None:
        """Note a preemption."""
        self._preemptions.inc(1, tags=self._tags)


def _gauge(name: str, *labels: str) -> metrics.Gauge:
    return metrics.Gauge(f"vllm_{name}", description=f"As vllm:{name}; simulated.", tag_keys=(*_LABELS, *labels))


def _counter(name: str, *labels: str) -> metrics.Counter:
    return metrics.Counter(f"vllm_{name}", description=f"As vllm:{name}; simulated.", tag_keys=(*_LABELS, *labels))


def _histogram(name: str, boundaries: Sequence[float]) -> metrics.Histogram:
    return metrics.Histogram(
        f"vllm_{name}",
        description=f"As vllm:{name}; simulated.",
        boundaries=[float(bound) for bound in boundaries],
        tag_keys=_LABELS,
    )
