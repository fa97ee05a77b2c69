"""Where replicas run: nodes come when none has room or some are kept ready, and stay for a while when empty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.simulation.cluster import ClusterSpec


@dataclass(slots=True)
class _Node:
    free: int
    ordered_at: float
    ready_at: float
    empty_since: float | None = None
    unneeded_since: float | None = None
    """Since when it is empty and none of those that are kept."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node. ``number`` is that of the order; times are virtual seconds."""

    number: int
    free: int
    ordered_at: float
    ready_at: float


class Nodes:
    """Places replicas. Answers when a replica's start-up can begin; ``idle_seconds`` are of whole empty nodes."""

    def __init__(self, cluster: ClusterSpec) -> None:
        self._spec = cluster.nodes
        self._gpus = cluster.nodes.gpus or cluster.replica.gpus
        self._wanted = cluster.replica.gpus
        self._nodes: dict[int, _Node] = {}
        self._made = 0
        self._kept = 0
        self.idle_seconds = 0.0

    @property
    def gpus(self) -> int:
        """GPUs of one node."""
        return self._gpus

    @property
    def kept(self) -> int:
        """Empty nodes that are kept, or come to be kept."""
        return self._kept

    def views(self, now: float) -> Iterator[NodeView]:
        """Every node that is there or ordered, in the order in which they were ordered."""
        self._expire(now)
        for number, node in self._nodes.items():
            yield NodeView(number, node.free, node.ordered_at, node.ready_at)

    def keep(self, vacant: int, now: float) -> None:
        """Keep so many nodes empty and ready: order what lacks, let the others go after a while."""
        self._expire(now)
        self._kept = vacant
        for _ in range(vacant - sum(node.empty_since is not None for node in self._nodes.values())):
            number = self._provision(now, at_once=False)
            self._nodes[number].empty_since = now
        self._mark(now)

    def place(self, now: float, *, at_once: bool = False) -> tuple[int, float]:
        """Reserve room for one replica, on a node that is there already if ``at_once``.

        Returns the node, and when it is (or was) there.
        """
        self._expire(now)
        room = [(node.ready_at, name) for name, node in self._nodes.items() if node.free >= self._wanted]
        name = min(room)[1] if room else self._provision(now, at_once=at_once)
        node = self._nodes[name]
        if node.empty_since is not None:
            self.idle_seconds += now - node.empty_since
            node.empty_since = node.unneeded_since = None
        node.free -= self._wanted
        self._mark(now)
        return name, max(now, node.ready_at)

    def release(self, name: int, at: float) -> None:
        """Free one replica's room at ``at``."""
        node = self._nodes[name]
        node.free += self._wanted
        if node.free == self._gpus:
            node.empty_since = at
            self._mark(at)

    def close(self, at: float) -> None:
        """Count what is still kept empty at the end."""
        self._expire(at)
        self.idle_seconds += sum(
            max(0.0, at - node.empty_since) for node in self._nodes.values() if node.empty_since is not None
        )

    def _provision(self, now: float, *, at_once: bool) -> int:
        began = now
        for start, end in sorted(self._spec.stockouts_s):
            if start <= began < end:
                began = end
        ready_at = now if at_once else began + self._spec.provision_s
        self._made += 1
        self._nodes[self._made] = _Node(free=self._gpus, ordered_at=now, ready_at=ready_at)
        return self._made

    def _mark(self, at: float) -> None:
        """Keep the empty nodes that are ready first; another is unneeded from when it is one too many."""
        empty = sorted((node.ready_at, name) for name, node in self._nodes.items() if node.empty_since is not None)
        for place, (_, name) in enumerate(empty):
            node = self._nodes[name]
            if place < self._kept:
                node.unneeded_since = None
            elif node.unneeded_since is None:
                node.unneeded_since = at

    def _expire(self, now: float) -> None:
        timeout = self._spec.idle_timeout_s
        for name, node in list(self._nodes.items()):
            if node.empty_since is None or node.unneeded_since is None:
                continue
            ends_at = node.unneeded_since + timeout
            if now >= ends_at:
                self.idle_seconds += ends_at - node.empty_since
                del self._nodes[name]
