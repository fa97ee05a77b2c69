"""How long a GPU takes for one iteration of continuous batching. Pure.

The roofline of a decoder: an iteration reads every weight once and the keys and values of each running sequence, at
the memory's bandwidth, and computes ``2 x parameters`` operations for each token, at the arithmetic peak. The two
overlap, so the longer one counts; both reach only a share of the peak. After Pope et al., "Efficiently Scaling
Transformer Inference" (2022), section 2, with data sheet figures of the GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

CONFIG_KEY = "simulated"
"""Where a simulated model's figures stand in ``LLMConfig.experimental_configs``."""

_BANDWIDTH_SHARE = 0.75
_COMPUTE_SHARE = 0.5
_TENSOR_PARALLEL_SHARE = 0.85
"""Of the speed-up that each doubling of GPUs would bring without communication."""


class Gpu(BaseModel):
    """Data sheet figures of one GPU: dense 16-bit arithmetic, memory bandwidth and size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flops: float = Field(gt=0, description="Dense bf16 operations per second.")
    bytes_per_s: float = Field(gt=0, description="Memory bandwidth.")
    memory_bytes: float = Field(gt=0)


GPUS: Mapping[str, Gpu] = {
    "L4": Gpu(flops=121e12, bytes_per_s=300e9, memory_bytes=24e9),
    "A100-80G": Gpu(flops=312e12, bytes_per_s=2039e9, memory_bytes=80e9),
    "H100": Gpu(flops=989e12, bytes_per_s=3350e9, memory_bytes=80e9),
    "H200": Gpu(flops=989e12, bytes_per_s=4800e9, memory_bytes=141e9),
    "B200": Gpu(flops=2250e12, bytes_per_s=8000e9, memory_bytes=180e9),
}


class SimulatedModel(BaseModel):
    """What is pretended to be served. The defaults have the shape of an 8B Llama with grouped heads, in bf16."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: str | None = Field(default="H100", description="One of serving.simulated.timing.GPUS; null costs no time.")
    gpus_per_replica: int = Field(default=1, ge=1, description="Tensor parallel size.")
    parameters: float = Field(default=8.03e9, gt=0)
    bytes_per_parameter: float = Field(default=2.0, gt=0)
    kv_bytes_per_token: float = Field(default=131_072, gt=0, description="2 x layers x KV heads x head size x bytes.")
    overhead_s: float = Field(default=0.0015, ge=0, description="Scheduler and launches, of every iteration.")
    max_num_seqs: int = Field(default=256, ge=1)
    max_num_batched_tokens: int = Field(default=8192, ge=1)
    start_s: float = Field(default=0.0, ge=0, description="Seconds that a replica takes to load its weights.")
    slowdown: float = Field(default=1.0, gt=0, description="Every iteration takes so many times as long.")
    exported: bool = Field(default=True, description="Tells its metrics, under vLLM's names, to Ray.")
    failing: float = Field(default=0.0, ge=0, le=1, description="Share of requests answered with HTTP 500.")


class Timing(BaseModel):
    """Seconds of one iteration, and how many tokens the KV cache holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_s: float
    read_s: float
    per_context_token_s: float
    per_token_s: float
    kv_cache_tokens: int

    def iteration_s(self, *, decoding: int, context_tokens: int, prefill_tokens: int) -> float:
        """Seconds of one iteration over ``decoding`` sequences with so many tokens of context together."""
        reading = self.read_s + context_tokens * self.per_context_token_s
        computing = (decoding + prefill_tokens) * self.per_token_s
        return self.base_s + max(reading, computing)


def timing_of(model: SimulatedModel) -> Timing:
    """Work out the timing of ``model``.

    Raises:
        ValueError: the GPU is unknown, or the weights do not fit it.

    """
    if model.gpu is None:
        free = dict.fromkeys(("base_s", "read_s", "per_context_token_s", "per_token_s"), 0.0)
        return Timing(**free, kv_cache_tokens=10_000_000)
    gpu = GPUS.get(model.gpu)
    if gpu is None:
        msg = f"gpu {model.gpu!r} is not known; known are {', '.join(GPUS)}, and null for no time at all"
        raise ValueError(msg)
    count = model.gpus_per_replica
    speed = count * _TENSOR_PARALLEL_SHARE ** max(0, (count - 1).bit_length())
    weights = model.parameters * model.bytes_per_parameter
    free_bytes = 0.9 * count * gpu.memory_bytes - weights
    if free_bytes <= 0:
        msg = f"{weights / 1e9:.0f} GB of weights do not fit {count} x {model.gpu}; raise gpus_per_replica"
        raise ValueError(msg)
    bandwidth = gpu.bytes_per_s * _BANDWIDTH_SHARE * speed
    return Timing(
        base_s=model.overhead_s * model.slowdown,
        read_s=weights / bandwidth * model.slowdown,
        per_context_token_s=model.kv_bytes_per_token / bandwidth * model.slowdown,
        per_token_s=2 * model.parameters / (gpu.flops * _COMPUTE_SHARE * speed) * model.slowdown,
        kv_cache_tokens=int(free_bytes / model.kv_bytes_per_token),
    )
