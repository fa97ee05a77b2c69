"""The layers that capacity consists of."""

from __future__ import annotations

from enum import StrEnum


class Layer(StrEnum):
    """What capacity consists of. Each carries the next, and each has its own lead."""

    NODE = "node"
    """A machine with GPUs."""
    WORKER = "worker"
    """A Ray worker pod on a node."""
    REPLICA = "replica"
    """Weights, compilation and warm-up on a worker."""
