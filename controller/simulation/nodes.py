"""Where replicas run: nodes are provisioned when none has room, and kept for a while when empty."""

from __future__ import annotations

from dataclasses import dataclass

from controller.simulation.cluster import ClusterSpec


@dataclass(slots=True)
class _Node:
    free: int
    ready_at: float
    empty_since: float | None = None


class Nodes:
    """Places replicas. Answers when a replica's start-up can begin; ``idle_seconds`` are of whole empty nodes."""

    def __init__(self, cluster: ClusterSpec) -> None:
        self._spec = cluster.nodes
        self._gpus = cluster.nodes.gpus or cluster.replica.gpus
        self._wanted = cluster.replica.gpus
        self._nodes: dict[int, _Node] = {}
        self._made = 0
        self.idle_seconds = 0.0

    @property
    def gpus(self) -> int:
        """GPUs of one node."""
        return self._gpus

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
            node.empty_since = None
        node.free -= self._wanted
        return name, max(now, node.ready_at)

    def release(self, name: int, at: float) -> None:
        """Free one replica's room at ``at``."""
        node = self._nodes[name]
        node.free += self._wanted
        if node.free == self._gpus:
            node.empty_since = at

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
        self._nodes[self._made] = _Node(free=self._gpus, ready_at=ready_at)
        return self._made

    def _expire(self, now: float) -> None:
        timeout = self._spec.idle_timeout_s
        for name, node in list(self._nodes.items()):
            if node.empty_since is not None and now - node.empty_since >= timeout:
                self.idle_seconds += timeout
                del self._nodes[name]
