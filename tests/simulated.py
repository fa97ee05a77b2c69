"""A small cluster, and demands that take no time to simulate."""

from __future__ import annotations

import numpy as np

from controller.simulation.cluster import ClusterSpec
from controller.simulation.demand import Demand


def cluster_of(**changes: object) -> ClusterSpec:
    document = {
        "replica": {
            "iteration_base_s": 0.0163,
            "per_sequence_s": 0.000095,
            "per_context_token_s": 0.000000124,
            "per_prefill_token_s": 0.00008,
            "max_num_batched_tokens": 2048,
            "max_num_seqs": 256,
            "kv_cache_tokens": 41_900,
            "startup_s": [60, 180],
        },
        "nodes": {},
        "limits": {"min_replicas": 1, "max_replicas": 12},
    }
    for path, value in changes.items():
        section, _, key = path.partition("__")
        document[section][key] = value
    return ClusterSpec.model_validate(document)


def steady(per_s: float, length_s: float, *, seed: int = 0, prompt: int = 1000, output: int = 200) -> Demand:
    rng = np.random.default_rng(seed)
    count = int(per_s * length_s)
    return Demand(
        arrival_s=np.sort(rng.uniform(0, length_s, count)),
        prompt_tokens=rng.integers(prompt // 2, prompt * 3 // 2, count),
        output_tokens=rng.integers(output // 2, output * 3 // 2, count),
        length_s=length_s,
    )
